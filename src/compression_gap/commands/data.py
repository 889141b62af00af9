"""`cgap collect`: demonstrations of a suite's tasks by their scripted experts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from compression_gap import config, plugins
from compression_gap.commands.answer import Answer, finish, plain_table, show_failures
from compression_gap.pipeline.jobs import SUMMARY, Demonstrations, Drawings
from compression_gap.pipeline.plan import demonstrations
from compression_gap.store import Store
from compression_gap.suites.base import Suite, SuiteSpec
from compression_gap.suites.libero.benchmark import NUM_TASKS
from compression_gap.suites.libero.suite import Libero

PROTOCOLS = {"fixed": "demonstrations", "random": "random"}


@dataclass(frozen=True)
class Selection:
    """Which demonstrations of a suite's experts, as typed."""

    suite: str
    """Its name: see `suite_named`."""
    tasks: Sequence[int] | None
    """None: all."""
    attempts: int
    """Of each task."""
    states: str
    """ "fixed", "random" or a protocol of the suite."""
    leaves: Mapping[str, str]
    """Settings of the suite, as typed."""

    @property
    def name(self) -> str:
        """For titles and file names."""
        return self.suite

    @property
    def recorded(self) -> bool:
        """Whether they are people's, from files."""
        return False

    def words(self, further: Sequence[str]) -> list[str]:
        """As it would be typed behind a command's name, with the command's own words."""
        words = [self.suite, *(["--tasks", *map(str, self.tasks)] if self.tasks is not None else [])]
        words += ["--episodes", str(self.attempts), "--initial-states", self.states, *further]
        return words + [word for name, value in self.leaves.items() for word in (f"--{name}", value)]

    def spec(self) -> SuiteSpec:
        """The suite. Raises ValueError for an unknown one or a wrong setting."""
        return config.override(suite_named(self.suite), self.leaves)

    def jobs(self, spec: SuiteSpec, suite: Suite) -> dict[int, tuple[Demonstrations, ...]]:
        """By task. Raises an error, before anything runs, if a task has no script or nothing can be simulated."""
        chosen = range(spec.num_tasks) if self.tasks is None else self.tasks
        for task in chosen:
            suite.expert(task)
        suite.check_simulator()
        protocol = PROTOCOLS.get(self.states, self.states)
        spec.check_episodes(protocol, self.attempts)
        return {task: demonstrations(spec, [task], 0, self.attempts, protocol) for task in chosen}

    def further(self, spec: SuiteSpec, first: int, count: int) -> tuple[Demonstrations, ...]:
        """Attempts `first` .. `first + count - 1` of each task. Raises ValueError if there are not so many."""
        chosen = range(spec.num_tasks) if self.tasks is None else self.tasks
        protocol = PROTOCOLS.get(self.states, self.states)
        spec.check_episodes(protocol, first + count)
        return demonstrations(spec, list(chosen), first, count, protocol)

    def without_last(self, count: int) -> Selection:
        """What is left when `count` of each task are held back: all of them, where others can be made."""
        return self


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


def suite_named(name: str) -> SuiteSpec:
    """A suite by its kind, or one of LIBERO's by its own name, with all its tasks.

    Raises ValueError with the closest name for an unknown one.
    """
    if name in NUM_TASKS:
        return Libero(suite=name, tasks=tuple(range(NUM_TASKS[name])))
    known = [kind for kind in plugins.kinds("suites") if kind != Libero.kind]
    if name not in known:
        raise ValueError(f"there is no suite {name!r}; {config.closest(name, [*known, *NUM_TASKS])}")
    return plugins.find("suites", name)()


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
