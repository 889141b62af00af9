"""LIBERO (Liu et al., 2023, arXiv:2306.03310): tasks of a Panda arm in MuJoCo, judged from fixed initial states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from compression_gap.config import added_later, closest
from compression_gap.suites.base import (
    Expert,
    Legend,
    Observation,
    Simulators,
    States,
    Suite,
    SuiteCost,
    SuiteSpec,
    check_protocol,
)
from compression_gap.suites.libero.benchmark import MAX_STEPS, SUITES, load_tasks
from compression_gap.suites.libero.experts import ScriptedExpert
from compression_gap.suites.libero.scripts import script_for
from compression_gap.suites.libero.world import ACTIONS, CAMERAS, Snapshot, World, import_simulator, load_world

FIXED_STATES = {"demonstrations": range(35), "test": range(35, 50), "fixed": range(50)}
# first seeds: none is that of a fixed state
RANDOM_SEEDS = {"development": 10_000, "random": 20_000_000, "random_demonstrations": 30_000_000}
PROTOCOLS = (*FIXED_STATES, *RANDOM_SEEDS)
REPEATABLE = ("demonstrations", *RANDOM_SEEDS)  # these have as many as are asked for
SECONDS_A_PICTURE = {"reference": 0.07, "fast": 0.03}
RADIANS_PER_MM = np.radians(1.5)  # a turn that counts as one millimetre of pose error, as on the tabletop
STATE_OF_A_THING = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32", "joint")


@dataclass(frozen=True)
class Libero(SuiteSpec, kind="libero", version=2):
    """Some tasks of one LIBERO suite. Task ids are positions in `tasks`.

    Protocols: "demonstrations" are LIBERO's fixed initial states 0-34 (index i is state i modulo 35: what else differs
    between demonstrations comes from the expert), "test" its states 35-49 (index 0 is state 35), "fixed" all 50,
    as most published success rates have it, "random" resets drawn at random as LIBERO draws them, as the OAT authors
    have it, "development" other such resets, for choices that must touch none of these, and "random_demonstrations" yet
    others: more places of the objects to learn from than the 35 that the fixed states know.
    """

    suite: str = "libero_10"
    """libero_spatial, libero_object, libero_goal, libero_10 or libero_90."""
    tasks: tuple[int, ...] = (2,)
    """Numbers of the tasks in LIBERO's own order."""
    image_size: int = 64
    """Height and width of the pictures that are observed, in pixels."""
    render_size: int = 128
    """Height and width in which they are drawn before they are averaged down; a multiple of `image_size`."""
    rendering: Literal["fast", "reference"] = "fast"
    """As LIBERO draws ("reference"), or in a third of the time without anti-aliasing, shadows and mirrors ("fast")."""
    settle_steps: int = 25
    """Control steps at rest before the first observation, because objects start above their supports and drop."""
    noise: float = added_later(0.12)
    """Standard deviation of the noise on the translations that experts execute, within [-1, 1]; turns get a quarter.
    It shows policies how to come back, but nobody can foresee it: chunks that answer it are harder to learn."""

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise ValueError(f"Libero.suite: there is no suite {self.suite!r}; {closest(self.suite, SUITES)}")
        if self.image_size < 1 or self.render_size % self.image_size:
            raise ValueError(
                f"Libero.render_size: expected a multiple of image_size {self.image_size}, got {self.render_size}"
            )
        if not 0 <= self.noise < 1:
            raise ValueError(f"Libero.noise: expected at least 0 and less than 1, got {self.noise}")

    def build(self) -> LiberoSuite:
        return LiberoSuite(self)

    @property
    def batch(self) -> int:
        return 1

    @property
    def attempts_a_job(self) -> int:
        return 10

    @property
    def num_tasks(self) -> int:
        return len(self.tasks)

    def title_of(self, task: int) -> str:
        return f"{self.suite} task {self.tasks[task]}"

    def check_episodes(self, protocol: str, episodes: int) -> None:
        check_protocol(protocol, PROTOCOLS)
        states = len(FIXED_STATES.get(protocol, ()))
        if states < episodes and protocol not in REPEATABLE:
            raise ValueError(f"protocol {protocol!r} has {states} initial states a task, and not {episodes}")

    def alone(self, task: int) -> tuple[Libero, int]:
        return self.replace(tasks=(self.tasks[task],)), 0

    def united(self, others: Sequence[SuiteSpec]) -> Libero:
        """Raises ValueError if they differ in more than their tasks."""
        tasks = tuple(dict.fromkeys(task for other in others if isinstance(other, Libero) for task in other.tasks))
        if any(other.replace(tasks=self.tasks) != self for other in others):
            raise ValueError("demonstrations of suites that differ in more than their tasks do not mix")
        return self.replace(tasks=tasks)

    def shared_starts(self, protocol: str, other: str, episodes: int) -> int:
        judged, known = (FIXED_STATES.get(name, range(0)) for name in (protocol, other))
        return len({*judged[:episodes]} & {*known}) or super().shared_starts(protocol, other, episodes)

    def task_of(self, other: SuiteSpec, task: int) -> int:
        return self.tasks.index(other.tasks[task]) if isinstance(other, Libero) else task

    @property
    def for_people(self) -> Libero:
        return self.replace(image_size=256, render_size=256)

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(CAMERAS)

    @property
    def cost(self) -> SuiteCost:
        picture, steps = SECONDS_A_PICTURE[self.rendering], MAX_STEPS[self.suite] / 2
        return SuiteCost(4.0, picture, rollout=5 + 100 * picture, steps=steps, picture_mb=3e-6 * self.image_size**2)


