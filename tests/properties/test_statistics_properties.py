"""Symmetries that every interval must have, whatever the counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compression_gap.statistics import Outcomes, cell, contrast, gain, gap
from compression_gap.statistics.outcomes import Unit

EPISODES = 40


def cells(low: int = 0, high: int = EPISODES) -> st.SearchStrategy[Outcomes]:
    seeds = st.integers(2, 6)
    successes = seeds.flatmap(lambda count: arrays(np.int64, count, elements=st.integers(low, high)))
    return successes.map(lambda k: Outcomes.from_counts(k, EPISODES))


def pairs() -> st.SearchStrategy[tuple[Outcomes, Outcomes]]:
    return st.tuples(cells(), cells())


def mirrored(outcomes: Outcomes) -> Outcomes:
    return Outcomes(outcomes.episodes - outcomes.successes, outcomes.episodes)


units = st.sampled_from(["points", "log-odds"])


@given(pairs(), units)
@settings(deadline=None)
def test_swapping_the_arms_turns_the_sign(pair: tuple[Outcomes, Outcomes], unit: Unit) -> None:
    there, back = gain(*pair, unit=unit), gain(*pair[::-1], unit=unit)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


@given(pairs(), pairs())
@settings(deadline=None)
def test_swapping_the_policies_turns_the_gap(one: tuple[Outcomes, Outcomes], other: tuple[Outcomes, Outcomes]) -> None:
    there, back = gap(continuous=one, discrete=other), gap(continuous=other, discrete=one)
    for a, b in [(there.points, back.points), (there.log_odds, back.log_odds)]:
        assert (a.value, a.low, a.high) == pytest.approx((-b.value, -b.high, -b.low))
    assert there.points.value == pytest.approx(there.continuous_gain.value - there.discrete_gain.value)


@given(pairs(), units)
@settings(deadline=None)
def test_counting_failures_turns_the_sign(pair: tuple[Outcomes, Outcomes], unit: Unit) -> None:
    there, back = gain(*pair, unit=unit), gain(*map(mirrored, pair), unit=unit)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


@given(pairs(), units)
@settings(deadline=None)
def test_seeds_have_no_order(pair: tuple[Outcomes, Outcomes], unit: Unit) -> None:
    shuffled = [Outcomes(outcomes.successes[::-1], outcomes.episodes) for outcomes in pair]
    there, back = gain(*pair, unit=unit), gain(*shuffled, unit=unit)
    assert (there.value, there.low, there.high) == pytest.approx((back.value, back.low, back.high))


@given(st.tuples(cells(0, 20), cells(0, 20)), st.integers(0, 20))
@settings(deadline=None)
def test_a_shift_of_both_cells_leaves_the_gain(pair: tuple[Outcomes, Outcomes], shift: int) -> None:
    """The value always; the interval too where the spread of the seeds, not the binomial floor, makes it."""
    moved = [Outcomes(outcomes.successes + shift, outcomes.episodes) for outcomes in pair]
    there, back = gain(*pair), gain(*moved)
    assert there.value == pytest.approx(back.value)
    spread = all(
        outcomes.seed_values("points").var(ddof=1) >= outcomes.sampling_variance("points")
        for outcomes in (*pair, *moved)
    )
    if spread:
        assert (there.low, there.high) == pytest.approx((back.low, back.high))


@given(cells(), units)
@settings(deadline=None)
def test_intervals_are_finite_and_have_a_width(outcomes: Outcomes, unit: Unit) -> None:
    estimate = cell(outcomes, unit=unit)
    assert estimate.low is not None
    assert estimate.high is not None
    assert np.isfinite([estimate.value, estimate.low, estimate.high]).all()
    assert estimate.low < estimate.high
    assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(cells(), min_size=4, max_size=4), units)
@settings(deadline=None)
def test_a_higher_level_is_wider(four: list[Outcomes], unit: Unit) -> None:
    narrow, wide = (contrast(four, [-1.0, 1.0, 1.0, -1.0], unit=unit, level=level) for level in (0.8, 0.95))
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low is not None
    assert wide.high is not None
    assert wide.low <= narrow.low < narrow.high <= wide.high
