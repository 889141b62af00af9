"""How few bits an error can cost at most, by a denoiser: for chunks that are not Gaussian, less than the Gaussian's.

Whoever sends A through noise of some SNR and reads it with the denoiser needs I(A; A in noise) bits and is left with
its squared error (Theis et al. 2022, arXiv 2206.08889). By the integral of `denoising`, from the errors u of the
noise at each log-SNR: bits = 1 / (2 ln 2) times the integral of u up to there, distortion = u / SNR. A denoiser that is
not the best one makes both larger, so in expectation over held-out chunks the curve bounds R(D) from above in any case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from compression_gap.measures.clusters import DRAWS, LEVEL
from compression_gap.measures.rate_distortion import Curve, Spectrum, gaussian_rate


@dataclass(frozen=True)
class DiffusionCurve:
    """Points of the rate-distortion plane that can be reached, from coarse to fine."""

    distortion: Float[np.ndarray, " G"]
    """Expected squared error of a whole chunk, as it was given to the denoiser."""
    bits: Float[np.ndarray, " G"]
    """A chunk."""
    distortion_ends: Float[np.ndarray, "2 G"] | None
    """Lower and upper ends: 95 % for other demonstrations. None if there was only one."""
    bits_ends: Float[np.ndarray, "2 G"] | None

    def rate(self, distortion: Float[np.ndarray, " M"]) -> Curve:
        """Bits at other distortions: between two points, both codes in turn; infinite below the finest point."""
        order = np.argsort(self.distortion)
        errors, bits = self.distortion[order], np.minimum.accumulate(self.bits[order])
        return Curve(np.interp(distortion, errors, bits, left=math.inf), "bits", "upper bound")


def diffusion_curve(
    errors: Float[np.ndarray, "N G"], log_snr: Float[np.ndarray, " G"], demonstration: Int[np.ndarray, " N"]
) -> DiffusionCurve:
    """The curve from a denoiser's errors on chunks that it was not trained on (`denoising.own_errors`).

    With a denoiser that is told features it is the rate-distortion function for who knows them: what a policy has to
    make up. One demonstration gives it without ends.
    """
    _, cluster = np.unique(demonstration, return_inverse=True)
    count = int(cluster.max()) + 1
    if count < 2:
        return DiffusionCurve(*diffusion_points(errors, log_snr), None, None)
    sums = np.zeros((count, len(log_snr)))
    np.add.at(sums, cluster, errors)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    means = (drawn @ sums) / (drawn @ np.bincount(cluster))[:, None]
    ends = [
        np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        for values in (means * np.exp(-log_snr), _bits(means, log_snr))
    ]
    return DiffusionCurve(*diffusion_points(errors, log_snr), *ends)


def diffusion_points(
    errors: Float[np.ndarray, "N G"], log_snr: Float[np.ndarray, " G"]
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """Distortion and bits of the curve, without intervals."""
    mean = errors.mean(axis=0)
    return mean * np.exp(-log_snr), _bits(mean[None], log_snr)[0]


def least_rate(source: Spectrum, curve: DiffusionCurve, distortion: Float[np.ndarray, " M"]) -> Curve:
    """The smaller of the Gaussian's rate and the denoiser's: the tightest upper bound on R(D) that is known.

    Raises ValueError for a distortion that is not positive.
    """
    gaussian = gaussian_rate(source, distortion).values
    return Curve(np.minimum(gaussian, curve.rate(distortion).values), "bits", "upper bound")


def _bits(errors: Float[np.ndarray, "R G"], log_snr: Float[np.ndarray, " G"]) -> Float[np.ndarray, "R G"]:
    """Below the grid the error of the noise is proportional to the SNR, so what lies there is the one at its end."""
    steps = (errors[:, 1:] + errors[:, :-1]) / 2 * np.diff(log_snr)
    return (errors[:, :1] + np.pad(steps.cumsum(axis=1), ((0, 0), (1, 0)))) / (2 * math.log(2))
