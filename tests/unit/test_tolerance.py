"""The tolerance read off a falling curve: against closed forms, and against a task whose tolerance is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from compression_gap.statistics.tolerance import crossing, falling, tolerance


@pytest.mark.parametrize("points", [1, 2, 5, 17])
def test_the_fit_is_isotonic_regression(points: int):
    values = np.random.default_rng(points).normal(size=(30, points)) - 0.3 * np.arange(points)
    theirs = np.stack([isotonic_regression(row, increasing=False).x for row in values])
    np.testing.assert_allclose(falling(values), theirs, atol=1e-12)


def test_two_that_rise_become_their_mean():
    np.testing.assert_allclose(falling(np.array([9.0, 1.0, 3.0, 0.0])), [9.0, 2.0, 2.0, 0.0])


def test_a_curve_that_falls_already_is_left_alone():
    np.testing.assert_array_equal(falling(np.array([100.0, 90.0, 90.0, 3.0])), [100.0, 90.0, 90.0, 3.0])


def test_a_crossing_lies_on_a_straight_line_over_the_logarithm():
    at = np.array([0.0, 1.0, 4.0, 16.0])
    curves = [[100, 100, 90, 0], [100, 90, 50, 0], [100, 95, 95, 0], [100, 99, 98, 97]]
    found = crossing(at, np.array(curves, dtype=float), np.full(4, 95.0))
    assert found[0] == pytest.approx(2.0)
    assert found[1] == 0, "somewhere before the first level"
    assert found[2] == pytest.approx(4.0), "the last one that holds"
    assert found[3] == float("inf")


def breaking(levels: np.ndarray, episodes: int, seed: int) -> np.ndarray:
    """Every episode breaks at a distortion of its own, log-normal around 10."""
    own = 10 * np.exp(0.5 * np.random.default_rng(seed).normal(size=episodes))
    return levels[:, None] <= own


def test_a_tolerance_that_is_known_is_bracketed_as_often_as_promised():
    levels, truth = np.geomspace(1, 40, 30), 10 * np.exp(0.5 * -1.6449)  # one in twenty breaks earlier
    inside = 0
    for seed in range(40):
        found, _ = tolerance(
            levels, breaking(levels, 300, seed), np.ones(300, bool), np.repeat([0, 1, 2], 100), draws=200
        )
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        inside += found.low <= truth <= found.high
    assert inside >= 34, "95 % intervals"


def test_levels_may_come_in_any_order():
    levels = np.geomspace(1, 40, 8)
    success, strata = breaking(levels, 60, 1), np.zeros(60, dtype=np.int64)
    order = np.random.default_rng(0).permutation(8)
    there, fit = tolerance(levels, success, np.ones(60, bool), strata)
    back, _ = tolerance(levels[order], success[order], np.ones(60, bool), strata)
    assert there == back
    assert fit.distortion.tolist() == [0.0, *levels]
    assert (np.diff(fit.fitted) <= 0).all()
    assert fit.low is not None
    assert fit.high is not None
    assert (fit.low <= fit.fitted + 1e-9).all()
    assert (fit.fitted <= fit.high + 1e-9).all()


def test_it_is_read_below_the_reference_and_not_below_certainty():
    reference = np.arange(100) < 60
    success = np.stack([np.arange(100) < 60, np.arange(100) < 50])
    found, _ = tolerance(np.array([1.0, 4.0]), success, reference, np.zeros(100, dtype=np.int64))
    assert found.threshold == pytest.approx(55)
    assert found.value == pytest.approx(2.0)


def test_where_success_never_falls_there_is_no_number_and_it_is_said():
    found, _ = tolerance(np.array([1.0, 2.0]), np.ones((2, 50), bool), np.ones(50, bool), np.zeros(50, dtype=np.int64))
    assert (found.value, found.where, found.low, found.high) == (None, "beyond", None, None)
    assert found.note == "success has not lost 5 points at the largest distortion"


def test_where_success_has_fallen_at_once_it_is_only_known_to_lie_below():
    success = np.stack([np.arange(50) < 30, np.arange(50) < 20])
    found, _ = tolerance(np.array([3.0, 9.0]), success, np.ones(50, bool), np.zeros(50, dtype=np.int64))
    assert (found.value, found.where, found.low, found.high) == (None, "below", 0.0, 3.0)
    assert found.note == "success has lost 5 points before the smallest distortion"


def test_an_interval_may_be_open_above():
    success = np.stack([np.ones(100, bool), np.arange(100) < 94])
    found, _ = tolerance(np.array([1.0, 2.0]), success, np.ones(100, bool), np.zeros(100, dtype=np.int64))
    assert found.value is not None
    assert found.low is not None
    assert found.high is None


def test_too_few_initial_states_have_no_interval():
    success = np.array([[True] * 7, [False] * 7])
    found, fit = tolerance(np.array([1.0, 2.0]), success, np.ones(7, bool), np.zeros(7, dtype=np.int64))
    assert found.value is not None
    assert (found.low, found.high, fit.low) == (None, None, None)
    assert found.note == "no interval: 7 initial states, at least 8 are needed"


def test_states_that_are_alone_in_their_tasks_are_drawn_among_them():
    levels = np.geomspace(1, 40, 12)
    success, reference = breaking(levels, 10, 3), np.ones(10, bool)
    alone, together = (
        tolerance(levels, success, reference, strata)[0] for strata in (np.arange(10), np.zeros(10, int))
    )
    assert alone == together
    assert alone.low is not None
    assert alone.value is not None
    assert alone.low < alone.value


def test_tasks_keep_their_share_when_states_are_drawn_again():
    """One task always succeeds, the other never: a success rate that does not vary has an interval of no width."""
    strata = np.repeat([0, 1], 20)
    reference = np.ones(40, bool)
    success = np.stack([reference, strata == 0])
    found, fit = tolerance(np.array([1.0, 2.0]), success, reference, strata)
    assert found.low == found.value == found.high
    assert fit.low is not None
    assert fit.low[-1] == pytest.approx(50)


@pytest.mark.parametrize(
    ("distortion", "rate", "message"),
    [
        ([], 1.0, "positive, finite distortion, got \\[\\]"),
        ([0.0], 1.0, "positive, finite distortion"),
        ([np.inf], 1.0, "positive, finite distortion"),
        ([1.0], 0.05, "the reference succeeds in 5.0 %, so it cannot lose 5 points"),
    ],
)
def test_what_has_no_tolerance_is_refused(distortion: list[float], rate: float, message: str):
    reference = np.arange(20) < 20 * rate
    success = np.tile(reference, (len(distortion), 1))
    with pytest.raises(ValueError, match=message):
        tolerance(np.array(distortion, dtype=float), success, reference, np.zeros(20, dtype=np.int64))
