"""The live view of a run: one bar for everything, one line for each job at work. Quiet when not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from compression_gap.pipeline.job import Job
from compression_gap.training import Report


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """One bar on the standard error for work that is no job; quiet when that is not a terminal."""
    console = Console(stderr=True)
    with Bars(console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(title, total=1.0)
        yield lambda fraction, text: bars.update(task, completed=fraction, description=f"{title} {text}")


def _say(line: str) -> None:
    if sys.stderr is not None:  # print would take the standard output
        with suppress(OSError):  # nobody listens any more: the jobs go on
            print(line, file=sys.stderr)


class Progress:
    """Shows what is running and how much is left, weighted by the jobs' estimated seconds."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        console = console or Console(stderr=True)
        self.bars = Bars(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self.console = console
        self.total: TaskID | None = None
        self.lines: dict[str, TaskID] = {}
        self.shares: dict[str, float] = {}
        self.count = self.ended = 0

    def begin(self, jobs: list[Job]) -> None:
        """The jobs that are going to run."""
        self.count = len(jobs)
        seconds = sum(job.cost().seconds for job in jobs)
        self.total = self.bars.add_task("[bold]all jobs", total=max(seconds, 1e-9), note=f"0/{self.count}")
        self.bars.start()

    def started(self, job: Job) -> None:
        """A job has a process."""
        self.lines[job.digest] = self.bars.add_task(f"  {job.title}", total=1.0, note="")
        self.shares.setdefault(job.digest, 0.0)

    def moved(self, job: Job, fraction: float, text: str) -> None:
        """A job has come so far."""
        self.bars.update(self.lines[job.digest], completed=fraction, note=text)
        self._advance(job, fraction)

    def finished(self, job: Job, error: str | None) -> None:
        """A job has ended; failures stay on the screen."""
        self._advance(job, 1.0)
        self.bars.remove_task(self.lines.pop(job.digest))
        self.ended += 1
        assert self.total is not None, "begin comes first"
        self.bars.update(self.total, note=f"{self.ended}/{self.count}")
        if error:
            _say(f"failed: {job.title}: {error}")

    def again(self, job: Job, why: str) -> None:
        """A job's process has died or hung, and the job is going to go on in another."""
        self.bars.remove_task(self.lines.pop(job.digest))
        _say(f"again: {job.title}: {why}")

    def end(self) -> None:
        """The run is over."""
        self.bars.stop()

    def _advance(self, job: Job, fraction: float) -> None:
        assert self.total is not None, "begin comes first"
        self.bars.advance(self.total, (fraction - self.shares[job.digest]) * job.cost().seconds)
        self.shares[job.digest] = fraction
