"""`cgap import` and `cgap export`: demonstrations in LIBERO's own HDF5 files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from compression_gap.commands.answer import Answer, finish, plain_table, show_failures
from compression_gap.commands.data import Selection
from compression_gap.config import closest
from compression_gap.data.demos import Demos
from compression_gap.data.formats.libero_hdf5 import PICTURES, LiberoFile, join_libero, open_libero
from compression_gap.pipeline.jobs import LiberoHdf5, Recording
from compression_gap.pipeline.jobs.data import SUMMARY, array_on_disk
from compression_gap.pipeline.jobs.recording import HDF5
from compression_gap.pipeline.progress import bar
from compression_gap.pipeline.provenance import provenance
from compression_gap.seeds import episode_number
from compression_gap.store import Store, write_json
from compression_gap.suites.libero.benchmark import SUITES, load_tasks
from compression_gap.suites.libero.recordings import Frames, frames_of
from compression_gap.suites.libero.suite import Libero
from compression_gap.training import Report

MEGABYTE = 1 << 20


def import_files(paths: Sequence[Path], root: Path) -> Answer:
    """Puts people's demonstrations into the store, one file a task; each file wholly or not at all."""
    store, rows = Store(root), []
    for path in paths:
        with open_libero(path) as file, bar(path.name) as report:
            suite = suite_of(file)
            job = Recording(suite.title_of(0), _content(path))
            if not store.has(job):
                _import(file, suite, job, store, report)
        rows.append(_told(path, suite, job, store))

    def show(console: Console) -> None:
        for row in rows:
            told = f"{row['file']}: {row['task']}, {row['demonstrations']} demonstrations, {row['frames']:,} frames"
            moved = "; pictures were taken after the action of their row, so the first action of each is left away"
            console.print(Text(told + (moved if row["observed_after_acting"] else "")), soft_wrap=True)
            console.print(Text(f"  recording {row['recording']}; imitate it: {row['train']}"), soft_wrap=True)
        console.print(Text(f"store: {store.root}"), soft_wrap=True)

    return Answer({"files": rows, "store": str(store.root)}, show)


def suite_of(file: LiberoFile) -> Libero:
    """The suite with just the file's task, by the name of its BDDL file.

    Raises ValueError with the closest name if LIBERO has no such task.
    """
    names: dict[str, tuple[str, int]] = {}
    for suite in reversed(SUITES):  # libero_90 and libero_10 share no name, but were they to, the smaller one counts
        names |= {task.bddl_file.stem: (suite, task.index) for task in load_tasks(suite)}
    if file.task not in names:
        raise ValueError(f"{file.path}, data: LIBERO has no task {file.task!r}; {closest(file.task, names)}")
    suite, index = names[file.task]
    return Libero(suite=suite, tasks=(index,))


def _import(file: LiberoFile, spec: Libero, job: Recording, store: Store, report: Report) -> None:
    """Reads the whole file before anything is written."""
    suite = spec.build()
    world, things = suite.world(0), suite.things(0)
    found: list[tuple[Frames, np.ndarray]] = []
    for number, name in enumerate(file.demos):
        demo = file.demo(name)
        try:
            frames = frames_of(world, things, demo.states, demo.robot_states, demo.bodies)
        except ValueError as error:
            raise ValueError(f"{file.path}, data/{name}: {error}") from error
        found.append((frames, demo.actions[frames.lag :]))
        report(0.5 * (number + 1) / len(file.demos), "")
    with store.lock(job):
        store.discard(job)
        folder = store.partial(job)
        try:
            lengths = [len(actions) for _, actions in found]
            _demos(found, spec.title_of(0)).save(folder)
            for camera in PICTURES:
                first = file.pictures(file.demos[0], camera)
                out = array_on_disk(folder / f"{camera}.npy", np.uint8, (sum(lengths), *first.shape[1:]))
                for number, (name, start) in enumerate(zip(file.demos, np.cumsum([0, *lengths]), strict=False)):
                    out[start : start + lengths[number]] = file.pictures(name, camera)[: lengths[number]]
                    report(0.5 + 0.5 * (number + 1) / len(file.demos), camera)
                out.flush()
            told = {"demonstrations": len(found), "frames": sum(lengths), "lag": found[0][0].lag}
            write_json(folder / SUMMARY, told)
            store.finish(job, provenance(device="cpu", seconds=0.0, peak_memory_mb=0.0))
        finally:
            store.discard(job)


def _demos(found: list[tuple[Frames, np.ndarray]], task: str) -> Demos:
    lengths = np.array([len(actions) for _, actions in found], dtype=np.int64)
    numbers = [episode_number(task, 0, index) for index in range(len(found))]
    stamps = [np.stack([np.full(n, number), np.arange(n)], axis=1) for number, n in zip(numbers, lengths, strict=True)]
    states = [hashlib.sha256(np.ascontiguousarray(frames.scene[0]).tobytes()).hexdigest()[:16] for frames, _ in found]
    episodes = pl.DataFrame(
        {
            "task": np.zeros(len(found), dtype=np.int64),
            "index": np.arange(len(found), dtype=np.int64),
            "start": np.cumsum([0, *lengths])[: len(found)].astype(np.int64),
            "length": lengths,
            "initial_state": states,
        }
    )
    actions = np.concatenate([actions for _, actions in found]).astype(np.float32)
    read = {name: np.concatenate([getattr(f, name) for f, _ in found]) for name in ("proprioception", "state", "scene")}
    return Demos(episodes=episodes, **read, stamp=np.concatenate(stamps), label=actions, executed=actions)


def _told(path: Path, suite: Libero, job: Recording, store: Store) -> dict[str, Any]:
    found = json.loads((store.folder(job) / SUMMARY).read_text())
    count = found["demonstrations"]
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
        "train": f"cgap try libero_smoke {changed} --data.episodes {count} --data.tokenizer_episodes 0",
    }


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:20]


def export_files(selection: Selection, out: Path, root: Path, workers: int, *, quiet: bool) -> Answer:
    """Writes the expert's demonstrations as `<task>_demo.hdf5`, made first where they are not there yet."""
    spec, store = selection.spec(), Store(root)
    if not isinstance(spec, Libero):
        raise ValueError(f"only LIBERO's suites have LIBERO's files; {closest(selection.suite, SUITES)}")
    suite = spec.build()
    jobs = {task: list(map(LiberoHdf5, some)) for task, some in selection.jobs(spec, suite).items()}
    targets = {task: out / f"{suite.bddl_file(task).stem}_demo.hdf5" for task in jobs}
    if there := [target for target in targets.values() if target.exists()]:
        raise ValueError(f"{there[0]} is there already: move it away, or choose another --out")
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
