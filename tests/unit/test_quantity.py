"""Numbers that say what they are: what they refuse, how they read, and which of several bounds is the tightest."""

import numpy as np
import pytest

from compression_gap.measures.quantity import Bracket, Quantity, mean_over_demonstrations, tightest

BITS, OVER = "bits a chunk", "other demonstrations"


def upper(value: float | None, note: str = "") -> Quantity:
    return Quantity(value, "upper bound", BITS, OVER, note=note)


def lower(value: float) -> Quantity:
    return Quantity(value, "lower bound", BITS, OVER)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unit": ""}, "needs a unit"),
        ({"over": ""}, "over what its interval is"),
        ({"low": 1.0}, "two ends or none"),
        ({"low": 2.0, "high": 1.0}, "lower end comes first"),
        ({"value": None}, "its note says why"),
        ({"value": None, "low": 1.0, "high": 2.0, "note": "not converged"}, "has no interval"),
        ({"value": float("nan")}, "got NaN"),
    ],
)
def test_a_number_that_says_too_little_is_refused(given: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Quantity(**{"value": 1.0, "kind": "estimate", "unit": BITS, "over": OVER, **given})


def test_a_bound_reads_as_a_bound_and_a_missing_number_as_its_reason():
    assert Quantity(58.314, "upper bound", BITS, OVER, 58.1, 58.5).text == "at most 58.31 bits a chunk [58.10, 58.50]"
    assert lower(13.0).text == "at least 13.00 bits a chunk"
    assert Quantity(None, "estimate", BITS, OVER, note="not converged").text == "not converged"


def test_the_tightest_bound_is_the_smallest_upper_and_the_largest_lower_one():
    assert tightest([upper(60.0), upper(None, "undetermined"), upper(58.0)]).value == 58.0
    assert tightest([lower(12.0), lower(13.0)]).value == 13.0
    assert tightest([upper(None, "undetermined")]).note == "undetermined"


def test_bounds_of_different_kinds_and_estimates_are_not_mixed():
    estimate = Quantity(1.0, "estimate", BITS, OVER)
    for mixed in ([upper(60.0), lower(13.0)], [estimate], []):
        with pytest.raises(ValueError, match="bounds of one kind and unit"):
            tightest(mixed)
    with pytest.raises(ValueError, match="got upper bound and lower bound"):
        Bracket(upper(60.0), lower(13.0))
    with pytest.raises(ValueError, match="bits a chunk and ids"):
        Bracket(lower(13.0), Quantity(7.0, "upper bound", "ids", OVER))


def test_a_mean_has_an_interval_over_demonstrations_from_eight_on():
    rng = np.random.default_rng(0)
    demonstration = np.repeat(np.arange(40), 10)
    values = rng.normal(size=40)[demonstration][None]  # chunks of a demonstration are copies
    mean = mean_over_demonstrations(values, demonstration, kind="estimate", shift=2.0)
    assert mean.value == pytest.approx(values.mean() + 2.0)
    half = (mean.high - mean.low) / 2
    assert half == pytest.approx(1.96 * values[0, ::10].std() / 40**0.5, rel=0.15)
    few = mean_over_demonstrations(values[:, :70], demonstration[:70], kind="estimate")
    assert (few.low, few.note) == (None, "no interval: 7 demonstrations, at least 8 are needed")
