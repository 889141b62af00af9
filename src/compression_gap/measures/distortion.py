"""What a code does to actions, in the units of the task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from compression_gap.suites.base import Legend

POSITION, ROTATION = ("x", "y", "z"), ("roll", "pitch", "yaw")


def distortion(
    chunk: Float[np.ndarray, "N T D"], decoded: Float[np.ndarray, "N T D"], legend: Legend
) -> dict[str, float | None]:
    """Reconstruction error of held-out chunks. Delta actions are integrated over the chunk: their sum moves the arm.

    `mm` and `degrees`: root mean square over chunks and steps of the length of the integrated position and rotation
    error, None where no action is named after such an axis; `gripper`: share of gripper commands that changed; `nmse`:
    mean squared error over the actions' variance, arm dimensions pooled.
    """
    gripper, arm = list(legend.gripper), arm_of(legend)
    mm, degrees = (squared_drift(chunk, decoded, legend, axes) for axes in (POSITION, ROTATION))
    variance = chunk[..., arm].var(axis=(0, 1)).sum()
    return {
        "mm": None if mm is None else float(np.sqrt(mm.mean())),
        "degrees": None if degrees is None else float(np.sqrt(degrees.mean())),
        "gripper": float(switched(chunk, decoded, gripper).mean()) if gripper else 0.0,
        "nmse": float(((decoded - chunk)[..., arm] ** 2).mean(axis=(0, 1)).sum() / max(variance, 1e-12)),
    }


def tails(
    chunk: Float[np.ndarray, "N T D"], decoded: Float[np.ndarray, "N T D"], legend: Legend
) -> dict[str, float | None]:
    """How bad it gets: the largest integrated error of each chunk, at whichever step.

    `mm_99` and `degrees_99`: what 99 % of the chunks stay below; `mm_worst` and `degrees_worst`: of all chunks. None
    where no action is named after such an axis.
    """
    found: dict[str, float | None] = {}
    for unit, axes in (("mm", POSITION), ("degrees", ROTATION)):
        squared = squared_drift(chunk, decoded, legend, axes)
        largest = None if squared is None else np.sqrt(squared.max(axis=1))
        found[f"{unit}_99"] = None if largest is None else float(np.quantile(largest, 0.99))
        found[f"{unit}_worst"] = None if largest is None else float(largest.max())
    return found


def switched(
    chunk: Float[np.ndarray, "N T D"], decoded: Float[np.ndarray, "N T D"], gripper: Sequence[int]
) -> Bool[np.ndarray, "N T G"]:
    """Whether a command, of the values that the chunks have there, is not the nearest to what came out."""
    wrong = np.zeros((*chunk.shape[:2], len(gripper)), dtype=bool)
    for number, d in enumerate(gripper):
        values = np.unique(chunk[..., d])
        middle = (values[1:] + values[:-1]) / 2
        wrong[..., number] = np.searchsorted(middle, decoded[..., d]) != np.searchsorted(middle, chunk[..., d])
    return wrong


def arm_of(legend: Legend) -> list[int]:
    """The action values that are no gripper's."""
    return [d for d in range(len(legend.action)) if d not in legend.gripper]


def squared_drift(
    chunk: Float[np.ndarray, "N T D"], decoded: Float[np.ndarray, "N T D"], legend: Legend, axes: Sequence[str]
) -> Float[np.ndarray, "N T"] | None:
    """Squared length of the integrated error after every action, in mm^2 or degrees^2; None without such an axis."""
    number = {name.split()[0]: d for d, name in enumerate(legend.action)}
    chosen = [number[name] for name in axes if name in number]
    if not chosen:
        return None
    error = np.cumsum((decoded - chunk) * np.asarray(legend.action_scale), axis=1)
    return (error[..., chosen] ** 2).sum(axis=-1)
