"""What a code does to actions, in the units of the task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from compression_gap.suites.base import Legend


def distortion(
    chunk: Float[np.ndarray, "N T D"], decoded: Float[np.ndarray, "N T D"], legend: Legend
) -> dict[str, float | None]:
    """Reconstruction error of held-out chunks. Delta actions are integrated over the chunk: their sum moves the arm.

    `mm` and `degrees`: root mean square over chunks and steps of the length of the integrated position and rotation
    error, None where no action is named after such an axis; `gripper`: share of steps whose open/close command changed;
    `nmse`: mean squared error over the actions' variance, arm dimensions pooled.
    """
    axes = {name.split()[0]: d for d, name in enumerate(legend.action)}
    scale = np.asarray(legend.action_scale)
    error = np.cumsum((decoded - chunk) * scale, axis=1)
    gripper = list(legend.gripper)
    arm = [d for d in range(chunk.shape[-1]) if d not in gripper]
    variance = chunk[..., arm].var(axis=(0, 1)).sum()
    return {
        "mm": _length(error, [axes[n] for n in ("x", "y", "z") if n in axes]),
        "degrees": _length(error, [axes[n] for n in ("roll", "pitch", "yaw") if n in axes]),
        "gripper": float(np.mean(np.sign(decoded[..., gripper]) != np.sign(chunk[..., gripper]))) if gripper else 0.0,
        "nmse": float(((decoded - chunk)[..., arm] ** 2).mean(axis=(0, 1)).sum() / max(variance, 1e-12)),
    }


def _length(error: Float[np.ndarray, "N T D"], axes: Sequence[int]) -> float | None:
    return float(np.sqrt((error[..., list(axes)] ** 2).sum(axis=-1).mean())) if axes else None
