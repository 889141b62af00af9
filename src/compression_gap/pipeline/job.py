"""What a job is: a frozen description that contains the jobs it depends on, so its digest covers its whole history."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compression_gap.config import Spec
from compression_gap.store import Store
from compression_gap.training import Report


@dataclass(frozen=True)
class Cost:
    """What a job is expected to take; estimates, for `--dry-run`, the progress bar and cluster engines."""

    seconds: float
    """On one core of a laptop."""
    memory_mb: float = 500.0
    disk_mb: float = 1.0
    cpus: int = 1
    gpus: int = 0
    """Jobs that gain from a GPU run on one with `--device cuda`; none needs it."""


@dataclass(frozen=True)
class Context:
    """What a running job is given besides its own fields."""

    store: Store
    """Holds the finished jobs it depends on."""
    folder: Path
    """Where it writes its files; after a kill, what it had written is still there if `resumable`."""
    report: Report
    device: str


@dataclass(frozen=True)
class Job(Spec, family="jobs"):
    """A piece of work whose result is a folder named by its digest. Picklable; runs anywhere that sees the store."""

    resumable: ClassVar[bool] = False
    """Whether a killed run goes on from what it left in its folder; else the folder is emptied first."""
    simulates: ClassVar[bool] = False
    """Whether it loads a simulator, which is kept for the next such job of its process, and which may hang."""

    @property
    def title(self) -> str:
        """A few words for the progress view."""
        return self.kind.replace("_", " ")

    @property
    def place(self) -> object:
        """What its process loads before it can simulate, where that takes long."""
        return None

    @property
    def opens(self) -> tuple[Job, ...]:
        """Jobs behind those among the fields whose results it reads too: so they are there, and whole, when it runs."""
        return ()

    @property
    def needs(self) -> tuple[Job, ...]:
        """The jobs among the fields, and those that it `opens`."""
        among = _jobs_in([getattr(self, field.name) for field in dataclasses.fields(self)])
        return tuple({job.digest: job for job in (*among, *self.opens)}.values())

    @property
    def silence(self) -> float:
        """Seconds for which it works without a word, estimated on one core of a laptop, where that is more than a
        moment. A simulator that is silent for as long has not hung."""
        return 0.0

    def cost(self) -> Cost:
        """What it is expected to take."""
        return Cost(seconds=5.0)

    @abstractmethod
    def run(self, context: Context) -> None:
        """Does the work and writes the result into `context.folder`."""


def with_needs(jobs: list[Job]) -> list[Job]:
    """The jobs and all they depend on, each once, dependencies first."""
    ordered: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.digest not in ordered:
            for need in job.needs:
                visit(need)
            ordered[job.digest] = job

    for job in jobs:
        visit(job)
    return list(ordered.values())


def _jobs_in(values: list[object]) -> Iterator[Job]:
    for value in values:
        if isinstance(value, Job):
            yield value
        elif isinstance(value, tuple):
            yield from _jobs_in(list(value))
