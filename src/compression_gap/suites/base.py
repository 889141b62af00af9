"""The contract of a suite: tasks, an expert, and simulators to be judged in.

Shape letters: E environments side by side, N frames, T actions a chunk, D action dimensions, S width of the state.
An observation is a dict of arrays by name: the suite's cameras ("top": UInt8[E height width 3], upright), and
"proprioception" Float32[E P], "state" Float32[E S] (privileged), "stamp" Int64[E 2] (episode, step).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from compression_gap.config import Spec, closest

Observation = dict[str, np.ndarray]
States = dict[str, np.ndarray]  # initial states of E episodes: arrays whose first axis is E


@dataclass(frozen=True)
class Legend:
    """What a suite's numbers mean."""

    cameras: tuple[str, ...]
    """Names under which pictures are observed."""
    image_size: int
    """Height and width of a picture in pixels."""
    proprioception: tuple[str, ...]
    """Name and unit of each proprioceptive value."""
    state: tuple[str, ...]
    """Name and unit of each value of the privileged state."""
    state_scale: tuple[float, ...]
    """How much each value of the privileged state changes for one millimetre of pose error (for an angle: for the
    angle that the suite counts as one millimetre). Known-bits channels add noise in these units."""
    action: tuple[str, ...]
    """Name of each action value: x, y, z move the arm and roll, pitch, yaw turn it, as differences."""
    action_scale: tuple[float, ...]
    """Physical size of an action of 1: millimetres for positions, degrees for rotations, 1 for the gripper."""
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    gripper: tuple[int, ...]
    """Which action values open and close grippers. They are held, not zeroed, when a chunk is padded."""
    control_hz: float
    """Actions per second."""
    max_steps: int
    """Steps after which an episode has failed."""
    protocols: tuple[str, ...]
    """Names of the sets of initial states, each with its own meaning in the suite's docstring."""
    tolerances_mm: tuple[float, ...]
    """Tolerances at which success is read off one rollout; empty where a suite knows only success and failure."""


class Expert(ABC):
    """A scripted expert for E environments at once. It reads privileged state and writes only actions."""

    @abstractmethod
    def begin(self, episodes: Sequence[int]) -> None:
        """Starts E episodes; `episodes` seed their style (speed, path, pauses, noise), so equal numbers act equally."""

    @abstractmethod
    def act(self, simulators: Simulators) -> tuple[Float[np.ndarray, "E D"], Float[np.ndarray, "E D"]]:
        """(label, executed): the clean action that is imitated, and the one with human-like noise that is executed.

        Reads `simulators.privileged()`, and advances the script by one step.
        """

    @abstractmethod
    def save(self) -> object:
        """Where the script stands, for `restore`; unaffected by later calls."""

    @abstractmethod
    def restore(self, saved: object) -> None: ...


class Simulators(ABC):
    """E copies of one task, stepped together. Pictures are made only when `observe` asks for them."""

    num: int

    @abstractmethod
    def reset(self, states: States, episodes: Sequence[int]) -> None:
        """Puts the environments into the given initial states (settled); `episodes` go into the "stamp"."""

    @abstractmethod
    def step(self, actions: Float[np.ndarray, "E D"]) -> None:
        """One control step. A finished environment ignores it. Actions outside the limits are clipped."""

    @abstractmethod
    def observe(self, names: Sequence[str]) -> Observation:
        """The named observations of all environments."""

    @abstractmethod
    def privileged(self) -> Mapping[str, np.ndarray]:
        """Everything the expert may read."""

    @abstractmethod
    def scene(self) -> Float[np.ndarray, "E scene"]:
        """Float64 numbers from which `Suite.draw` can draw the present pictures later."""

    @abstractmethod
    def done(self) -> Bool[np.ndarray, " E"]:
        """Which episodes have ended (success, or nothing more can happen)."""

    @abstractmethod
    def outcome(self) -> dict[str, np.ndarray]:
        """Columns for the episode rows, arrays of length E: "success" (bool) always; where the suite has tolerances
        also "error_mm" (success at tolerance t is error_mm <= t; inf if the task was never completed)."""

    @abstractmethod
    def save(self) -> object:
        """A complete snapshot: a restored continuation equals the original to the last bit."""

    @abstractmethod
    def restore(self, snapshot: object) -> None: ...

    def close(self) -> None:  # noqa: B027  (most hold nothing)
        """Frees what the simulators hold."""