class LiberoSuite(Suite):
    """See `Libero`. A task is loaded on first use and kept until another is; its environments share what is loaded."""

    def __init__(self, spec: Libero) -> None:
        self.spec = spec
        every_task = load_tasks(spec.suite)
        if not spec.tasks or not all(0 <= index < len(every_task) for index in spec.tasks):
            raise ValueError(f"Libero.tasks: {spec.suite} has tasks 0 to {len(every_task) - 1}, got {spec.tasks}")
        self._tasks = [every_task[index] for index in spec.tasks]
        self.tasks = tuple(task.instruction for task in self._tasks)
        self.num_things = max(len(task.objects_of_interest) for task in self._tasks)
        self.legend = self._legend()

    def check_simulator(self) -> None:
        """Raises OSError naming what to install if graphics do not work."""
        import_simulator()

    def objects(self, task: int) -> tuple[str, ...]:
        return tuple(f"object {thing + 1}" for thing in range(len(self.things(task))))

    @property
    def conditions(self) -> Mapping[str, str | int]:
        return {"settle_steps": self.spec.settle_steps, "rendering": self.spec.rendering}

    def initial_states(self, task: int, protocol: str, indices: Sequence[int]) -> States:
        """{"snapshot": Float64[E, numbers]}: settled, and complete to the last bit."""
        check_protocol(protocol, PROTOCOLS)
        world, snapshots = self.world(task), []
        fixed, numbers = self._tasks[task].initial_states(), FIXED_STATES.get(protocol, ())
        for index in indices:
            if protocol in RANDOM_SEEDS:
                snapshots.append(world.start(RANDOM_SEEDS[protocol] + index, None, self.spec.settle_steps))
                continue
            if protocol != "demonstrations" and not 0 <= index < len(numbers):
                raise ValueError(f"protocol {protocol!r} has states 0 to {len(numbers) - 1}, got {index}")
            number = numbers[index % len(numbers)]
            snapshots.append(world.start(number, fixed[number], self.spec.settle_steps))
        return {"snapshot": np.stack(snapshots)}

    def recorded_states(
        self, task: int, scenes: Float[np.ndarray, "E scene"], states: Float[np.ndarray, "E numbers"]
    ) -> States:
        world = self.world(task)
        return {"snapshot": np.stack([world.recorded_start(*row) for row in zip(scenes, states, strict=True)])}

    def simulators(self, task: int, num: int) -> LiberoSimulators:
        return LiberoSimulators(self, task, num)

    def expert(self, task: int) -> Expert:
        """Raises ValueError if nobody has written a script for the task yet."""
        self._check(task)
        return ScriptedExpert(script_for(self.spec.suite, self.spec.tasks[task]), self.spec.noise)

    def draw(self, task: int, scenes: Float[np.ndarray, "N scene"], camera: str) -> UInt8[np.ndarray, "N size size 3"]:
        world = self.world(task)
        pictures = np.empty((len(scenes), self.spec.image_size, self.spec.image_size, 3), dtype=np.uint8)
        for row, scene in enumerate(scenes):
            world.load_scene(scene)
            pictures[row] = average_down(world.picture(camera), self.spec.image_size)
        return pictures

    def world(self, task: int) -> World:
        """The loaded task."""
        self._check(task)
        return load_world(self._tasks[task].bddl_file, self.spec.rendering, self.spec.render_size)

    def things(self, task: int) -> tuple[str, ...]:
        """The bodies that the privileged state describes."""
        return self._tasks[task].objects_of_interest

    def bddl_file(self, task: int) -> Path:
        """What defines a task."""
        self._check(task)
        return self._tasks[task].bddl_file

    def _check(self, task: int) -> None:
        if not 0 <= task < len(self._tasks):
            raise ValueError(f"no task {task}; the suite has tasks 0 to {len(self._tasks) - 1}")

    def _legend(self) -> Legend:
        scale = (1.0,) * 3 + (float(RADIANS_PER_MM),) * 7
        units = (" mm",) * 3 + ("",) * 6 + (" (rad or m)",)
        return Legend(
            cameras=tuple(CAMERAS),
            image_size=self.spec.image_size,
            proprioception=(
                *(f"hand {axis} (m)" for axis in "xyz"),
                *(f"hand quaternion {axis}" for axis in "xyzw"),
                "left finger (m)",
                "right finger (m)",
            ),
            state=tuple(
                f"object {thing + 1} {name}{unit}"
                for thing in range(self.num_things)
                for name, unit in zip(STATE_OF_A_THING, units, strict=True)
            ),
            state_scale=scale * self.num_things,
            action=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
            action_scale=(50.0,) * 3 + (float(np.degrees(0.5)),) * 3 + (1.0,),
            action_low=(-1.0,) * ACTIONS,
            action_high=(1.0,) * ACTIONS,
            gripper=(6,),
            control_hz=20.0,
            max_steps=MAX_STEPS[self.spec.suite],
            protocols=PROTOCOLS,
            tolerances_mm=(),
        )


