"""Runs jobs in local processes: dependencies first, failures kept, resumed by running again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from compression_gap.pipeline.job import Job
from compression_gap.pipeline.progress import Progress
from compression_gap.pipeline.worker import Worker
from compression_gap.store import Store

PATIENCE = 300.0  # seconds without a word after which a simulator counts as hung
SLACK = 5.0  # times the estimated silence of a job: machines and models differ from what estimates are about
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
    again: int = 0
    """How often a process died or hung and its job went on in another."""
    seconds: float = 0.0


def run(
    jobs: list[Job], store: Store, *, workers: int, device: str, progress: Progress, patience: float = PATIENCE
) -> Outcome:
    """Finishes every job and what it needs. A failed job does not stop the others.

    A process that dies, or simulates and is silent for `patience` seconds more than its job may be, is replaced, and
    its job goes on from what it had finished; a job in which two processes die with nothing finished in between has
    failed.

    Raises StoreError before anything runs if a folder in the store is damaged, and KeyboardInterrupt, after stopping
    the processes, on Ctrl-C; unfinished training goes on from its checkpoint next time.
    """
    started = time.monotonic()
    outcome = Outcome()
    outcome.reused, waiting = divide(jobs, store)
    waiting = longest_chain_first(waiting)
    progress.begin(waiting)
    team = _Team(store, device, workers, patience)
    finished = {job.digest for job in outcome.reused}
    survived: dict[Job, list[str]] = {}  # what was finished of a job when a process died in it
    try:
        while waiting or team.busy:
            ready = [job for job in waiting if all(need.digest in finished for need in job.needs)]
            for job in ready[: workers - len(team.busy)]:
                waiting.remove(job)
                team.give(job)
                progress.started(job)
            if not team.busy:
                outcome.blocked += waiting
                break
            for job, error, died in team.wait(progress):
                pieces = store.pieces(job) if job.resumable else []
                if error is not None and died and survived.get(job) != pieces:
                    survived[job] = pieces
                    outcome.again += 1
                    waiting.insert(0, job)
                    progress.again(job, error)
                    continue
                if error is None:
                    outcome.done.append(job)
                    finished.add(job.digest)
                else:
                    outcome.failed[job] = error
                    if died:  # it could not say so itself
                        store.fail(job, error, "")
                progress.finished(job, error)
    finally:
        team.stop()
        progress.end()
    outcome.seconds = time.monotonic() - started
    return outcome


class _Team:
    """At most `most` processes: busy ones, and idle ones that still hold a simulator."""

    def __init__(self, store: Store, device: str, most: int, patience: float) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._store, self._device, self._most, self._patience = store, device, most, patience
        self.busy: dict[Worker, Job] = {}
        self._idle: list[Worker] = []

    def give(self, job: Job) -> None:
        """Begins a job: in a process that has simulated before if it simulates, else in a fresh one."""
        with interrupts_held_back():
            if job.simulates and self._idle:
                worker = self._idle.pop()
            else:
                if self._idle and len(self.busy) + len(self._idle) == self._most:
                    self._idle.pop().stop()
                worker = Worker(self._context, self._store, self._device)
            worker.begin(job)
            self.busy[worker] = job

    def wait(self, progress: Progress) -> list[tuple[Job, str | None, bool]]:
        """Passes on news until something has ended: (job, error, whether its process died or hung) for each."""
        while True:
            wait([w.messages for w in self.busy] + [w.process.sentinel for w in self.busy], timeout=1.0)
            dead = {worker for worker in self.busy if not worker.process.is_alive()}  # asked first: last words count
            for worker, job in self.busy.items():
                for fraction, text in worker.news():
                    progress.moved(job, fraction, text)
            ended = [worker for worker, job in self.busy.items() if worker.finished or self._lost(worker, job, dead)]
            if ended:
                return [self._end(worker, worker in dead) for worker in ended]

    def stop(self) -> None:
        """Ends all processes."""
        for worker in (*self.busy, *self._idle):
            worker.stop()

    def _lost(self, worker: Worker, job: Job, dead: set[Worker]) -> bool:
        return worker in dead or (job.simulates and worker.silent_for() > self._longest_silence(job))

    def _longest_silence(self, job: Job) -> float:
        return self._patience + SLACK * job.silence

    def _end(self, worker: Worker, died: bool) -> tuple[Job, str | None, bool]:
        job = self.busy.pop(worker)
        if worker.finished and worker.error is None and job.simulates and not died:
            self._idle.append(worker)  # after an error nobody knows in which state its simulator is
            return job, None, False
        worker.stop()
        if worker.finished:
            return job, worker.error, False
        silence = f"the simulator gave no sign of life for {self._longest_silence(job):g} s"
        return job, worker.last_words if died else silence, True


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Ctrl-C, which reaches the whole process group, is for this process alone, and acts at the end of the block.

    Processes begun meanwhile, and theirs, never see it: a half-begun one would print a traceback over the last words.
    """
    resource_tracker.ensure_running()  # where it begins within the block it lets interrupts through again
    in_main_thread = threading.current_thread() is threading.main_thread()  # Python interrupts no other one
    interrupts: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number)) if in_main_thread else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # processes inherit it; other threads do not
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        if interrupts:
            signal.raise_signal(signal.SIGINT)


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

    What much waits for begins early, and no long chain is left over for the end. Jobs that nothing waits for come last,
    those of one place together, so that a process loads its simulator once for many of them.
    """
    chain: dict[str, float] = {}
    awaited = {need.digest for job in jobs for need in job.needs}
    longest: dict[object, float] = {}
    for job in reversed(jobs):
        chain[job.digest] = chain.get(job.digest, 0.0) + job.cost().seconds
        for need in job.needs:
            chain[need.digest] = max(chain.get(need.digest, 0.0), chain[job.digest])
        if job.digest not in awaited:
            longest[job.place] = max(longest.get(job.place, 0.0), chain[job.digest])

    def rank(job: Job) -> tuple[bool, float, str, float]:
        if job.digest in awaited:
            return False, 0.0, "", -chain[job.digest]
        return True, -longest[job.place], repr(job.place), -chain[job.digest]

    return sorted(jobs, key=rank)
