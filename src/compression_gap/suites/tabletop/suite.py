"""Pick and place on a table: the suite that needs no simulator to be installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, UInt8

from compression_gap.suites.base import Legend, States, Suite, SuiteCost, SuiteSpec, check_protocol
from compression_gap.suites.tabletop import drawing
from compression_gap.suites.tabletop.dynamics import COLOURS, DEGREES_PER_MM, STEP_MM, STEP_RAD, TableSimulators
from compression_gap.suites.tabletop.expert import TableExpert
from compression_gap.suites.tabletop.streams import stream

PROTOCOLS = ("demonstrations", "development", "test")
TOLERANCES_MM = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0)
PLACES = 100.0
"""Blocks, slot and gripper begin within +-PLACES of the table's centre."""
DISTANCE = 80.0
"""Between the centres of blocks and slot, so that they do not overlap at any yaw."""
YAW = float(np.pi / 4)
"""Blocks, slot and gripper begin turned by at most this, so that a turn is never ambiguous by half a turn."""
GRIPPER_LOW, GRIPPER_HIGH = (-PLACES, -PLACES, 80.0, -YAW), (PLACES, PLACES, 140.0, YAW)
ANGLE_SCALE = 2 * float(np.radians(DEGREES_PER_MM))
"""The change of cos 2 yaw or sin 2 yaw for the yaw that counts as one millimetre."""


@dataclass(frozen=True)
class Tabletop(SuiteSpec, kind="tabletop", version=3):
    """Grasp the block whose colour the task names and put it into the slot, at the slot's yaw."""

    image_size: int = 64
    """Height and width of the pictures in pixels."""
    tolerance_mm: float = 8.0
    """The error up to which an episode counts as a success; other tolerances can be read off the logged errors."""
    batch: int = 128  # pyright: ignore[reportIncompatibleMethodOverride]
    """How many environments run side by side."""

    def __post_init__(self) -> None:
        for name, least in (("image_size", 16), ("tolerance_mm", 0), ("batch", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"Tabletop.{name} must be at least {least}, got {getattr(self, name)}")

    def build(self) -> TabletopSuite:
        return TabletopSuite(self)

    @property
    def num_tasks(self) -> int:
        return len(COLOURS)

    def check_episodes(self, protocol: str, episodes: int) -> None:
        check_protocol(protocol, PROTOCOLS)

    @property
    def for_people(self) -> Tabletop:
        return self.replace(image_size=256)

    @property
    def cameras(self) -> tuple[str, ...]:
        return drawing.CAMERAS

    @property
    def tolerances_mm(self) -> tuple[float, ...]:
        return TOLERANCES_MM

    @property
    def cost(self) -> SuiteCost:
        return SuiteCost(episode=0.002, picture=0.0002, rollout=0.05)


class TabletopSuite(Suite):
    """Three tasks, one for each colour of block.

    Protocols are unlimited, disjoint streams of random initial states: "demonstrations" for the expert, "development"
    for choices made on the way, "test" for the numbers that are reported. A state is drawn for its task, protocol and
    index alone: non-overlapping blocks and slot at any yaw, and a gripper anywhere above them.
    """

    tasks = COLOURS

    def __init__(self, spec: Tabletop) -> None:
        self.spec = spec
        pose = ("x mm", "y mm", "z mm", "cos 2 yaw", "sin 2 yaw")
        flat = (*pose[:2], *pose[3:])
        scale = (1.0, 1.0, 1.0, ANGLE_SCALE, ANGLE_SCALE)
        self.legend = Legend(
            cameras=spec.cameras,
            image_size=spec.image_size,
            proprioception=(*pose, "finger opening mm"),
            state=(*(f"{thing} {value}" for thing in COLOURS for value in pose), *(f"slot {value}" for value in flat)),
            state_scale=scale * 3 + (*scale[:2], *scale[3:]),
            action=("x", "y", "z", "roll (unused)", "pitch (unused)", "yaw", "gripper (-1 opens, +1 closes)"),
            action_scale=(STEP_MM,) * 3 + (float(np.degrees(STEP_RAD)),) * 3 + (1.0,),
            action_low=(-1.0,) * 7,
            action_high=(1.0,) * 7,
            gripper=(6,),
            control_hz=20.0,
            max_steps=120,
            protocols=PROTOCOLS,
            tolerances_mm=TOLERANCES_MM,
        )

    def objects(self, task: int) -> tuple[str, ...]:
        return (self.tasks[task],)

    def initial_states(self, task: int, protocol: str, indices: Sequence[int]) -> States:
        """Arrays "gripper" Float64[E 4] (x, y, z, yaw), "blocks" Float64[E 3 3] (x, y, yaw) and "slot" Float64[E 3].

        Raises ValueError for an unknown task or protocol, or an index below 0.
        """
        self._check_task(task)
        check_protocol(protocol, PROTOCOLS)
        if any(index < 0 for index in indices):
            raise ValueError(f"tabletop's initial states are numbered from 0, got {min(indices)}")
        gripper, poses = np.empty((len(indices), 4)), np.empty((len(indices), 4, 3))
        for row, index in enumerate(indices):
            rng = stream(protocol, task, index)
            poses[row, :, :2] = _apart(rng)
            poses[row, :, 2] = rng.uniform(-YAW, YAW, 4)
            gripper[row] = rng.uniform(GRIPPER_LOW, GRIPPER_HIGH)
        return {"gripper": gripper, "blocks": poses[:, :3].copy(), "slot": poses[:, 3].copy()}

    def simulators(self, task: int, num: int) -> TableSimulators:
        self._check_task(task)
        return TableSimulators(task, num, self.spec.tolerance_mm, self.legend.cameras, partial(self.draw, task))

    def expert(self, task: int) -> TableExpert:
        self._check_task(task)
        return TableExpert(task, self.legend.max_steps)

    def draw(
        self, task: int, scenes: Float[np.ndarray, "N scene"], camera: str
    ) -> UInt8[np.ndarray, "N height width 3"]:
        """Pictures of recorded scenes; equal to what `observe` would have shown.

        Raises ValueError for an unknown task or camera.
        """
        self._check_task(task)
        return drawing.draw(scenes, camera, self.spec.image_size)

    def _check_task(self, task: int) -> None:
        if not 0 <= task < len(self.tasks):
            raise ValueError(f"tabletop's tasks are 0 to {len(self.tasks) - 1} ({', '.join(self.tasks)}), got {task}")


def _apart(rng: np.random.Generator) -> Float[np.ndarray, "4 2"]:
    """Random centres of the blocks and the slot, at least DISTANCE apart."""
    while True:
        centres = rng.uniform(-PLACES, PLACES, (4, 2))
        squares = ((centres[:, None] - centres) ** 2).sum(axis=-1)
        if (squares[np.triu_indices(4, 1)] >= DISTANCE**2).all():
            return centres
