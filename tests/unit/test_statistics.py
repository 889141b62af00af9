"""Intervals against closed forms and against scipy and statsmodels; verdicts against the cases they must tell apart."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from compression_gap.statistics import (
    Estimate,
    Outcomes,
    cell,
    contrast,
    gain,
    gap,
    paired,
    power,
    seeds_needed,
    wilson,
)


def counts(*successes: int, episodes: int = 100) -> Outcomes:
    return Outcomes.from_counts(np.array(successes, dtype=np.int64), episodes)


def bounds(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


@pytest.mark.parametrize(("k", "n"), [(0, 50), (1, 50), (37, 50), (50, 50), (498, 500)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_statsmodels(k: int, n: int, level: float) -> None:
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    estimate = wilson(counts(k, episodes=n), level=level)
    assert bounds(estimate) == pytest.approx((100 * low, 100 * high), abs=1e-9)
    assert estimate.scope == "these checkpoints only"


def test_the_paired_difference_by_hand() -> None:
    """8 of 50 gained, 1 lost: (9 - 2) / 52 = 13.46 points, give or take 1.96 sqrt((11/52 - (7/52)^2) / 52)."""
    before, after = np.zeros(50, dtype=bool), np.zeros(50, dtype=bool)
    before[10:30] = after[10:30] = True
    after[:8], after[10] = True, False
    estimate = paired(before, after)
    assert estimate.value == pytest.approx(14.0)
    assert bounds(estimate) == pytest.approx((1.508, 25.415), abs=2e-3)
    turned = paired(after, before)
    assert bounds(turned) == pytest.approx((-25.415, -1.508), abs=2e-3)
    assert bounds(paired(before, before)) == pytest.approx((-5.3, 5.3), abs=0.1)
    with pytest.raises(ValueError, match="expected the same episodes"):
        paired(before[:0], after[:0])


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_gain_is_scipys_welch(level: float) -> None:
    weak, strong = counts(30, 52, 41), counts(60, 85, 71, 49, 66)
    oracle = stats.ttest_ind(strong.seed_values("points"), weak.seed_values("points"), equal_var=False)
    estimate = gain(weak, strong, level=level)
    assert bounds(estimate) == pytest.approx(tuple(oracle.confidence_interval(level)))
    assert estimate.value == pytest.approx(66.2 - 41)
    assert estimate.seeds == 3


def test_gain_in_log_odds_is_scipys_welch() -> None:
    weak, strong = counts(10, 52, 31), counts(40, 95, 71)
    oracle = stats.ttest_ind(strong.seed_values("log-odds"), weak.seed_values("log-odds"), equal_var=False)
    assert bounds(gain(weak, strong, unit="log-odds")) == pytest.approx(tuple(oracle.confidence_interval(0.95)))


def test_cell_is_scipys_one_sample_t() -> None:
    rates = np.array([30.0, 52, 41, 60])
    oracle = stats.t.interval(0.95, 3, rates.mean(), stats.sem(rates))
    assert bounds(cell(counts(30, 52, 41, 60))) == pytest.approx(oracle)


def test_equal_variances_give_the_pooled_interval_of_the_interaction() -> None:
    cells = [counts(*np.array([-10, 0, 10]) + mean) for mean in (40, 65, 45, 55)]
    half = stats.t.ppf(0.975, 8) * (4 * 10**2 / 3) ** 0.5
    result = gap(continuous=(cells[0], cells[1]), discrete=(cells[2], cells[3]))
    assert bounds(result.points) == pytest.approx((15 - half, 15 + half))
    assert result.continuous_gain.value == pytest.approx(25)
    assert result.discrete_gain.value == pytest.approx(10)


def test_log_odds_are_finite_and_corrected_at_the_ends() -> None:
    assert counts(0, 50, 100).seed_values("log-odds") == pytest.approx([-np.log(201), 0, np.log(201)])


def test_seeds_that_all_succeed_keep_a_width() -> None:
    perfect = counts(100, 100, 100)
    low, high = bounds(cell(perfect))
    assert high == 100
    assert low == pytest.approx(100 - stats.t.ppf(0.975, 2) * perfect.sampling_variance("points") ** 0.5 / 3**0.5)
    assert 98 < low < 99.9
    assert perfect.sampling_variance("points") == pytest.approx(100**2 * (300.5 / 301) * (0.5 / 301) / 100)


def test_sampling_variance_is_binomial_and_stratification_lowers_it() -> None:
    success = np.array([[True] * 50 + [False] * 50] * 3)
    tasks = np.repeat(["easy", "hard"], 50)
    assert Outcomes.from_episodes(success).sampling_variance("points") == pytest.approx(100**2 * 0.25 / 100)
    stratified = Outcomes.from_episodes(success, tasks)
    assert stratified.successes.tolist() == [[50, 0]] * 3
    assert stratified.sampling_variance("points") == pytest.approx(counts(100, 100, 100).sampling_variance("points"))


def test_episodes_and_counts_agree() -> None:
    success = np.random.default_rng(0).random((4, 60)) < 0.3
    assert cell(Outcomes.from_episodes(success)) == cell(counts(*success.sum(axis=1), episodes=60))


def test_one_seed_has_no_interval_and_two_are_a_smoke_test() -> None:
    for seeds, reason in [(1, "one seed: the variance between seeds is unknown"), (2, "a smoke test, not evidence")]:
        weak, strong, flat = (counts(*[k] * seeds) for k in (20, 80, 50))
        result = gap(continuous=(weak, strong), discrete=(flat, flat))
        assert (result.points.low is None) == (seeds == 1)
        assert reason in result.points.note
        assert result.points.value == pytest.approx(60)


def test_what_is_not_trained_brings_its_sampling_variance_only() -> None:
    """The expert against a policy: known to the binomial error of its one row, which is no missing seed."""
    expert = Outcomes.from_counts(np.array([50]), 100, trained=False)
    policy = counts(20, 30, 40)
    error = (10**2 / 3 + 100**2 * 0.25 / 100) ** 0.5
    freedom = error**4 / ((10**2 / 3) ** 2 / 2 + 25**2 / 100)
    loss = gain(policy, expert)
    assert loss.seeds == 3
    half = stats.t.ppf(0.975, freedom) * error
    assert bounds(loss) == pytest.approx((20 - half, 20 + half), rel=1e-3)
    alone = gain(expert, expert)
    assert (alone.seeds, alone.scope, alone.note) == (0, "these checkpoints only", "")


def test_the_gap_is_the_difference_of_the_gains() -> None:
    weak, strong, flat = counts(28, 30, 32), counts(68, 70, 72), counts(48, 50, 52)
    result = gap(continuous=(weak, strong), discrete=(flat, flat))
    assert (result.continuous_gain.value, result.discrete_gain.value) == (pytest.approx(40), pytest.approx(0))
    assert result.points.value == pytest.approx(40)
    assert result.flag == ""
    turned = gap(continuous=(flat, flat), discrete=(weak, strong))
    assert bounds(turned.points) == pytest.approx(tuple(-end for end in reversed(bounds(result.points))))


def test_a_cell_at_the_ceiling_is_flagged_because_log_odds_may_say_otherwise() -> None:
    """9 -> 96 % against 2 -> 73 %: 16 points apart, and no difference that log-odds could see."""
    result = gap(continuous=(counts(8, 9, 10), counts(95, 96, 97)), discrete=(counts(1, 2, 3), counts(72, 73, 74)))
    assert bounds(result.points)[0] > 0
    assert bounds(result.log_odds)[0] < 0 < bounds(result.log_odds)[1]
    assert result.flag == "floor and ceiling"


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="same initial states"):
        Outcomes.from_counts(np.array([3, 4]), np.array([10, 12]))
    with pytest.raises(ValueError, match="successes <= episodes"):
        counts(101)
    with pytest.raises(ValueError, match="at least one of each"):
        counts()
    with pytest.raises(ValueError, match="same initial states"):
        gain(counts(3, 4, episodes=10), counts(3, 4, episodes=12))


def test_arrays_of_another_shape_or_type_are_refused() -> None:
    """A TypeError where the shapes in the signatures are checked, else our own message."""
    with pytest.raises((ValueError, TypeError), match=r"whole numbers|Type-check"):
        Outcomes(np.array([[0.3], [0.4]]), np.array([100]))
    with pytest.raises((ValueError, TypeError), match=r"booleans|Type-check"):
        Outcomes.from_episodes(np.array([[0.3, 0.4]]))
    with pytest.raises((ValueError, TypeError), match=r"label per episode|Type-check"):
        Outcomes.from_episodes(np.ones((2, 3), dtype=bool), np.zeros(2))


def test_power_is_that_of_the_noncentral_t_table() -> None:
    """The table of the design: 15 points, two-sided 5 %, S = 2, 3, 4, 5, 6, 8, 10."""
    table = {
        (3, 500): [0.57, 0.86, 0.96, 0.99, 1, 1, 1],
        (4, 500): [0.42, 0.70, 0.85, 0.93, 0.97, 0.99, 1],
        (5, 500): [0.32, 0.55, 0.71, 0.82, 0.89, 0.96, 0.99],
        (4, 250): [0.36, 0.61, 0.77, 0.87, 0.93, 0.98, 0.99],
        (4, 100): [0.25, 0.43, 0.58, 0.69, 0.78, 0.89, 0.95],
    }
    for (seed_sd, episodes), row in table.items():
        found = [
            power(15.0, seed_sd=float(seed_sd), seeds=seeds, episodes=episodes) for seeds in (2, 3, 4, 5, 6, 8, 10)
        ]
        assert found == pytest.approx(row, abs=0.02)


def test_power_without_effect_is_the_false_alarm_rate() -> None:
    assert power(0.0, seed_sd=4.0, seeds=3, episodes=100) == pytest.approx(0.05)


def test_seeds_needed() -> None:
    found = [seeds_needed(15.0, seed_sd=float(sd), episodes=n) for n in (500, 250, 100) for sd in (3, 4, 5)]
    assert found == [4, 5, 7, 5, 6, 8, 7, 9, 10]
    assert seeds_needed(10.0, seed_sd=4.0, episodes=500, target=0.84) == 8
    with pytest.raises(ValueError, match="effect other than 0"):
        seeds_needed(0.0, seed_sd=4.0, episodes=500)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        power(15.0, seed_sd=4.0, seeds=1, episodes=500)


def test_points_stay_where_rates_can_be() -> None:
    wild = counts(0, 100)
    assert bounds(cell(wild)) == (0, 100)
    assert bounds(gain(wild, wild)) == (-100, 100)
    assert bounds(contrast([wild] * 4, [-1.0, 1.0, 1.0, -1.0])) == (-200, 200)
