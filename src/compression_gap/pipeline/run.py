"""Runs jobs in local processes: one process a job, dependencies first, failures kept, resumed by running again."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import resource
import shutil
import signal
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess

import torch

from compression_gap.pipeline.job import Context, Job
from compression_gap.pipeline.progress import Progress
from compression_gap.pipeline.provenance import provenance
from compression_gap.store import Store
from compression_gap.training import Report

FULL_MB = 1.0
PRELOADED = [
    "compression_gap.pipeline.jobs",
    "torch._dynamo",
]  # every optimiser imports the latter, which takes seconds


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
    outcome.reused, waiting = divide(jobs, store)
    waiting = longest_chain_first(waiting)
    progress.begin(waiting)
    running: list[Running] = []
    finished = {job.digest for job in outcome.reused}
    context = multiprocessing.get_context("forkserver")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context.set_forkserver_preload(PRELOADED)
    try:
        while waiting or running:
            ready = [job for job in waiting if all(need.digest in finished for need in job.needs)]
            for job in ready[: workers - len(running)]:
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


def divide(jobs: list[Job], store: Store) -> tuple[list[Job], list[Job]]:
    """The jobs and what they need: those that are finished, and those to run, dependencies first.

    What only finished jobs need is in neither, whether it is there or not. Raises StoreError at a damaged folder.
    """
    finished: dict[str, Job] = {}
    missing: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.digest in finished or job.digest in missing:
            return
        if store.has(job):
            finished[job.digest] = job
            return
        for need in job.needs:
            visit(need)
        missing[job.digest] = job

    for job in jobs:
        visit(job)
    return list(finished.values()), list(missing.values())


def longest_chain_first(jobs: list[Job]) -> list[Job]:
    """The jobs, given dependencies first, by the estimated seconds of the longest chain that begins with each.

    What much waits for begins early, and no long chain is left over for the end.
    """
    chain: dict[str, float] = {}
    for job in reversed(jobs):
        chain[job.digest] = chain.get(job.digest, 0.0) + job.cost().seconds
        for need in job.needs:
            chain[need.digest] = max(chain.get(need.digest, 0.0), chain[job.digest])
    return sorted(jobs, key=lambda job: -chain[job.digest])


def _start(context: ForkServerContext, job: Job, store: Store, device: str) -> Running:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=execute, args=(job, store, device, theirs), name=job.title)
    process.start()
    theirs.close()
    return Running(job, process, ours)


def _wait(running: list[Running], progress: Progress) -> list[Running]:
    """Passes on messages until at least one process has ended, and returns those."""
    while True:
        wait([one.messages for one in running] + [one.process.sentinel for one in running], timeout=1.0)
        ended = [one for one in running if not one.process.is_alive()]  # before reading: its last words count
        for one in running:
            with contextlib.suppress(EOFError, OSError):
                while one.messages.poll():
                    kind, *rest = one.messages.recv()
                    if kind == "error":
                        one.error = rest[0]
                    else:
                        progress.moved(one.job, *rest)
        for one in ended:
            if one.error is None and one.process.exitcode != 0:
                one.error = _last_signal(one.process.exitcode)
        if ended:
            return ended


def _last_signal(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed; if nobody did that, memory ran out: run the same command with fewer --workers"
    return f"the process died with exit code {code} (negative: killed by that signal)"


def execute(job: Job, store: Store, device: str, messages: Connection) -> None:
    """Runs one job in this process and puts its result into the store."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    os.dup2(2, 1)  # what libraries print must not get between the result and who reads it

    def report(fraction: float, text: str) -> None:
        try:
            messages.send(("moved", fraction, text))
        except (BrokenPipeError, OSError):
            os._exit(1)  # the parent is gone, so nobody wants this any more

    try:
        run_here(job, store, device, report)
    except BaseException as error:
        short = _describe(error, store)
        with contextlib.suppress(OSError):  # a full disk must not hide why the job failed
            store.fail(job, short, traceback.format_exc())
        messages.send(("error", short))
        raise SystemExit(1) from None


def run_here(job: Job, store: Store, device: str, report: Report) -> None:
    """Runs one job whose dependencies are finished, unless somebody else finishes it first."""
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


def _describe(error: BaseException, store: Store) -> str:
    """One line for people. Libraries have many names for a full disk, so the disk itself is asked too."""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or free_megabytes(store) < FULL_MB:
        return (
            f"the disk is full ({store.root}): free some space or choose another --store, then run the same command "
            f"again ({type(error).__name__}: {error})"
        )
    return f"{type(error).__name__}: {error}"


def free_megabytes(store: Store) -> float:
    """Free space where the store is, or will be."""
    folder = store.root
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e6
