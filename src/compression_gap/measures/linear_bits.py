"""Bits of actions, and bits about them, if everything were normal: seconds of work, and bounds that hold anyway.

Chunks are looked at through noise of a stated size sigma, because exact actions hold endlessly many bits. A normal
distribution fitted to other demonstrations writes the noisy chunk; its length, less that of the noise alone, is in
expectation at least I(A; A + sigma noise), whatever the actions are like (Cover & Thomas 2006, theorem 5.4.3). So it
bounds the bits of actions from above, and around a prediction those that the prediction leaves open. The difference
between two such lengths is what the prediction tells: an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.measures.quantity import BITS, DEMONSTRATIONS, IGNORED, Quantity, mean_over_demonstrations
from compression_gap.measures.ridge import fit_ridge

SPREAD = 1e-6  # an input that varies less is a constant


def readout(
    inputs: Float[Tensor, "N F"], chunk: Float[Tensor, "N A"], rows: Int[np.ndarray, " n"], demonstration: Tensor
) -> Float[Tensor, "N A"]:
    """Chunks read linearly by a ridge regression fitted on some rows; on these by fits to other demonstrations."""
    spread, mean = torch.std_mean(inputs[rows].double(), dim=0, correction=0)
    scaled = (inputs - mean.float()) / spread.float().clamp(min=SPREAD)
    scaled[:, spread <= SPREAD] = 0.0
    found = fit_ridge(scaled[rows], chunk[rows], demonstration[rows])
    read = found(scaled)
    read[rows] = found.unseen
    return read


def blurred_lengths(
    seen: Float[np.ndarray, "n A"], new: Float[np.ndarray, "m A"], sigma: float
) -> Float[np.ndarray, " m"]:
    """Bits in which a normal distribution with the covariance of the errors `seen` writes each of the errors `new`
    through noise of size sigma, on average over that noise and less the bits of the noise alone."""
    values, vectors = np.linalg.eigh(seen.T @ seen / len(seen))
    spread = np.maximum(values, 0.0) + sigma**2
    squared = (new @ vectors) ** 2 + sigma**2
    fit = (squared / spread - 1.0).sum(axis=1) / math.log(2)
    return 0.5 * (np.log2(spread / sigma**2).sum() + fit)


@dataclass(frozen=True)
class RowsByPart:
    """Numbers of the chunks of each part."""

    train: Int[np.ndarray, " n"]
    validation: Int[np.ndarray, " v"]
    test: Int[np.ndarray, " m"]


@dataclass(frozen=True)
class LinearBits:
    """Lengths of M test chunks, alone and around a readout."""

    alone: Float[np.ndarray, " M"]
    given: Float[np.ndarray, " M"]
    demonstration: Int[np.ndarray, " M"]
    error: Float[np.ndarray, " M"]
    """Squared error of the readout, summed over a chunk."""

    @property
    def held(self) -> Quantity:
        """Bits of a chunk at the resolution."""
        return self._mean(self.alone, "upper bound")

    @property
    def left(self) -> Quantity:
        """Bits of a chunk that the readout leaves open."""
        return self._mean(self.given, "upper bound")

    @property
    def told(self) -> Quantity:
        """Bits that the readout tells about a chunk."""
        return self._mean(self.alone - self.given, "estimate")

    def beyond(self, other: LinearBits) -> Quantity:
        """Bits more than another readout tells, chunk by chunk; no number if it is that readout, because what else
        could have been read was ignored."""
        if np.array_equal(other.given, self.given):
            return Quantity(None, "estimate", BITS, DEMONSTRATIONS, note=IGNORED)
        return self._mean(other.given - self.given, "estimate")

    def _mean(self, values: Float[np.ndarray, " M"], kind: str) -> Quantity:
        return mean_over_demonstrations(values[None], self.demonstration, kind=kind)  # type: ignore[arg-type]


def linear_bits(
    chunk: Float[np.ndarray, "N A"],
    reads: Sequence[Float[np.ndarray, "N A"]],
    rows: RowsByPart,
    demonstration: Int[np.ndarray, " N"],
    sigma: float,
) -> LinearBits:
    """Lengths of the test chunks by distributions of the training chunks.

    Of several readouts validation demonstrations choose one: who is told something may also ignore it.
    """
    around = [chunk - read for read in (np.broadcast_to(chunk[rows.train].mean(axis=0), chunk.shape), *reads)]
    lengths = [blurred_lengths(one[rows.train], one[rows.validation], sigma).mean() for one in around]
    best = around[int(np.argmin(lengths))]
    return LinearBits(
        blurred_lengths(around[0][rows.train], around[0][rows.test], sigma),
        blurred_lengths(best[rows.train], best[rows.test], sigma),
        demonstration[rows.test],
        (best[rows.test] ** 2).sum(axis=1),
    )
