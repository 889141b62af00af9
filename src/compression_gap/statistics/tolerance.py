"""How much distortion a task tolerates: success falls as distortion grows, and where it has fallen by a few points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer

from compression_gap.statistics.intervals import LEVEL
from compression_gap.statistics.outcomes import numbered

LOST = 5.0
"""Points below the reference at which the tolerance is read."""
DRAWS = 2000
FEWEST = 8
"""Initial states below which drawing them again says too little about others."""
ROUNDING = 1e-9
MISSED = {
    "between": "",
    "below": "success has lost {:g} points before the smallest distortion",
    "beyond": "success has not lost {:g} points at the largest distortion",
}


@dataclass(frozen=True, eq=False)
class Falling:
    """Success that never rises with distortion, fitted to what was measured. The first point is the reference."""

    distortion: Float[np.ndarray, " points"]
    """From 0 on, ascending."""
    measured: Float[np.ndarray, " points"]
    """Success in points."""
    fitted: Float[np.ndarray, " points"]
    """Least squares among all that never rise."""
    low: Float[np.ndarray, " points"] | None
    """95 % of the fit, for other initial states; None where there are too few."""
    high: Float[np.ndarray, " points"] | None


@dataclass(frozen=True)
class Tolerance:
    """The largest distortion at which the fit has lost no more than `lost` points, or the reason why there is none."""

    value: float | None
    """None where it lies outside the levels; `where` and `note` say so."""
    where: Literal["between", "below", "beyond"]
    """Between the levels, or below the smallest, or beyond the largest."""
    low: float | None
    """95 % for other initial states, 0 if that is below the smallest level; None with `high` None too: no interval."""
    high: float | None
    """None with a `low`: beyond the largest level."""
    lost: float
    threshold: float
    """Success in points at which it is read: the reference's, less `lost`."""
    note: str = ""


def tolerance(
    distortion: Float[np.ndarray, " levels"],
    success: Bool[np.ndarray, "levels episodes"],
    reference: Bool[np.ndarray, " episodes"],
    strata: Integer[np.ndarray, " episodes"],
    *,
    lost: float = LOST,
    draws: int = DRAWS,
) -> tuple[Tolerance, Falling]:
    """From one boolean per level and episode; column i is the same initial state everywhere, of the task `strata[i]`.

    The reference is what happens without distortion. The fit is isotonic; between its points success falls in a
    straight line over the logarithm of the distortion. The interval is a percentile bootstrap over initial states
    within their tasks, in which the reference is drawn along with the levels.

    Raises ValueError without a level, if a distortion is not positive and finite, or if the reference has no `lost`
    points to lose.
    """
    if not len(distortion) or not (np.isfinite(distortion) & (distortion > 0)).all():
        raise ValueError(f"a tolerance needs levels of positive, finite distortion, got {distortion.tolist()}")
    order = np.argsort(distortion, kind="stable")
    at = np.concatenate([[0.0], distortion[order]])
    outcomes = np.concatenate([reference[None], success[order]]).astype(np.float64)  # [points, episodes]
    measured = 100 * outcomes.mean(axis=1)
    threshold = float(measured[0]) - lost
    if threshold <= 0:
        raise ValueError(
            f"the reference succeeds in {measured[0]:.1f} %, so it cannot lose {lost:g} points: there is no tolerance"
        )
    fitted = falling(measured)
    value = float(crossing(at, fitted, np.array(threshold)))
    where: Literal["between", "below", "beyond"] = "below" if value == 0 else "beyond" if value == np.inf else "between"
    found = value if where == "between" else None
    missed = MISSED[where].format(lost)
    count = outcomes.shape[1]
    if count < FEWEST:
        few = f"no interval: {count} initial states, at least {FEWEST} are needed"
        note = "; ".join(filter(None, [missed, few]))
        return Tolerance(found, where, None, None, lost, threshold, note), Falling(at, measured, fitted, None, None)
    again = 100 * _drawn_again(strata, draws) @ outcomes.T / count  # [draws, points]
    fits = falling(again)
    crossings = crossing(at, fits, again[:, 0] - lost)
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low = float(np.quantile(crossings, ends[0], method="inverted_cdf"))
    high = float(np.quantile(np.maximum(crossings, at[1]), ends[1], method="inverted_cdf"))
    interval = (None if low == np.inf else low, None if high == np.inf else high)
    below, above = np.quantile(fits, ends, axis=0)
    return Tolerance(found, where, *interval, lost, threshold, missed), Falling(at, measured, fitted, below, above)


def falling(success: Float[np.ndarray, "*rows points"]) -> Float[np.ndarray, "*rows points"]:
    """The closest values, by least squares, that never rise from one to the next: isotonic regression, row by row.

    Point i is the smallest, over where a run begins at or before it, of the largest mean of a run that ends at or after
    it (Robertson, Wright and Dykstra 1988, theorem 1.4.4).
    """
    points = success.shape[-1]
    sums = np.concatenate([np.zeros_like(success[..., :1]), success.cumsum(axis=-1)], axis=-1)
    first, last = np.arange(points)[:, None], np.arange(points)
    length = np.maximum(last - first + 1, 1)
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / length  # [..., first, last]
    means = np.where(last >= first, means, -np.inf)
    largest = np.flip(np.maximum.accumulate(np.flip(means, -1), -1), -1)  # of runs that end at `last` or later
    return np.diagonal(np.minimum.accumulate(largest, axis=-2), axis1=-2, axis2=-1).copy()


def crossing(
    distortion: Float[np.ndarray, " points"],
    fitted: Float[np.ndarray, "*rows points"],
    threshold: Float[np.ndarray, "*rows"],
) -> Float[np.ndarray, "*rows"]:
    """The largest distortion at which a falling curve is not below its threshold: 0 if that is before the first level,
    inf if it is nowhere below."""
    last = (fitted >= threshold[..., None] - ROUNDING).sum(axis=-1) - 1
    beyond = last + 1 == len(distortion)
    after = np.minimum(last + 1, len(distortion) - 1)
    high, low = (np.take_along_axis(fitted, n[..., None], axis=-1)[..., 0] for n in (last, after))
    share = (high - threshold) / np.where(beyond, 1.0, high - low)
    here, there = distortion[np.maximum(last, 1)], distortion[after]
    between = here * (there / here) ** share
    return np.where(beyond, np.inf, np.where(last == 0, 0.0, between))


def _drawn_again(strata: Integer[np.ndarray, " episodes"], draws: int) -> Float[np.ndarray, "draws episodes"]:
    """How often each initial state is drawn, as many of each task as there are; always the same draws."""
    rng = np.random.default_rng(0)
    counts = np.zeros((draws, len(strata)))
    member = numbered(strata)
    for stratum in np.unique(member):
        members = np.flatnonzero(member == stratum)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), draws)
    return counts
