"""Processes that do jobs. Those that simulate are kept for the next such job, with the simulator that they loaded."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
import traceback
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

import torch

from compression_gap.consent import remote_code_is_trusted, trust_remote_code
from compression_gap.pipeline.allocator import keep_freed_memory
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.making import making
from compression_gap.store import Store
from compression_gap.training import Report

NO_MEMORY = "can't allocate memory"  # as torch says it of the CPU


class Worker:
    """One process, seen from outside: it does one job at a time."""

    def __init__(self, context: ForkServerContext, store: Store, device: str) -> None:
        self.messages, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(store, device, remote_code_is_trusted(), theirs))
        self.process.start()
        theirs.close()
        self.error: str | None = None
        self.finished = False
        self.last_sign: float | None = None
        """When it was last heard of; None while it waits for a job that somebody else is doing."""

    def begin(self, job: Job) -> None:
        """Gives it its next job."""
        self.error, self.finished, self.last_sign = None, False, None
        with contextlib.suppress(BrokenPipeError):  # it is dead: whoever waits for it finds out
            self.messages.send(job)

    def news(self) -> list[tuple[float, str]]:
        """What it has reported since the last call: (fraction done, what is going on)."""
        found = []
        with contextlib.suppress(EOFError, OSError):
            while self.messages.poll():
                kind, *rest = self.messages.recv()
                self.last_sign = time.monotonic()
                if kind == "moved":
                    found.append(tuple(rest))
                else:
                    self.finished, self.error = True, rest[0]
        return found

    def silent_for(self) -> float:
        """Seconds since it was last heard of."""
        return 0.0 if self.last_sign is None else time.monotonic() - self.last_sign

    def stop(self) -> None:
        """Ends the process, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.messages.close()

    @property
    def last_words(self) -> str:
        """Why a process that is dead, and did not say why, died."""
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return (
                "the process was killed; if nobody did that, memory ran out: run the same command with fewer --workers"
            )
        return f"the process died with exit code {code} (negative: killed by that signal)"


def serve(store: Store, device: str, trusted: bool, orders: Connection) -> None:
    """Does one job after another until whoever gives them is gone."""
    if trusted:
        trust_remote_code()
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever gives the orders decides what Ctrl-C means
    os.dup2(2, 1)  # what libraries print must not get between the result and who reads it
    with contextlib.suppress(EOFError):
        while True:
            execute(orders.recv(), store, device, orders)


def execute(job: Job, store: Store, device: str, messages: Connection) -> None:
    """Runs one job in this process, puts its result into the store and says so, or why not."""

    def report(fraction: float, text: str) -> None:
        try:
            messages.send(("moved", fraction, text))
        except (BrokenPipeError, OSError):
            os._exit(1)  # the parent is gone, so nobody wants this any more

    short = None
    try:
        run_here(job, store, device, report)
    except BaseException as error:
        short = describe(error, store)
        with contextlib.suppress(OSError):  # a full disk must not hide why the job failed
            store.fail(job, short, traceback.format_exc())
    with contextlib.suppress(BrokenPipeError):
        messages.send(("finished", short))


def run_here(job: Job, store: Store, device: str, report: Report) -> None:
    """Runs one job whose dependencies are finished, unless somebody else finishes it first."""
    with making(job, store, device, report) as context:
        if context is not None:
            job.run(context)


def describe(error: BaseException, store: Store) -> str:
    """One line for people."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            f"the disk is full ({store.root}): free some space or choose another --store, then run the same command "
            f"again ({type(error).__name__}: {error})"
        )
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or NO_MEMORY in str(error):
        told = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return f"memory ran out: run the same command with fewer --workers, or choose smaller parts ({told})"
    return f"{type(error).__name__}: {error}"
