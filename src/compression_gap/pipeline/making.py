"""How a job's result comes into the store: by one process at a time, in a folder of its own, whole or not at all."""

from __future__ import annotations

import errno
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from compression_gap.pipeline.job import Context, Job
from compression_gap.pipeline.provenance import provenance
from compression_gap.store import Store, write_text
from compression_gap.training import Report

NOTED_EVERY = 5.0  # seconds
FULL_MB = 1.0


@contextmanager
def making(job: Job, store: Store, device: str, report: Report) -> Iterator[Context | None]:
    """What the job's work is given; its files are the result as soon as the block ends without an error.

    None if the job is finished: somebody else may have done it while this waited. What an error leaves of a job that
    is not resumable is removed. Raises OSError (ENOSPC) for whatever goes wrong when the disk is full.
    """
    torch.set_num_threads(1)  # gradients and convolutions differ in the last bits between thread counts
    with store.lock(job):
        report(0.0, "")
        if store.has(job):
            yield None
            return
        if not job.resumable:
            store.discard(job)
        folder = store.partial(job)
        clock = _Clock(store.clock(job))

        def told(fraction: float, text: str) -> None:
            clock.note()
            report(fraction, text)

        try:
            yield Context(store, folder, told, device)
        except BaseException as error:
            full = isinstance(error, Exception) and store.free_mb < FULL_MB
            if not job.resumable:
                store.discard(job)
            if full:  # libraries have many names for it, so the disk itself is asked
                raise OSError(errno.ENOSPC, f"{type(error).__name__}: {error}") from error
            raise
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        store.finish(job, provenance(device=device, seconds=clock.stop(), peak_memory_mb=peak))


class _Clock:
    """Seconds of work, those before a kill among them, but for the last few."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = float(path.read_text()) if path.exists() else 0.0
        self.started = self.noted = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def note(self) -> None:
        """Keeps them, now and then, for whoever goes on after a kill."""
        if time.monotonic() - self.noted > NOTED_EVERY:
            write_text(self.path, str(self.seconds))
            self.noted = time.monotonic()

    def stop(self) -> float:
        """The seconds, which need not be kept any more."""
        self.path.unlink(missing_ok=True)
        return self.seconds