class LiberoSimulators(Simulators):
    """Environments of one task, stepped one after the other in the one world that is loaded."""

    def __init__(self, suite: LiberoSuite, task: int, num: int) -> None:
        self.num = num
        self._suite, self._task, self._world = suite, task, suite.world(task)

    def reset(self, states: States, episodes: Sequence[int]) -> None:
        assert len(states["snapshot"]) == len(episodes) == self.num
        self._snapshots: list[Snapshot] = [np.array(row) for row in states["snapshot"]]
        self._stamp = np.array([[episode, 0] for episode in episodes], dtype=np.int64)
        self._success = np.zeros(self.num, dtype=bool)

    def step(self, actions: Float[np.ndarray, "E 7"]) -> None:
        # Actions are stored as float32: what was executed must be what a replay reads.
        rounded = np.asarray(actions, dtype=np.float32).astype(np.float64)
        for row, action in enumerate(np.clip(rounded, -1.0, 1.0)):
            if not self._success[row]:
                self._snapshots[row] = self._world.step(self._snapshots[row], action)
                self._success[row] = self._world.success()
                self._stamp[row, 1] += 1

    def observe(self, names: Sequence[str]) -> Observation:
        rows = [self._observe_one(row, names) for row in range(self.num)]
        return {name: np.stack([row[name] for row in rows]) for name in names}

    def privileged(self) -> Mapping[str, np.ndarray]:
        """What `World.privileged` describes, stacked over the environments."""
        rows = []
        for snapshot in self._snapshots:
            self._world.load(snapshot)
            rows.append(self._world.privileged())
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def scene(self) -> Float[np.ndarray, "E scene"]:
        scenes = []
        for snapshot in self._snapshots:
            self._world.load(snapshot)
            scenes.append(self._world.scene())
        return np.stack(scenes)

    def done(self) -> Bool[np.ndarray, " E"]:
        return self._success.copy()

    def outcome(self) -> dict[str, np.ndarray]:
        return {"success": self._success.copy()}

    def save(self) -> object:
        return list(self._snapshots), self._stamp.copy(), self._success.copy()

    def restore(self, snapshot: object) -> None:
        snapshots, stamp, success = snapshot  # type: ignore[misc]
        self._snapshots, self._stamp, self._success = list(snapshots), stamp.copy(), success.copy()

    def _observe_one(self, row: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        self._world.load(self._snapshots[row])
        found: dict[str, np.ndarray] = {}
        for name in names:
            if name in CAMERAS:
                found[name] = average_down(self._world.picture(name), self._suite.spec.image_size)
            elif name == "proprioception":
                found[name] = self._world.proprioception().astype(np.float32)
            elif name == "state":
                things, width = self._suite.things(self._task), self._suite.num_things * len(STATE_OF_A_THING)
                state = state_of(self._world.privileged(), things)
                found[name] = np.pad(state, (0, width - len(state))).astype(np.float32)
            elif name == "stamp":
                found[name] = self._stamp[row]
            else:
                known = (*CAMERAS, "proprioception", "state", "stamp")
                raise ValueError(f"no observation {name!r}; {closest(name, known)}")
        return found


def state_of(privileged: Mapping[str, np.ndarray], things: Sequence[str]) -> Float[np.ndarray, " S"]:
    """Position (mm), first two columns of the rotation matrix, and the sum of the own joints of each thing."""
    parts = []
    for thing in things:
        columns = privileged[f"{thing}.rotation"].T[:2]
        joints = [angle for name, angle in privileged.items() if name.startswith(f"{thing}_") and ".joint" in name]
        parts += [privileged[f"{thing}.position"] * 1000.0, columns.ravel(), [np.sum(joints)]]
    return np.concatenate(parts)


def average_down(picture: UInt8[np.ndarray, "big big 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The picture with every block of pixels replaced by its rounded mean."""
    factor = len(picture) // size
    blocks = picture.reshape(size, factor, size, factor, 3).astype(np.uint32)
    return ((blocks.sum(axis=(1, 3)) + factor**2 // 2) // factor**2).astype(np.uint8)
