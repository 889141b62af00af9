"""How success follows the quality of encoders, for whom more, and how what an encoder buys follows a code's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from compression_gap.statistics.intervals import LEVEL, Estimate, contrast
from compression_gap.statistics.outcomes import Outcomes, Unit

UNITS: tuple[Unit, Unit] = ("points", "log-odds")
FEWEST = 3
"""Rungs without which a line is no trend."""


@dataclass(frozen=True)
class Trend:
    """The least-squares line of success on quality, fitted to the seed means of one method."""

    points: Estimate
    """Slope in points of success a unit of quality."""
    log_odds: Estimate
    """Slope in log-odds a unit of quality."""
    rank_p: float | None
    """One-sided p-value of Page's (1963) L: seeds as blocks, encoders in the order of their measured quality, against
    success not rising with it. None with a single seed, where a cell lacks seeds that others have, and where two
    encoders have one quality, so that there is no order."""


def trend(cells: Sequence[Outcomes], quality: Sequence[float], *, level: float = LEVEL) -> Trend:
    """Of one method over encoders: `cells` and `quality` by encoder, in any order.

    The slope is a contrast of the cells with weights (q - mean q) / sum (q - mean q)^2, so its interval is Welch's
    over training seeds. Raises ValueError with fewer than three encoders, or if all have one quality.
    """
    weights = slope_weights(quality)
    order = np.argsort(np.asarray(quality), kind="stable")
    successes = [cells[rung].seed_values("points") for rung in order]
    counts, rank_p = {len(one) for one in successes}, None
    if len(counts) == 1 and max(counts) > 1 and len(set(quality)) == len(quality):
        blocks = np.stack(successes, axis=1)  # [seeds, rungs]
        rank_p = float(stats.page_trend_test(blocks, method="asymptotic").pvalue)
    return Trend(_slope(cells, weights, "points", level), _slope(cells, weights, "log-odds", level), rank_p)


def trend_gap(
    continuous: Sequence[Outcomes],
    discrete: Sequence[Outcomes],
    quality: Sequence[float],
    *,
    unit: Unit = "points",
    level: float = LEVEL,
) -> Estimate:
    """How much steeper success rises with quality for the continuous method: its slope minus the discrete one's."""
    weights = slope_weights(quality)
    return contrast([*continuous, *discrete], [*weights, *-weights], unit=unit, level=level)


@dataclass(frozen=True)
class GainTrend:
    """The least-squares line of the encoder gain on the size of a code, fitted to the seed means."""

    points: Estimate
    """Slope in points of gain a unit of size."""
    log_odds: Estimate
    """Slope in log-odds of gain a unit of size."""


def gain_trend(
    weak: Sequence[Outcomes], strong: Sequence[Outcomes], size: Sequence[float], *, level: float = LEVEL
) -> GainTrend:
    """How much more the better encoder buys a larger code: `weak`, `strong` and `size` by code, in any order.

    The gains are strong minus weak, so their slope is the strong cells' minus the weak cells', and its interval Welch's
    over training seeds. `size` is taken as exact: an error in it tends to flatten the slope and is not in the interval.
    Raises ValueError with fewer than three codes, or if all have one size.
    """
    points, log_odds = (trend_gap(strong, weak, size, unit=unit, level=level) for unit in UNITS)
    return GainTrend(points, log_odds)


def slope_weights(quality: Sequence[float]) -> Float[np.ndarray, " rungs"]:
    """What each rung counts for in the least-squares slope."""
    given = np.asarray(quality, dtype=float)
    if len(given) < FEWEST or not np.isfinite(given).all() or np.ptp(given) == 0:
        raise ValueError(
            f"a trend needs at least {FEWEST} rungs of different, finite quality or size, got {list(quality)}"
        )
    away = given - given.mean()
    return away / (away**2).sum()


def _slope(cells: Sequence[Outcomes], weights: np.ndarray, unit: Unit, level: float) -> Estimate:
    return contrast(cells, weights.tolist(), unit=unit, level=level)
