"""How few bits an error can cost: the Gaussian's rate-distortion function, and Shannon's lower bound.

Distortion is the expected squared error of a whole vector, summed over its n values; rates are in bits a vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from compression_gap.measures.quantity import Kind

SINGULAR = 1e-9  # a variance this small beside the largest is rounding noise


@dataclass(frozen=True)
class Spectrum:
    """Variances of vectors along the directions in which they are uncorrelated."""

    variances: Float[np.ndarray, " k"]
    """Largest first. Directions in which nothing varies are left out: they cost no bits and have no error."""
    constant: tuple[int, ...]
    """Values that never vary, by their number in the vector."""
    singular: int
    """How many directions are left out, the constant values among them."""

    @property
    def total(self) -> float:
        """The distortion at no bits: the sum of all variances."""
        return float(self.variances.sum())


@dataclass(frozen=True)
class Curve:
    """Numbers along a rate-distortion plane that say what they are."""

    values: Float[np.ndarray, " M"]
    unit: Literal["bits", "squared error"]
    kind: Kind
    """Of the rate or distortion that the best possible code needs, whatever code that is."""


@dataclass(frozen=True)
class Excess:
    """How far a code lies from a bound."""

    bits: float
    """Rate of the code minus that of the bound at the code's distortion."""
    decibels: float
    """Distortion of the code over that of the bound at the code's rate: 10 log10."""


def spectrum(covariance: Float[np.ndarray, "n n"]) -> Spectrum:
    """The spectrum of a covariance.

    Raises ValueError if the covariance holds numbers that are not finite.
    """
    if not np.isfinite(covariance).all():
        raise ValueError("the covariance holds NaN or infinite numbers; run the data through a check first")
    return _spectrum(np.linalg.eigvalsh(covariance), np.diag(covariance))


def held_out_spectrum(learnt: Float[np.ndarray, "N n"], held: Float[np.ndarray, "M n"]) -> Spectrum:
    """Variances of held-out vectors about the mean of others, along the directions in which these are uncorrelated.

    To code each direction alone, as a Gaussian of the variance found there, is one way to code the source, so the rates
    of this spectrum bound R(D) from above in expectation, up to 1 / (2 M ln 2) bits a direction, however few vectors
    there were to learn from. The covariance of few vectors calls directions constant that are not, and its rates are
    far too small. Raises ValueError as `spectrum` does, and without vectors.
    """
    if not len(learnt) or not len(held):
        raise ValueError(f"a spectrum needs vectors to learn from and to measure, got {len(learnt)} and {len(held)}")
    mean = learnt.mean(axis=0)
    centred, away = learnt - mean, held - mean
    if not (np.isfinite(centred).all() and np.isfinite(away).all()):
        raise ValueError("vectors hold NaN or infinite numbers; run the data through a check first")
    directions = np.linalg.eigh(centred.T @ centred / len(learnt))[1]
    spread = np.maximum((centred**2).mean(axis=0), (away**2).mean(axis=0))
    return _spectrum(np.sort(((away @ directions) ** 2).mean(axis=0)), spread)


def _spectrum(variances: Float[np.ndarray, " n"], spread: Float[np.ndarray, " n"]) -> Spectrum:
    """From the variances along directions, smallest first, and those of the single values."""
    kept = variances[::-1][variances[::-1] > SINGULAR * max(variances[-1], 0.0)]
    constant = tuple(int(n) for n in np.flatnonzero(spread <= SINGULAR * max(spread.max(), 0.0)))
    return Spectrum(kept, constant, len(variances) - len(kept))


def gaussian_rate(source: Spectrum, distortion: Float[np.ndarray, " M"]) -> Curve:
    """R_G(D): bits that a Gaussian needs for each distortion, by reverse water-filling (Cover & Thomas 2006, 10.3.3).

    Among all sources with a covariance the Gaussian needs most, so this bounds the rate-distortion function of every
    such source from above. Raises ValueError for a distortion that is not positive.
    """
    if not (distortion > 0).all():
        raise ValueError(f"a rate is finite only for distortions above 0, got {distortion.min()}")
    count, tail, logs = _pieces(source)
    full = count * source.variances + tail  # the distortion at which a direction begins to cost bits; falls
    active = (distortion[:, None] <= full).sum(axis=1)
    last = np.maximum(active, 1) - 1
    level = (distortion - tail[last]) / count[last]
    rate = 0.5 * (logs[last] - count[last] * np.log2(level))
    return Curve(np.where(active > 0, np.maximum(rate, 0.0), 0.0), "bits", "upper bound")


def gaussian_distortion(source: Spectrum, rate: Float[np.ndarray, " M"]) -> Curve:
    """D_G(R): the distortion that a Gaussian leaves at each rate; bounds that of every source with its covariance.

    The inverse of `gaussian_rate`. Raises ValueError for a negative rate.
    """
    if not (rate >= 0).all():
        raise ValueError(f"a rate is at least 0 bits, got {rate.min()}")
    count, tail, logs = _pieces(source)
    begins = 0.5 * (logs - count * np.log2(source.variances))  # the rate at which a direction begins to get bits; rises
    last = (begins <= rate[:, None]).sum(axis=1).clip(1) - 1
    level = 2 ** ((logs[last] - 2 * rate) / count[last])
    return Curve(count[last] * level + tail[last], "squared error", "upper bound")


def shannon_rate(entropy_bits: float, dimensions: int, distortion: Float[np.ndarray, " M"], *, exact: bool) -> Curve:
    """Shannon's lower bound: h - n/2 log2(2 pi e D / n), and never below 0 (Cover & Thomas 2006, problem 10.8).

    `entropy_bits` is the differential entropy h of the n = `dimensions` values that vary; it is minus infinity where
    some are constant or follow from others, so leave those out (`Spectrum.singular`). A model's cross-entropy is more
    than h, which makes the curve an estimate: say `exact=False`.
    Raises ValueError for a distortion that is not positive, and if the entropy is not finite.
    """
    if not math.isfinite(entropy_bits):
        raise ValueError(
            f"Shannon's bound needs a finite differential entropy, got {entropy_bits}: drop what is constant"
        )
    if not (distortion > 0).all():
        raise ValueError(f"a rate is finite only for distortions above 0, got {distortion.min()}")
    rate = entropy_bits - dimensions / 2 * np.log2(2 * math.pi * math.e * distortion / dimensions)
    return Curve(np.maximum(rate, 0.0), "bits", "lower bound" if exact else "estimate")


def excess(source: Spectrum, bits: float, distortion: float) -> Excess:
    """How far a code of that rate and distortion lies above the Gaussian's curve.

    Negative numbers are possible: where a source is not Gaussian, a good code beats the curve.
    """
    least = float(gaussian_rate(source, np.array([distortion])).values[0])
    reachable = float(gaussian_distortion(source, np.array([bits])).values[0])
    return Excess(bits - least, 10 * math.log10(distortion / reachable))


def _pieces(
    source: Spectrum,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """For the first 1, 2, ... directions: how many, the variance of all others, and the sum of log2 variances.

    Raises ValueError if nothing varies.
    """
    if not len(source.variances):
        raise ValueError("nothing varies, so there is no rate to speak of")
    count = np.arange(1.0, len(source.variances) + 1)
    tail = np.append(np.cumsum(source.variances[::-1])[-2::-1], 0.0)
    return count, tail, np.cumsum(np.log2(source.variances))
