"""The table: a gripper, three blocks and a slot, moved for E environments at once.

Lengths are millimetres, angles radians, heights above the table. A pose is x, y, z, yaw; blocks, slot and fingers look
the same after half a turn, so yaws are compared modulo 180 degrees. Motion is kinematic: nothing collides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from compression_gap.suites.base import Observation, Simulators, States

COLOURS = ("red", "green", "blue")
BLOCK_HALF = (30.0, 15.0)
BLOCK_HEIGHT = 30.0
BLOCK_WIDTH = 2 * BLOCK_HALF[1]
OPEN = 50.0
"""The widest finger opening. Fingers rest at BLOCK_WIDTH on a held block and at 0 on nothing."""
FINGER_SPEED = 10.0
STEP_MM, STEP_RAD = 10.0, 0.08
REACH, CEILING = 140.0, 180.0
"""The gripper stays within +-REACH in x and y, and from the table up to CEILING."""
GRASP_HEIGHT = 20.0
"""Fingers that close higher than this miss the blocks."""
GRASP_ERROR = 15.0
"""The largest grasp error at which a block is attached: 15 mm and 22.5 degrees."""
DEGREES_PER_MM = 1.5
LIFTED = 20.0
"""A block that has been this high counts as lifted: its next release is its placing."""


def half_turn(angle: np.ndarray) -> np.ndarray:
    """The equivalent angle from -90 up to 90 degrees."""
    return (angle + np.pi / 2) % np.pi - np.pi / 2


def rotate(points: Float[np.ndarray, "E 2"], angle: Float[np.ndarray, " E"]) -> Float[np.ndarray, "E 2"]:
    """Points turned about the origin, counter-clockwise."""
    # contiguous, because NumPy's vectorised and strided sines may differ in the last bit
    angle = np.ascontiguousarray(angle)
    cos, sin, (x, y) = np.cos(angle), np.sin(angle), points.T
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)


def double_angle(yaw: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 2"]:
    """cos 2 yaw and sin 2 yaw, which know no difference between a yaw and its half turn."""
    doubled = np.ascontiguousarray(2 * yaw)
    return np.stack([np.cos(doubled), np.sin(doubled)], axis=-1)


def pose_error(offset: Float[np.ndarray, "*E 2"], turn: Float[np.ndarray, "*E"]) -> Float[np.ndarray, "*E"]:
    """max(distance in mm, yaw difference in degrees / 1.5, modulo 180 degrees)."""
    distance = np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2)
    return np.maximum(distance, np.degrees(np.abs(half_turn(turn))) / DEGREES_PER_MM)


@dataclass
class World:
    """Everything that changes or differs between environments."""

    gripper: Float[np.ndarray, "E 4"]
    """Pose of the point between the fingertips."""
    opening: Float[np.ndarray, " E"]
    """Distance between the fingers."""
    blocks: Float[np.ndarray, "E 3 4"]
    """Poses of the blocks' lower faces."""
    slot: Float[np.ndarray, "E 3"]
    """x, y, yaw."""
    held: Int[np.ndarray, " E"]
    """Which block is between the fingers, or -1."""
    grip: Float[np.ndarray, "E 4"]
    """Pose of the held block in the gripper's frame."""
    lifted: Bool[np.ndarray, " E"]
    """Whether the held block has been lifted since it was grasped."""
    grasp_error: Float[np.ndarray, " E"]
    """Of the last grasp of the task's block; inf before."""
    place_error: Float[np.ndarray, " E"]
    """Of the task's block at its placing; inf before."""
    done: Bool[np.ndarray, " E"]
    stamp: Int[np.ndarray, "E 2"]
    """Episode and step."""

    @classmethod
    def begin(cls, states: States, episodes: Sequence[int]) -> World:
        num = len(episodes)
        places = states["blocks"]
        return cls(
            gripper=states["gripper"].copy(),
            opening=np.full(num, OPEN),
            blocks=np.stack([places[..., 0], places[..., 1], np.zeros(places.shape[:2]), places[..., 2]], axis=-1),
            slot=states["slot"].copy(),
            held=np.full(num, -1),
            grip=np.zeros((num, 4)),
            lifted=np.zeros(num, bool),
            grasp_error=np.full(num, np.inf),
            place_error=np.full(num, np.inf),
            done=np.zeros(num, bool),
            stamp=np.stack([np.asarray(episodes, np.int64), np.zeros(num, np.int64)], axis=1),
        )

    def copy(self) -> World:
        return World(**self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name).copy() for field in fields(self)}


Draw = Callable[[np.ndarray, str], UInt8[np.ndarray, "N height width 3"]]


