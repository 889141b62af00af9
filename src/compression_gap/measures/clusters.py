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
    """The mean, with a percentile bootstrap over demonstrations and, where there are several, the spread of seeds.

    Whole clusters are drawn, always the same (Davison & Hinkley 1997, section 3.8). Percentiles of G clusters are too
    narrow, by sqrt((G - 1) / G) and for Student's t instead of the normal distribution: they are moved away from the
    mean by as much (Hesterberg 2015, arXiv 1411.5279, section 5.4), but no further than the outermost demonstration, so
    that what cannot be negative stays so. Seeds are too few to be drawn: half the interval of their mean by Student's t
    and half the one over demonstrations are the legs of a right triangle. That is wider than it need be, where
    degrees of freedom of the sum (Satterthwaite 1946) are too narrow for two seeds that happen to agree.
    Raises ValueError if there is only one demonstration.
    """
    _, cluster = np.unique(demonstration, return_inverse=True)
    count = int(cluster.max()) + 1
    if count < 2:
        raise ValueError("an interval needs chunks of at least two demonstrations, got 1")
    sums = np.bincount(cluster, values.mean(axis=0), count)
    sizes = np.bincount(cluster, minlength=count)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    each = values.mean(axis=1)
    value, share = float(each.mean()), (1 + LEVEL) / 2
    spread = float(each.std(ddof=1)) if len(each) > 1 else None
    seeds = 0.0 if spread is None else spread / math.sqrt(len(each)) * float(stdtrit(len(each) - 1, share))
    wider = math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, share) / ndtri(share))
    ends = np.quantile((drawn @ sums) / (drawn @ sizes), [1 - share, share])
    outermost = sums / sizes
    below = math.hypot(seeds, min(wider * (value - float(ends[0])), value - float(outermost.min())))
    above = math.hypot(seeds, min(wider * (float(ends[1]) - value), float(outermost.max()) - value))
    return ClusterMean(value, value - below, value + above, spread)
