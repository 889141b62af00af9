"""`cgap collect`: demonstrations of a suite's tasks by their scripted experts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from compression_gap import config
from compression_gap.commands.answer import Answer, finish, plain_table, show_failures
from compression_gap.commands.selection import Selection
from compression_gap.pipeline.jobs import SUMMARY, Demonstrations, Drawings
from compression_gap.store import Store


def collect(selection: Selection, stride: int | None, root: Path, workers: int, *, quiet: bool) -> Answer:
    """Makes demonstrations and draws every `stride`-th frame (None: no pictures)."""
    spec, store = selection.spec(), Store(root)
    suite = spec.build()
    jobs = selection.jobs(spec, suite)
    flat = [job for some in jobs.values() for job in some]
    drawings = [Drawings(job, spec.cameras, history=1, stride=stride) for job in flat] if stride else []
    outcome = finish([*flat, *drawings], store, workers, "cpu", quiet=quiet)
    rows = [{"task": task, "name": suite.tasks[task], **_told(store, some)} for task, some in jobs.items()]
    total = _sums(rows)
    hours = sum(_seconds(store, job) for job in [*flat, *drawings]) / 3600
    data = {
        "suite": config.to_json(spec),
        "protocol": flat[0].protocol,
        "tasks": rows,
        **total,
        "core_hours": round(hours, 3),
        "seconds": round(outcome.seconds, 1),
        "store": str(store.root),
        "failed": len(outcome.failed) + len(outcome.blocked),
    }

    def show(console: Console) -> None:
        listed = plain_table("task", "", ">attempts", ">kept", ">yield", ">frames")
        for row in [*rows, {"task": "", "name": "all", **total}]:
            share = "" if row["yield"] is None else f"{100 * row['yield']:.1f} %"
            numbers = (f"{row['attempts']:,}", f"{row['kept']:,}", share, f"{row['frames']:,}")
            listed.add_row(str(row["task"]), row["name"], *numbers)
        console.print(listed)
        console.print(f"{hours:.2f} hours of one core; this run took {outcome.seconds:.0f} s")
        console.print(Text(f"store: {store.root}"), soft_wrap=True)
        show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def _told(store: Store, jobs: Sequence[Demonstrations]) -> dict[str, Any]:
    """Attempts, successes, yield and frames of the jobs that are finished."""
    summaries = [json.loads((store.folder(job) / SUMMARY).read_text()) for job in jobs if store.has(job)]
    return _sums(summaries)


def _sums(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    attempts, kept, frames = (sum(row[name] for row in rows) for name in ("attempts", "kept", "frames"))
    return {"attempts": attempts, "kept": kept, "yield": kept / attempts if attempts else None, "frames": frames}


def _seconds(store: Store, job: Demonstrations | Drawings) -> float:
    if not store.has(job):
        return 0.0
    return float(json.loads((store.folder(job) / "provenance.json").read_text())["seconds"])