class TableSimulators(Simulators):
    """E tables on which the block named by `task` is to be put into the slot.

    An episode ends when the task's block has been lifted and is let go, wherever that is: a release far from the slot
    is a placing with a large error. A block that was grasped but not lifted may be let go and grasped again, and so may
    a wrong block at any height. A released block drops straight down.
    """

    def __init__(self, task: int, num: int, tolerance_mm: float, cameras: Sequence[str], draw: Draw) -> None:
        self.task, self.num, self.tolerance_mm, self.cameras, self._draw = task, num, tolerance_mm, cameras, draw
        self._rows = np.arange(num)

    def reset(self, states: States, episodes: Sequence[int]) -> None:
        if not len(states["gripper"]) == len(episodes) == self.num:
            raise ValueError(
                f"{self.num} tabletop environments need {self.num} initial states and episode numbers, "
                f"got {len(states['gripper'])} and {len(episodes)}"
            )
        self._world = World.begin(states, episodes)

    def step(self, actions: Float[np.ndarray, "E D"]) -> None:
        if actions.shape != (self.num, 7) or not np.isfinite(actions).all():
            raise ValueError(f"tabletop actions are {self.num} x 7 finite numbers, got {actions.shape} {actions!r}")
        world, live = self._world, ~self._world.done
        actions = np.clip(actions.astype(np.float64), -1, 1)
        self._move_gripper(actions * live[:, None])
        close = actions[:, 6] > 0
        before = world.opening
        width = np.where(close, before - FINGER_SPEED, before + FINGER_SPEED)
        width = np.clip(width, np.where(world.held >= 0, BLOCK_WIDTH, 0), OPEN)
        world.opening = np.where(live, width, before)
        touching = (before > BLOCK_WIDTH) & (world.opening <= BLOCK_WIDTH) & (world.gripper[:, 2] <= GRASP_HEIGHT)
        self._attach(np.flatnonzero(touching))
        self._carry(np.flatnonzero(world.held >= 0))
        self._release(np.flatnonzero((world.held >= 0) & ~close & live))
        world.stamp[:, 1] += live

    def _move_gripper(self, actions: Float[np.ndarray, "E 7"]) -> None:
        pose = self._world.gripper
        pose[:, :2] = np.clip(pose[:, :2] + STEP_MM * actions[:, :2], -REACH, REACH)
        # a held block cannot be pushed into the table; nothing held has a grip of 0
        pose[:, 2] = np.clip(pose[:, 2] + STEP_MM * actions[:, 2], -self._world.grip[:, 2], CEILING)
        pose[:, 3] += STEP_RAD * actions[:, 5]

    def _attach(self, rows: Int[np.ndarray, " n"]) -> None:
        world, gripper = self._world, self._world.gripper[rows]
        offset = world.blocks[rows] - gripper[:, None]
        errors = pose_error(offset[..., :2], offset[..., 3])
        nearest = np.argmin(errors, axis=1)
        chosen = np.arange(len(rows)), nearest
        found = errors[chosen] <= GRASP_ERROR
        rows, nearest, offset, error = rows[found], nearest[found], offset[chosen][found], errors[chosen][found]
        offset[:, :2] = rotate(offset[:, :2], -gripper[found, 3])
        world.held[rows], world.grip[rows], world.lifted[rows] = nearest, offset, False
        world.opening[rows] = BLOCK_WIDTH
        right = nearest == self.task
        world.grasp_error[rows[right]] = error[right]

    def _carry(self, rows: Int[np.ndarray, " n"]) -> None:
        world, gripper = self._world, self._world.gripper[rows]
        pose = gripper + world.grip[rows]
        pose[:, :2] = gripper[:, :2] + rotate(world.grip[rows, :2], gripper[:, 3])
        world.blocks[rows, world.held[rows]] = pose
        world.lifted[rows] |= pose[:, 2] >= LIFTED

    def _release(self, rows: Int[np.ndarray, " n"]) -> None:
        world = self._world
        world.blocks[rows, world.held[rows], 2] = 0
        placed = rows[(world.held[rows] == self.task) & world.lifted[rows]]
        offset = world.blocks[placed, self.task][:, [0, 1, 3]] - world.slot[placed]
        world.place_error[placed] = pose_error(offset[:, :2], offset[:, 2])
        world.done[placed] = True
        world.held[rows], world.grip[rows], world.lifted[rows] = -1, 0, False

    def observe(self, names: Sequence[str]) -> Observation:
        return {name: self._observe(name) for name in names}

    def _observe(self, name: str) -> np.ndarray:
        world = self._world
        if name in self.cameras:
            return self._draw(self.scene(), name)
        if name == "proprioception":
            gripper = world.gripper
            parts = [gripper[:, :3], double_angle(gripper[:, 3]), world.opening[:, None]]
            return np.concatenate(parts, axis=1).astype(np.float32)
        if name == "state":
            blocks = np.concatenate([world.blocks[..., :3], double_angle(world.blocks[..., 3])], axis=-1)
            parts = [blocks.reshape(self.num, -1), world.slot[:, :2], double_angle(world.slot[:, 2])]
            return np.concatenate(parts, axis=1).astype(np.float32)
        if name == "stamp":
            return world.stamp.copy()
        known = ", ".join([*self.cameras, "proprioception", "state", "stamp"])
        raise ValueError(f"tabletop observes {known}, not {name!r}")

    def privileged(self) -> Mapping[str, np.ndarray]:
        return self._world.arrays()

    def scene(self) -> Float[np.ndarray, "E scene"]:
        """gripper pose 4, finger opening 1, block poses 3 x 4, slot 3."""
        world = self._world
        parts = [world.gripper, world.opening[:, None], world.blocks.reshape(self.num, -1), world.slot]
        return np.concatenate(parts, axis=1)

    def done(self) -> Bool[np.ndarray, " E"]:
        return self._world.done.copy()

    def outcome(self) -> dict[str, np.ndarray]:
        """ "error_mm" is the larger of "grasp_error_mm" and "place_error_mm"; each is inf before it happened."""
        grasp, place = self._world.grasp_error.copy(), self._world.place_error.copy()
        error = np.maximum(grasp, place)
        success = error <= self.tolerance_mm
        return {"success": success, "error_mm": error, "grasp_error_mm": grasp, "place_error_mm": place}

    def save(self) -> World:
        return self._world.copy()

    def restore(self, snapshot: object) -> None:
        assert isinstance(snapshot, World)
        self._world = snapshot.copy()
