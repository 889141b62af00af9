"""Noise on action chunks whose size and shape are known: what a policy's or a code's errors are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from compression_gap.measures.distortion import arm_of, distortion
from compression_gap.scaling import ActionScaling
from compression_gap.suites.base import Legend


@dataclass(frozen=True)
class ChunkScale:
    """How large the arm's actions of the training chunks are, where each value's range is scaled to [-1, 1]."""

    half_range: Float[np.ndarray, " A"]
    """Of each of the arm's A action values; 0 for one that never changes, which gets no noise and counts no error."""
    variance: float
    """Of the scaled values, added up over a chunk and the arm."""

    @classmethod
    def of(cls, chunks: Float[np.ndarray, "N T D"], legend: Legend) -> ChunkScale:
        """From training chunks. Raises ValueError if no action of the arm ever changes."""
        scaling = ActionScaling(chunks.shape[-1])
        scaling.fit(torch.from_numpy(chunks))
        half_range = scaling.half_range.double().numpy()[arm_of(legend)]
        if not half_range.any():
            raise ValueError("no action of the arm ever changes in the training chunks: there is nothing to distort")
        spread = chunks[..., arm_of(legend)].astype(np.float64).var(axis=0)  # [T, A]
        moving = half_range > 0
        return cls(half_range, float((spread[:, moving] / half_range[moving] ** 2).sum()))

    def squared_error(
        self, chunk: Float[np.ndarray, "N T D"], decoded: Float[np.ndarray, "N T D"], legend: Legend
    ) -> float:
        """Of the scaled actions of the arm, added up over a chunk; the mean of the chunks."""
        return float((self.scaled(decoded - chunk, legend) ** 2).sum(axis=1).mean())

    def scaled(self, chunk: Float[np.ndarray, "N T D"], legend: Legend) -> Float[np.ndarray, "N n"]:
        """The arm's values that change, as vectors: in units of their half range, not centred."""
        moving = self.half_range > 0
        return (chunk[..., arm_of(legend)][..., moving] / self.half_range[moving]).reshape(len(chunk), -1)


def white(scale: ChunkScale, horizon: int) -> Float[np.ndarray, "n n"]:
    """Covariance of the n = T x A arm actions of a chunk, in the suite's units: equal and independent where scaled.

    Its squared error is that of the chunks' variance.
    """
    moving = np.tile(scale.half_range > 0, horizon)
    each = scale.variance / moving.sum()
    return np.diag(each * np.tile(scale.half_range, horizon) ** 2)


def coloured(error: Float[np.ndarray, "N T D"], scale: ChunkScale, legend: Legend) -> Float[np.ndarray, "n n"]:
    """Covariance like that of a code's errors, in the suite's units, as large as the chunks' variance.

    Raises ValueError if the code makes no errors of the arm.
    """
    horizon = error.shape[1]
    moving = np.tile(scale.half_range > 0, horizon)
    arm = error[..., arm_of(legend)].reshape(len(error), -1).astype(np.float64) * moving
    covariance = np.cov(arm, rowvar=False, ddof=0).reshape(arm.shape[1], arm.shape[1])
    size = (np.diag(covariance)[moving] / np.tile(scale.half_range, horizon)[moving] ** 2).sum()
    if not size > 0:
        raise ValueError("the code makes no errors of the arm, so there is no noise like them")
    return covariance * (scale.variance / size)


def root(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """The symmetric square root: standard normals times it have the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def with_noise(
    chunk: Float[np.ndarray, "B T D"],
    normal: Float[np.ndarray, "B n"],
    factor: Float[np.ndarray, "n n"],
    share: float,
    legend: Legend,
) -> Float[np.ndarray, "B T D"]:
    """Chunks with noise on the arm; `factor` is a `root`, and the squared error is `share` of the chunks' variance.

    Grippers are left as they are: their commands are not continuous.
    """
    arm = arm_of(legend)
    noisy = np.array(chunk, dtype=np.float64)
    noisy[..., arm] += np.sqrt(share) * (normal @ factor).reshape(len(chunk), -1, len(arm))
    return noisy


def executed_distortion(
    chunk: Float[np.ndarray, "N T D"], decoded: Float[np.ndarray, "N T D"], scale: ChunkScale, legend: Legend
) -> dict[str, Any]:
    """How far off the arm is, as simulators execute it: clipped to the limits of its actions.

    `mm`, `degrees` and `gripper` as in `distortion`; `squared_error` of scaled actions; its `share` of the variance.
    """
    limits = np.array(legend.action_low), np.array(legend.action_high)
    chunk, decoded = np.clip(chunk, *limits), np.clip(decoded, *limits)
    told = distortion(chunk, decoded, legend)
    squared = scale.squared_error(chunk, decoded, legend)
    moved = {name: told[name] for name in ("mm", "degrees", "gripper")}
    return {**moved, "squared_error": squared, "share": squared / scale.variance}
