"""How far off an encoder's estimate of the state is, in millimetres and degrees: its measured quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from compression_gap.suites.base import Legend

PLACE, TURN = (" x mm", " y mm"), (" cos 2 yaw", " sin 2 yaw")


@dataclass(frozen=True)
class PoseError:
    """Errors of N frames."""

    lateral_mm: Float[np.ndarray, " N"]
    """Distance on the table between the estimated and the true place."""
    yaw_degrees: Float[np.ndarray, " N"]
    """Absolute difference of yaws modulo half a turn, at most 90; nan where the state names no yaw."""


def pose_errors(
    estimate: Float[np.ndarray, "N S"], truth: Float[np.ndarray, "N S"], legend: Legend
) -> dict[str, PoseError]:
    """The errors of every object in the state, in the suite's units, by the object's name.

    An object is whatever the legend gives an "<object> x mm" and "<object> y mm"; its yaw stands under
    "<object> cos 2 yaw" and "<object> sin 2 yaw". Raises ValueError if the legend names no object.
    """
    column = {name: number for number, name in enumerate(legend.state)}
    objects = [name.removesuffix(PLACE[0]) for name in legend.state if name.endswith(PLACE[0])]
    objects = [name for name in objects if name + PLACE[1] in column]
    if not objects:
        raise ValueError(f"pose errors need state values named '<object>{PLACE[0]}', got {', '.join(legend.state)}")
    errors = {}
    for name in objects:
        places = [column[name + ending] for ending in PLACE]
        lateral = np.linalg.norm(estimate[:, places] - truth[:, places], axis=1)
        turn = np.full(len(lateral), np.nan)
        if all(name + ending in column for ending in TURN):
            cos, sin = (column[name + ending] for ending in TURN)
            difference = _yaw(estimate[:, cos], estimate[:, sin]) - _yaw(truth[:, cos], truth[:, sin])
            turn = np.abs((difference + 90) % 180 - 90)
        errors[name] = PoseError(lateral, turn)
    return errors


def task_error(
    errors: Mapping[str, PoseError], task: Int[np.ndarray, " N"], objects: Sequence[Sequence[str]]
) -> PoseError:
    """Each frame's mean error of the objects that its task is about: `objects` names them for each task id."""
    rows = np.arange(len(task))
    lateral = np.stack([np.mean([errors[name].lateral_mm for name in names], axis=0) for names in objects])
    turn = np.stack([np.mean([errors[name].yaw_degrees for name in names], axis=0) for names in objects])
    return PoseError(lateral[task, rows], turn[task, rows])


def _yaw(cos_double: Float[np.ndarray, " N"], sin_double: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Yaw in degrees, from -90 to 90."""
    return np.degrees(np.arctan2(sin_double, cos_double)) / 2
