"""The verdict on a ladder: which loss binds the cell, how sure that is, and what would settle an open case."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy import special

from compression_gap.statistics.ladder import Ladder, Loss

DELTA = 5.0
"""Points below which a loss is not worth an upgrade."""
SURE = 0.9
"""Probability from which on a loss counts as the largest."""
FEWEST_SEEDS = 3
POWER = 0.8
MOST_SEEDS, MOST_STATES = 50, 20_000


class Bound(StrEnum):
    """What a cell is bound by."""

    CODEBOOK = "codebook-bound"
    POLICY = "policy-or-data-bound"
    ENCODER = "encoder-bound"
    SEVERAL = "several"
    NONE = "none: saturated"
    UNDETERMINED = "undetermined"


BOUND_BY = {Loss.CODEBOOK: Bound.CODEBOOK, Loss.POLICY: Bound.POLICY, Loss.ENCODER: Bound.ENCODER}


@dataclass(frozen=True)
class Settling:
    """What would probably settle an undetermined case if the losses are what they seem; None where it could not."""

    seeds: int | None
    """Training seeds, with the same number of initial states."""
    states: int | None
    """Initial states, with the same number of seeds."""


@dataclass(frozen=True)
class Bottleneck:
    """A verdict with its evidence."""

    label: Bound
    probability: float
    """That the named loss is the largest; of `several`, that two or more exceed delta; of `none`, that all are below
    it; of `undetermined`, that the likeliest loss is the largest."""
    likeliest: Loss
    """The loss that is most probably the largest."""
    largest: dict[Loss, float]
    """Probability of each loss to be the largest."""
    delta: float
    """Points."""
    reason: str = ""
    """Why it is undetermined."""
    settling: Settling | None = None
    """Of an undetermined case."""


def bottleneck(ladder: Ladder, *, delta: float = DELTA) -> Bottleneck:
    """Bound by a loss iff its whole 95 % interval lies above `delta` and it is the largest with probability 0.9.

    `several` when two or more intervals lie above and none is surely the largest, `none` when all lie below. With fewer
    than three seeds nothing is said about new ones: undetermined.
    """
    draws, losses = ladder.draws(), list(ladder.losses)
    shares = np.bincount(draws.argmax(axis=1), minlength=len(losses)) / len(draws)
    likeliest = losses[int(shares.argmax())]
    largest = {loss: float(share) for loss, share in zip(losses, shares, strict=True)}
    above = [loss for loss, estimate in ladder.losses.items() if _end(estimate.low) > delta]

    def found(label: Bound, probability: float, reason: str = "", settling: Settling | None = None) -> Bottleneck:
        return Bottleneck(label, probability, likeliest, largest, delta, reason, settling)

    if ladder.seeds < FEWEST_SEEDS:
        return found(Bound.UNDETERMINED, largest[likeliest], ladder.total.note, _settling(ladder, delta))
    if likeliest in above and largest[likeliest] >= SURE:
        return found(BOUND_BY[likeliest], largest[likeliest])
    if len(above) > 1:
        return found(Bound.SEVERAL, float(((draws > delta).sum(axis=1) > 1).mean()))
    if all(_end(estimate.high) < delta for estimate in ladder.losses.values()):
        return found(Bound.NONE, float((draws < delta).all(axis=1).mean()))
    reason = (
        f"the {above[0]} loss exceeds {delta:g} points, but whether it is the largest is not sure"
        if above
        else f"no loss surely exceeds {delta:g} points, and not all are surely below"
    )
    return found(Bound.UNDETERMINED, largest[likeliest], reason, _settling(ladder, delta))


def _settling(ladder: Ladder, delta: float) -> Settling:
    """The fewest seeds, and the fewest initial states, with which some verdict would be reached four times in five."""
    if ladder.seeds == 1:
        return Settling(seeds=FEWEST_SEEDS, states=None)  # the fewest: what other seeds would differ by is not known
    goals = list(_goals(ladder, delta))

    def reaches(seeds: int, states: int) -> bool:
        return any(all(_shown(ladder, *claim, seeds=seeds, states=states) for claim in goal) for goal in goals)

    seeds = range(max(ladder.seeds + 1, FEWEST_SEEDS), MOST_SEEDS + 1)
    states = range(ladder.states + 1, MOST_STATES + 1) if ladder.seeds >= FEWEST_SEEDS else range(0)
    return Settling(
        _first(seeds, lambda count: reaches(count, ladder.states)),
        _first(states, lambda count: reaches(ladder.seeds, count)),
    )


Claim = tuple[Float[np.ndarray, " losses"], float, float]
"""Weights of the losses in a sum, how far that sum is on the right side, and how sure one must be of the side."""


def _goals(ladder: Ladder, delta: float) -> Iterator[list[Claim]]:
    """What each verdict claims, of those that hold for the losses as they were measured."""
    values = np.array([estimate.value for estimate in ladder.losses.values()])
    each, end = np.eye(len(values)), (1 + ladder.total.level) / 2
    above: list[Claim] = [(each[k], values[k] - delta, end) for k in range(len(values))]
    k = int(values.argmax())
    yield [above[k], *((each[k] - each[j], values[k] - values[j], SURE) for j in range(len(values)) if j != k)]
    yield from ([above[i], above[j]] for i, j in combinations(range(len(values)), 2))
    yield [(-each[k], delta - values[k], end) for k in range(len(values))]


def _shown(ladder: Ladder, weights: np.ndarray, margin: float, level: float, *, seeds: int, states: int) -> bool:
    error, freedom = ladder.error(weights, seeds=seeds, states=states)
    return bool(margin > (special.stdtrit(freedom, level) + special.stdtrit(freedom, POWER)) * error)


def _first(counts: range, reaches: Callable[[int], bool]) -> int | None:
    index = bisect_left(counts, True, key=reaches)
    return counts[index] if index < len(counts) else None


def _end(of_interval: float | None) -> float:
    assert of_interval is not None, "the losses of a ladder have intervals"
    return of_interval
