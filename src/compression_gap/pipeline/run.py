"""Runs jobs in local processes: one process a job, dependencies first, failures kept, resumed by running again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from compression_gap.pipeline.job import Context, Job, with_needs
from compression_gap.pipeline.progress import Progress
from compression_gap.pipeline.provenance import provenance
from compression_gap.store import Store


@dataclass
class Outcome:
    """What a run did."""

    done: list[Job] = field(default_factory=list)
    reused: list[Job] = field(default_factory=list)
    failed: dict[Job, str] = field(default_factory=dict)
    blocked: list[Job] = field(default_factory=list)
    """Not run, because something they need failed."""
    seconds: float = 0.0


@dataclass
class Running:
    """A job in its process."""

    job: Job
    process: BaseProcess
    messages: Connection
    error: str | None = None


def run(jobs: list[Job], store: Store, *, workers: int, device: str, progress: Progress) -> Outcome:
    """Finishes every job and what it needs. A failed job does not stop the others.

    Raises StoreError before anything runs if a folder in the store is damaged, and KeyboardInterrupt, after stopping
    the processes, on Ctrl-C; unfinished training goes on from its checkpoint next time.
    """
    started = time.monotonic()
    outcome = Outcome()
    waiting: list[Job] = []
    for job in with_needs(jobs):
        (outcome.reused if store.has(job) else waiting).append(job)
    waiting = _wanted(jobs, waiting)
    progress.begin(waiting)
    running: list[Running] = []
    finished = {job.digest for job in outcome.reused}
    context = multiprocessing.get_context("forkserver")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context.set_forkserver_preload(["compression_gap.pipeline.jobs"])
    try:
        while waiting or running:
            for job in [j for j in waiting if all(need.digest in finished or store.has(need) for need in j.needs)]:
                if len(running) < workers:
                    waiting.remove(job)
                    running.append(_start(context, job, store, device))
                    progress.started(job)
            if not running:
                outcome.blocked += waiting
                break
            for one in _wait(running, progress):
                running.remove(one)
                if one.error is None:
                    outcome.done.append(one.job)
                    finished.add(one.job.digest)
                else:
                    outcome.failed[one.job] = one.error
                progress.finished(one.job, one.error)
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.join()
        progress.end()
    outcome.seconds = time.monotonic() - started
    return outcome


def _wanted(jobs: list[Job], missing: list[Job]) -> list[Job]:
    """The missing jobs that are asked for, or that a missing one needs: inputs of finished results are not made again."""
    by_digest = {job.digest: job for job in missing}
    wanted: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.digest in by_digest and job.digest not in wanted:
            for need in job.needs:
                visit(need)
            wanted[job.digest] = job

    for job in jobs:
        visit(job)
    return list(wanted.values())


def _start(context: multiprocessing.context.BaseContext, job: Job, store: Store, device: str) -> Running:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=execute, args=(job, store, device, theirs), name=job.title)
    process.start()
    theirs.close()
    return Running(job, process, ours)


def _wait(running: list[Running], progress: Progress) -> list[Running]:
    """Passes on messages until at least one process has ended, and returns those."""
    while True:
        wait([one.messages for one in running] + [one.process.sentinel for one in running], timeout=1.0)
        for one in running:
            with contextlib.suppress(EOFError, OSError):
                while one.messages.poll():
                    kind, *rest = one.messages.recv()
                    if kind == "error":
                        one.error = rest[0]
                    else:
                        progress.moved(one.job, *rest)
        ended = [one for one in running if not one.process.is_alive()]
        for one in ended:
            if one.error is None and one.process.exitcode != 0:
                one.error = f"the process died with exit code {one.process.exitcode} (negative: killed by that signal)"
        if ended:
            return ended


def execute(job: Job, store: Store, device: str, messages: Connection) -> None:
    """Runs one job in this process and puts its result into the store."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides

    def report(fraction: float, text: str) -> None:
        try:
            messages.send(("moved", fraction, text))
        except (BrokenPipeError, OSError):
            os._exit(1)  # the parent is gone, so nobody wants this any more

    try:
        run_here(job, store, device, report)
    except BaseException as error:
        short = describe(error)
        with contextlib.suppress(OSError):  # a full disk must not hide why the job failed
            store.fail(job, short, traceback.format_exc())
        messages.send(("error", short))
        raise SystemExit(1) from None


def run_here(job: Job, store: Store, device: str, report) -> None:  # noqa: ANN001
    """Runs one job whose dependencies are finished, unless somebody else finishes it first."""
    import torch

    torch.set_num_threads(1)  # gradients and convolutions differ in the last bits between thread counts
    with store.lock(job):
        if store.has(job):
            return
        if not job.resumable:
            store.discard(job)
        folder = store.partial(job)
        started = time.monotonic()
        job.run(Context(store, folder, report, device))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        store.finish(job, provenance(device=device, seconds=time.monotonic() - started, peak_memory_mb=peak))


def describe(error: BaseException) -> str:
    """One line for people."""
    if isinstance(error, OSError) and error.errno == 28:
        return "the disk is full; free some space or move the store (--store), then run the same command again"
    return f"{type(error).__name__}: {error}"


def free_megabytes(store: Store) -> float:
    """Free space where the store is, or will be."""
    folder = store.root
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e6