class Suite(ABC):
    """Tasks, their expert, and simulators."""

    legend: Legend
    tasks: tuple[str, ...]
    """Names of the tasks, in the order of their ids."""

    def check_simulator(self) -> None:
        """Raises an error that names the cure if nothing can be simulated here; asked before long work begins."""
        return

    def objects(self, task: int) -> tuple[str, ...]:
        """What a task is about, as the legend's state names it ("<object> x mm"); empty if the suite does not tell."""
        return ()

    @property
    def conditions(self) -> Mapping[str, str | int]:
        """Columns for the episode rows: settings that change what success means, besides the protocol."""
        return {}

    @abstractmethod
    def initial_states(self, task: int, protocol: str, indices: Sequence[int]) -> States:
        """Initial states number `indices` of a protocol. Equal arguments, equal states, whatever else was asked for.

        Raises ValueError for an unknown task or protocol, or an index that a fixed protocol does not have.
        """

    def recorded_states(
        self, task: int, scenes: Float[np.ndarray, "E scene"], states: Float[np.ndarray, "E numbers"]
    ) -> States:
        """Initial states as people's files have them: scenes, and the simulator's own numbers.

        Raises ValueError unless the suite can read such files.
        """
        raise ValueError(f"task {task} begins from protocols only, and not from recorded scenes")

    @abstractmethod
    def simulators(self, task: int, num: int) -> Simulators: ...

    @abstractmethod
    def expert(self, task: int) -> Expert: ...

    @abstractmethod
    def draw(
        self, task: int, scenes: Float[np.ndarray, "N scene"], camera: str
    ) -> UInt8[np.ndarray, "N height width 3"]:
        """Pictures of recorded scenes; equal to what `observe` would have shown."""


@dataclass(frozen=True)
class SuiteCost:
    """Seconds on one core of a laptop, and sizes: estimates for planning, never for results."""

    episode: float
    """An expert's episode without pictures."""
    picture: float
    """One picture of one camera."""
    rollout: float
    """A policy's episode with the pictures that it looks at."""
    steps: float = 90.0
    """Steps of a demonstration."""
    picture_mb: float = 0.0123
    """Megabytes of a stored picture."""


@dataclass(frozen=True)
class SuiteSpec(Spec, family="suites"):
    """Describes a suite. What can be told without its simulator, which may not be installed, is told here."""

    @abstractmethod
    def build(self) -> Suite:
        """The suite. Raises ImportError naming the extra to install if its simulator is missing."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """How many environments of a task run side by side; part of what fixes the last bits of a result."""

    @property
    def attempts_a_job(self) -> int | None:
        """How many attempts at a demonstration a job makes; None: all of a task's. A smaller collection is then the
        beginning of a larger one, and several processes share a task."""
        return None

    @property
    @abstractmethod
    def num_tasks(self) -> int:
        """How many tasks it has."""

    def title_of(self, task: int) -> str:
        """A few words for a task, known without the simulator."""
        return f"task {task}"

    def alone(self, task: int) -> tuple[SuiteSpec, int]:
        """The smallest suite in which a task exists, and its id there.

        Demonstrations are made in it, so that studies of different tasks share those of the tasks they have in common.
        """
        return self, task

    def united(self, others: Sequence[SuiteSpec]) -> SuiteSpec:
        """The suite with the tasks of all `others`, itself among them, in their order: undoes `alone`."""
        assert all(other == self for other in others), "demonstrations of different suites do not mix"
        return self

    def task_of(self, other: SuiteSpec, task: int) -> int:
        """The id here of a task of one of the suites that were `united`."""
        return task

    def check_episodes(self, protocol: str, episodes: int) -> None:
        """Raises ValueError if there is no such protocol or it has fewer initial states a task than `episodes`.

        Asked before anything is trained. A suite that does not tell finds out when it gets there.
        """
        return

    def shared_starts(self, protocol: str, other: str, episodes: int) -> int:
        """How many of a protocol's first `episodes` initial states are also among those of another one."""
        return episodes if protocol == other else 0

    @property
    def for_people(self) -> SuiteSpec:
        """The same with pictures that people like to look at, of an even size."""
        return self

    @property
    @abstractmethod
    def cameras(self) -> tuple[str, ...]:
        """As in its legend."""

    @property
    def tolerances_mm(self) -> tuple[float, ...]:
        """As in its legend: empty where there is only success and failure."""
        return ()

    @property
    @abstractmethod
    def cost(self) -> SuiteCost:
        """What simulating it takes."""


def check_protocol(protocol: str, known: Sequence[str]) -> None:
    """Raises ValueError with the closest name if it is none of the known ones."""
    if protocol not in known:
        raise ValueError(f"no protocol {protocol!r}; {closest(protocol, known)}")


def state_hashes(states: States) -> list[str]:
    """A name for each initial state, equal where the states are: with it cells are paired episode by episode."""
    num = len(next(iter(states.values())))
    hashes = []
    for row in range(num):
        text = hashlib.sha256()
        for name in sorted(states):
            text.update(name.encode() + np.ascontiguousarray(states[name][row]).tobytes())
        hashes.append(text.hexdigest()[:16])
    return hashes
