"""What every command has: an answer as data for `--json` and as a view for people, and how jobs are finished."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compression_gap.config import counted
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.progress import Progress
from compression_gap.pipeline.run import Outcome, run
from compression_gap.store import Store


@dataclass(frozen=True)
class Answer:
    """What a command has to say."""

    data: dict[str, Any]
    show: Callable[[Console], None]
    failed: bool = False
    """Whether jobs failed."""


def finish(jobs: list[Job], store: Store, workers: int, device: str, *, quiet: bool) -> Outcome:
    """Finishes jobs and what they need, with a live view.

    Raises ValueError for a device that is not there, and StoreError for a store that cannot be written to.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device here; leave the option away to use the CPU")
    store.make()
    return run(jobs, store, workers=workers, device=device, progress=Progress(quiet=quiet))


def report_path(store: Store, command: str, measured: str, jobs: Sequence[Job], ending: str = "html") -> Path:
    """Where a command's report goes. The same thing measured with other options has another name: nothing is lost."""
    asked = hashlib.sha256("".join(job.digest for job in jobs).encode()).hexdigest()[:6]
    return store.root / "reports" / f"{command}-{measured}-{asked}.{ending}"


def show_failures(outcome: Outcome, console: Console) -> None:
    """One line for each job that failed."""
    for job, error in outcome.failed.items():
        console.print(Text(f"failed: {job.title}: {error}", style="red"), soft_wrap=True)
    if outcome.failed:
        also = f", and {counted(len(outcome.blocked), 'job')} that need them could not run" if outcome.blocked else ""
        console.print(f"{counted(len(outcome.failed), 'job')} failed{also}; cgap status shows the tracebacks")


def plain_table(*columns: str) -> Table:
    """A column whose name begins with ">" is right-aligned."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(megabytes: float) -> str:
    """`3 MB` or `1.2 GB`."""
    return f"{megabytes:.3g} MB" if megabytes < 1000 else f"{megabytes / 1000:.3g} GB"
