"""Which demonstrations a command is about, as typed: those of a suite's scripted experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compression_gap import config, plugins
from compression_gap.config import closest, counted
from compression_gap.pipeline.jobs import Demonstrations
from compression_gap.pipeline.plan import demonstrations
from compression_gap.suites.base import Suite, SuiteSpec
from compression_gap.suites.libero.benchmark import NUM_TASKS
from compression_gap.suites.libero.suite import Libero

PROTOCOLS = {"fixed": "demonstrations", "random": "random_demonstrations"}
"""Of initial states, as typed: in no suite are policies judged on those of either."""


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
    """ "fixed", "random" or a protocol of the suite: see `protocol`."""
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

    @property
    def protocol(self) -> str:
        """Where the demonstrations begin, as the suite calls it."""
        return PROTOCOLS.get(self.states, self.states)

    @property
    def cure(self) -> str:
        """What is to be done where they are too few."""
        return "raise --episodes"

    def check_enough(self, fewest: int, why: str) -> None:
        """Raises ValueError if there are fewer than `fewest` of each task, which are needed because of `why`."""
        if self.attempts < fewest:
            got = f"{counted(self.attempts, 'demonstration')} of each task"
            raise ValueError(f"{self.name}: expected at least {fewest}, got {got}: {why}, so {self.cure}")

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
        spec.check_episodes(self.protocol, self.attempts)
        return {task: demonstrations(spec, [task], 0, self.attempts, self.protocol) for task in chosen}

    def further(self, spec: SuiteSpec, first: int, count: int) -> tuple[Demonstrations, ...]:
        """Attempts `first` .. `first + count - 1` of each task. Raises ValueError if there are not so many."""
        chosen = range(spec.num_tasks) if self.tasks is None else self.tasks
        spec.check_episodes(self.protocol, first + count)
        return demonstrations(spec, list(chosen), first, count, self.protocol)

    def without_last(self, count: int) -> Selection:
        """What is left when `count` of each task are held back: all of them, where others can be made."""
        return self


def measured_states(suite: str) -> str:
    """Where demonstrations begin that are measured, if nothing else is typed.

    LIBERO's fixed states for demonstrations are 35 a task. Of more attempts some would begin alike, held-out ones among
    them, and what was only learnt by heart would look as if it were understood.
    """
    return "random" if suite in NUM_TASKS else "fixed"


def suite_named(name: str) -> SuiteSpec:
    """A suite by its kind, or one of LIBERO's by its own name, with all its tasks.

    Raises ValueError with the closest name for an unknown one.
    """
    if name in NUM_TASKS:
        return Libero(suite=name, tasks=tuple(range(NUM_TASKS[name])))
    known = [kind for kind in plugins.kinds("suites") if kind != Libero.kind]
    if name not in known:
        raise ValueError(f"there is no suite {name!r}; {closest(name, [*known, *NUM_TASKS])}")
    return plugins.find("suites", name)()
