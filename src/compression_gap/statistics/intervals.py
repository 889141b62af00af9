"""Intervals whose replicate is the training seed: Welch's t on seed means, for any contrast of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool
from scipy import special

from compression_gap.statistics.outcomes import Outcomes, Unit

Scope = Literal["new training seeds", "new training seeds and initial states", "these checkpoints only"]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, or with the reason why it has none."""

    value: float
    low: float | None
    """None if there is no interval; `note` says why."""
    high: float | None
    unit: Unit
    """`points` are percentage points, also for a rate."""
    method: str
    scope: Scope
    """What the interval speaks about: a run with new seeds, one that meets new initial states too, or nothing but the
    checkpoints that were judged."""
    seeds: int
    """Training seeds per cell, the fewest of the trained cells that took part; 0 if none was trained."""
    level: float = LEVEL
    note: str = ""
    """Why there is no interval, or why it is no evidence; empty if nothing is wrong."""

    @property
    def text(self) -> str:
        """For a reader: `17.6 points [8.8, 26.4]`."""
        digits = 1 if self.unit == "points" else 2
        interval = (
            "no interval" if self.low is None or self.high is None else f"{self.low:.{digits}f}, {self.high:.{digits}f}"
        )
        return f"{self.value:.{digits}f} {self.unit} [{interval}]"


def contrast(
    cells: Sequence[Outcomes], weights: Sequence[float], *, unit: Unit = "points", level: float = LEVEL
) -> Estimate:
    """Weighted sum of the cells' seed means with Welch's t interval.

    The variance within a cell is the larger of the variance between its seeds and the sampling variance of its
    rollouts: three seeds that all reach 100 % do not make an interval of width zero. Degrees of freedom after
    Satterthwaite (1946) with S - 1 for each cell; a cell that is not `trained` brings its sampling variance only. In
    points the interval is cut to what success rates can reach. One seed in any trained cell: no interval. Raises
    ValueError if the cells were judged on different numbers of episodes.
    """
    sizes = [int(cell.episodes.sum()) for cell in cells]
    if len(set(sizes)) > 1:
        raise ValueError(f"the cells have {sizes} episodes per seed; compare cells on the same initial states")
    weight = np.asarray(weights, dtype=float)
    value = float(weight @ [cell.seed_values(unit).mean() for cell in cells])
    method = "Welch t on seed means"
    seeds = min((cell.seeds for cell in cells if cell.trained), default=0)
    scope: Scope = "new training seeds" if seeds else "these checkpoints only"
    if seeds == 1:
        note = "one seed: the variance between seeds is unknown"
        return Estimate(value, None, None, unit, method, scope, seeds, level, note)
    parts = weight**2 * [_variance(cell, unit) / cell.seeds for cell in cells]
    freedom = parts.sum() ** 2 / (parts**2 / [_freedom(cell) for cell in cells]).sum()
    half = float(special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(parts.sum()))
    low, high = value - half, value + half
    if unit == "points":
        low = max(low, 100 * float(weight[weight < 0].sum()))
        high = min(high, 100 * float(weight[weight > 0].sum()))
    note = "two seeds: a smoke test, not evidence" if seeds == 2 else ""
    return Estimate(value, low, high, unit, method, scope, seeds, level, note)


def cell(outcomes: Outcomes, *, unit: Unit = "points", level: float = LEVEL) -> Estimate:
    """Success of one cell."""
    return contrast([outcomes], [1.0], unit=unit, level=level)


def gain(weak: Outcomes, strong: Outcomes, *, unit: Unit = "points", level: float = LEVEL) -> Estimate:
    """What the upgrade brings: strong minus weak."""
    return contrast([strong, weak], [1.0, -1.0], unit=unit, level=level)


def wilson(outcomes: Outcomes, *, level: float = LEVEL) -> Estimate:
    """Wilson's (1927) score interval on all rollouts pooled; blind to what another training seed would have given."""
    n = int(outcomes.seeds * outcomes.episodes.sum())
    rate, z2 = outcomes.rate, float(special.ndtri((1 + level) / 2)) ** 2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (rate * (1 - rate) / n + z2 / (4 * n**2))) ** 0.5 / (1 + z2 / n)
    low, high = 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)
    return Estimate(100 * rate, low, high, "points", "Wilson", "these checkpoints only", outcomes.seeds, level)


def paired(
    before: Bool[np.ndarray, " episodes"], after: Bool[np.ndarray, " episodes"], *, level: float = LEVEL
) -> Estimate:
    """Success after minus before, of one checkpoint on the same initial states, by pairs.

    The adjusted Wald interval of Bonett and Price (2012), which adds one pair of either kind to those that differ: with
    no pair that differs it still has a width. Raises ValueError unless there are as many of both, and at least one.
    """
    if before.shape != after.shape or before.size == 0:
        raise ValueError(f"paired: expected the same episodes, at least one; got {before.shape} and {after.shape}")
    gained, lost, n = int((after & ~before).sum()), int((before & ~after).sum()), before.size
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = float(special.ndtri((1 + level) / 2)) * ((up + down - (up - down) ** 2) / (n + 2)) ** 0.5
    low, high = max(-100.0, 100 * (up - down - half)), min(100.0, 100 * (up - down + half))
    value = 100 * (gained - lost) / n
    return Estimate(value, low, high, "points", "Bonett-Price", "these checkpoints only", 1, level)


def _variance(outcomes: Outcomes, unit: Unit) -> float:
    """Of one seed's value."""
    sampling = outcomes.sampling_variance(unit)
    return max(float(outcomes.seed_values(unit).var(ddof=1)), sampling) if outcomes.trained else sampling


def _freedom(outcomes: Outcomes) -> int:
    return outcomes.seeds - 1 if outcomes.trained else int(outcomes.seeds * outcomes.episodes.sum())
