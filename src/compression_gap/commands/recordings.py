"""Demonstrations of people in LIBERO's own HDF5 files, where the name of a suite might stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compression_gap import config
from compression_gap.commands.selection import Selection
from compression_gap.config import closest
from compression_gap.data.formats.libero_hdf5 import LiberoFile, open_libero
from compression_gap.pipeline.jobs import Demonstrations, RecordedDemonstrations, Recording
from compression_gap.pipeline.jobs.data import SUMMARY
from compression_gap.pipeline.jobs.recording import import_recording
from compression_gap.pipeline.progress import bar
from compression_gap.store import Store
from compression_gap.suites.base import Suite, SuiteSpec
from compression_gap.suites.libero.benchmark import SUITES, load_tasks
from compression_gap.suites.libero.suite import Libero


@dataclass(frozen=True)
class Recorded(Selection):
    """Demonstrations of people, a file for each task."""

    files: tuple[str, ...]
    """As typed."""
    of_suite: Libero
    """With the files' tasks."""
    recordings: tuple[Recording, ...]

    @property
    def name(self) -> str:
        return f"{self.suite}-recordings"

    @property
    def recorded(self) -> bool:
        return True

    @property
    def cure(self) -> str:
        return "give files that hold more"

    def words(self, further: Sequence[str]) -> list[str]:
        words = [*self.files, "--episodes", str(self.attempts), *further]
        return words + [word for name, value in self.leaves.items() for word in (f"--{name}", value)]

    def spec(self) -> Libero:
        return config.override(self.of_suite, self.leaves)

    def jobs(self, spec: SuiteSpec, suite: Suite) -> dict[int, tuple[Demonstrations, ...]]:
        return {task: (job,) for task, job in enumerate(self.further(spec, 0, self.attempts))}

    def further(self, spec: SuiteSpec, first: int, count: int) -> tuple[Demonstrations, ...]:
        return tuple(
            RecordedDemonstrations(*spec.alone(task), first, count, recording=recording)
            for task, recording in enumerate(self.recordings)
        )

    def without_last(self, count: int) -> Recorded:
        return replace(self, attempts=self.attempts - count)


def recorded(paths: Sequence[Path], attempts: int, leaves: Mapping[str, str], root: Path) -> Recorded:
    """The demonstrations in files, which are put into the store; of each as many as all have, and `attempts` at most.

    Raises ValueError if they are of different suites, or two are of one task.
    """
    store = Store(root)
    found = [imported(path, store) for path in paths]
    suites = {suite.suite: path for path, (suite, _) in zip(paths, found, strict=True)}
    if len(suites) > 1:
        raise ValueError(
            f"expected files of one suite, got {' and '.join(f'{p} of {name}' for name, p in suites.items())}"
        )
    tasks = tuple(suite.tasks[0] for suite, _ in found)
    twice = [str(path) for path, task in zip(paths, tasks, strict=True) if tasks.count(task) > 1]
    if twice:
        raise ValueError(f"expected a file a task, got {' and '.join(twice)} of the same task: leave one out")
    jobs = tuple(job for _, job in found)
    least = min(json.loads((store.folder(job) / SUMMARY).read_text())["demonstrations"] for job in jobs)
    name = next(iter(suites))
    return Recorded(
        suite=name,
        tasks=None,
        attempts=min(attempts, least),
        states="recorded",
        leaves=leaves,
        files=tuple(map(str, paths)),
        of_suite=Libero(suite=name, tasks=tasks, rendering="reference"),
        recordings=jobs,
    )


def imported(path: Path, store: Store) -> tuple[Libero, Recording]:
    """The suite with just the file's task, and its demonstrations: put into the store, unless they are there."""
    with open_libero(path) as file, bar(path.name) as report:
        suite = suite_of(file)
        job = Recording(suite.title_of(0), _content(path))
        if not store.has(job):
            import_recording(job, file, suite, store, report)
    return suite, job


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


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:20]
