"""Intervals for means over chunks: whole demonstrations are drawn again, because their chunks are nearly copies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri, stdtrit

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class ClusterMean:
    """A mean over chunks and probe seeds."""

    value: float
    low: float
    high: float
    """95 %, for other demonstrations and other probe seeds."""
    seed_spread: float | None
    """Standard deviation between probe seeds; None if there is one."""


def cluster_mean(values: Float[np.ndarray, "seeds N"], demonstration: Int[np.ndarray, " N"]) -> ClusterMean:
    """The mean, with a percentile bootstrap over demonstrations and, where there are several, probe seeds.

    Whole clusters are drawn, always the same (Davison & Hinkley 1997, section 3.8). Percentiles of G clusters are too
    narrow, by sqrt((G - 1) / G) and for Student's t instead of the normal distribution: they are moved away from the
    mean by as much (Hesterberg 2015, arXiv 1411.5279, section 5.4).
    Raises ValueError if there is only one demonstration.
    """
    _, cluster = np.unique(demonstration, return_inverse=True)
    count = int(cluster.max()) + 1
    if count < 2:
        raise ValueError("an interval needs chunks of at least two demonstrations, got 1")
    sums = np.stack([np.bincount(cluster, row, count) for row in values])
    sizes = np.bincount(cluster, minlength=count)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), DRAWS)
    seeds = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), DRAWS) / len(values)
    means = np.einsum("ds,sc,dc->d", seeds, sums, drawn, optimize=True) / (drawn @ sizes)
    each = values.mean(axis=1)
    value, share = float(each.mean()), (1 + LEVEL) / 2
    wider = math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, share) / ndtri(share))
    low, high = (value + wider * (float(end) - value) for end in np.quantile(means, [1 - share, share]))
    spread = float(each.std(ddof=1)) if len(each) > 1 else None
    return ClusterMean(value, low, high, spread)
