"""Demonstrations in LIBERO's own HDF5 files: `cgap import` and `cgap export`."""

from __future__ import annotations

import filecmp
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from compression_gap.commands.answer import Answer, finish, plain_table, show_failures
from compression_gap.commands.recordings import imported
from compression_gap.commands.selection import Selection
from compression_gap.config import closest, counted
from compression_gap.data.formats.libero_hdf5 import join_libero
from compression_gap.pipeline.jobs import LiberoHdf5, Recording
from compression_gap.pipeline.jobs.data import SUMMARY
from compression_gap.pipeline.jobs.recording import HDF5
from compression_gap.store import Store, default_root
from compression_gap.suites.libero.benchmark import SUITES
from compression_gap.suites.libero.suite import Libero

MEGABYTE = 1 << 20


def import_files(paths: Sequence[Path], root: Path) -> Answer:
    """Puts people's demonstrations into the store, one file a task; each file wholly or not at all."""
    store = Store(root)
    rows = [_told(path, *imported(path, store), store) for path in paths]

    def show(console: Console) -> None:
        for row in rows:
            held = counted(row["demonstrations"], "demonstration")
            told = f"{row['file']}: {row['task']}, {held}, {row['frames']:,} frames"
            moved = "; pictures were taken after the action of their row, so the first action of each is left away"
            console.print(Text(told + (moved if row["observed_after_acting"] else "")), soft_wrap=True)
            console.print(Text(f"  recording {row['recording']}; imitate it: {row['train']}"), soft_wrap=True)
        console.print(Text(f"store: {store.root}"), soft_wrap=True)

    return Answer({"files": rows, "store": str(store.root)}, show)


def _told(path: Path, suite: Libero, job: Recording, store: Store) -> dict[str, Any]:
    found = json.loads((store.folder(job) / SUMMARY).read_text())
    count = found["demonstrations"]
    elsewhere = "" if store.root == default_root().absolute() else f" --store {shlex.quote(str(store.root))}"
    changed = f"--suite.suite {suite.suite} " if suite.suite != Libero().suite else ""
    changed += f"--suite.tasks '{suite.tasks}' --suite.rendering reference --data.recordings \"('{job.content}',)\""
    return {
        "file": str(path),
        "task": job.task,
        "instruction": suite.build().tasks[0],
        "demonstrations": count,
        "frames": found["frames"],
        "observed_after_acting": bool(found["lag"]),
        "recording": job.content,
        "train": f"cgap try libero_smoke {changed} --data.episodes {count} --data.tokenizer_episodes 0{elsewhere}",
    }


def _is_ours(target: Path, jobs: Sequence[LiberoHdf5], store: Store) -> bool:
    """Whether a file is what these jobs have made: then an export that was stopped has come so far, and goes on."""
    if not all(map(store.has, jobs)):
        return False
    again = target.with_name(f"{target.name}.{os.getpid()}.again")
    try:
        join_libero([store.folder(job) / HDF5 for job in jobs], again)
        return filecmp.cmp(target, again, shallow=False)
    finally:
        again.unlink(missing_ok=True)


def export_files(selection: Selection, out: Path, root: Path, workers: int, *, quiet: bool) -> Answer:
    """Writes the expert's demonstrations as `<task>_demo.hdf5`, made first where they are not there yet."""
    spec, store = selection.spec(), Store(root)
    if not isinstance(spec, Libero):
        raise ValueError(f"only LIBERO's suites have LIBERO's files; {closest(selection.suite, SUITES)}")
    suite = spec.build()
    jobs = {task: list(map(LiberoHdf5, some)) for task, some in selection.jobs(spec, suite).items()}
    targets = {task: out / f"{suite.bddl_file(task).stem}_demo.hdf5" for task in jobs}
    for task, target in targets.items():
        if target.exists() and not _is_ours(target, jobs[task], store):
            raise ValueError(f"{target} is there already, and is another: move it away, or choose another --out")
    outcome = finish([job for some in jobs.values() for job in some], store, workers, "cpu", quiet=quiet)
    rows = []
    for task, some in jobs.items():
        if all(map(store.has, some)):
            out.mkdir(parents=True, exist_ok=True)
            count = join_libero([store.folder(job) / HDF5 for job in some], targets[task])
            row = {"task": task, "name": suite.tasks[task], "demonstrations": count, "file": str(targets[task])}
            rows.append({**row, "megabytes": round(targets[task].stat().st_size / MEGABYTE, 1)})

    def show(console: Console) -> None:
        listed = plain_table("task", "", ">demonstrations", ">MB", "file")
        for row in rows:
            listed.add_row(
                str(row["task"]), row["name"], str(row["demonstrations"]), str(row["megabytes"]), row["file"]
            )
        console.print(listed)
        show_failures(outcome, console)

    data = {"files": rows, "failed": len(outcome.failed) + len(outcome.blocked), "seconds": round(outcome.seconds, 1)}
    return Answer(data, show, failed=bool(outcome.failed))
