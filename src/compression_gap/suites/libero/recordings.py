"""LIBERO's recorded demonstrations in this package's conventions, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from compression_gap.suites.libero.suite import state_of
from compression_gap.suites.libero.world import Snapshot, World

FAR_APART = 0.02  # metres between where a file says that the hand is and where its states put it: another robot's file


@dataclass(frozen=True)
class Frames:
    """One demonstration: what is observed before each action."""

    proprioception: Float[np.ndarray, "T 9"]
    state: Float[np.ndarray, "T S"]
    scene: Float[np.ndarray, "T scene"]
    began: Float[np.ndarray, " numbers"]
    """The state before the first of these actions (`World.flat_state`)."""
    lag: int
    """1 where the file observed after the action of the same row, as LIBERO's script does, so that its first action is
    left away here; 0 where before."""


def frames_of(
    world: World,
    things: tuple[str, ...],
    states: Float[np.ndarray, "T numbers"],
    robot_states: Float[np.ndarray, "T 9"],
    bodies: Mapping[str, Float[np.ndarray, " 7"]],
) -> Frames:
    """Reads off the simulator what the states mean, and so whether the file observed before or after acting.

    Raises ValueError if the states do not belong to the task, or the hand is not where they put it.
    """
    scenes = np.stack([world.recorded_scene(state, bodies) for state in states])
    hands, truths = [], []
    for scene in scenes:
        world.load_scene(scene)
        hands.append(world.proprioception()[:3])
        truths.append(state_of(world.privileged(), things))
    fingers, position, quaternion = np.split(robot_states, [2, 5], axis=1)
    off = [float(np.median(np.linalg.norm(position[: len(hands) - n] - hands[n:], axis=1))) for n in (0, 1)]
    lag = int(np.argmin(off))
    if off[lag] > FAR_APART:
        raise ValueError(
            f"robot_states has the hand {1000 * off[lag]:.0f} mm from where states puts it; are they of one robot?"
        )
    upward = np.where(quaternion[:, :1] >= 0, quaternion, -quaternion)  # as `World.proprioception` has it
    observed = np.concatenate([position, upward, fingers], axis=1)
    return Frames(
        proprioception=observed[: len(observed) - lag].astype(np.float32),
        state=np.stack(truths[lag:]).astype(np.float32),
        scene=scenes[lag:],
        began=states[lag],
        lag=lag,
    )


@dataclass(frozen=True)
class Replayed:
    """A demonstration that was simulated again, row by row as LIBERO's files have it."""

    actions: Float[np.ndarray, "T 7"]
    states: Float[np.ndarray, "T numbers"]
    """Before the action of the row."""
    robot_states: Float[np.ndarray, "T 9"]
    """After it: fingers, position, quaternion x y z w."""
    joint_states: Float[np.ndarray, "T 7"]
    pictures: dict[str, np.ndarray]
    """UInt8 [T, size, size, 3] by camera, upright, after it."""
    model_file: str
    """The model's XML, with the fixtures where they were."""
    success: bool


def replay(
    world: World,
    start: Snapshot,
    actions: Float[np.ndarray, "T 7"],
    cameras: tuple[str, ...],
    report: Callable[[float], None],
) -> Replayed:
    """Executes the actions from an initial state and keeps what a file is made of."""
    actions = np.asarray(actions, dtype=np.float32).astype(np.float64)  # as they were executed
    world.load(start)
    xml, snapshot = world.xml(), start
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("states", "robot_states", "joint_states", *cameras)}
    for step, action in enumerate(actions):
        world.load(snapshot)
        rows["states"].append(world.flat_state())
        snapshot = world.step(snapshot, action)
        position, quaternion, fingers = np.split(world.proprioception(), [3, 7])
        rows["robot_states"].append(np.concatenate([fingers, position, quaternion]))
        rows["joint_states"].append(world.joints())
        for camera in cameras:
            rows[camera].append(world.picture(camera))
        report((step + 1) / len(actions))
    stacked = {name: np.stack(values) for name, values in rows.items()}
    pictures = {camera: stacked.pop(camera) for camera in cameras}
    return Replayed(actions, **stacked, pictures=pictures, model_file=xml, success=world.success())
