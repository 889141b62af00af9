"""The line of success on measured quality: its slope, its interval, and what it refuses."""

import numpy as np
import pytest
from scipy import stats

from compression_gap.statistics import Outcomes, gain_trend, trend, trend_gap

QUALITY = [-4.2, -3.3, -1.8, -1.2, -0.8]
EPISODES = 400


def rung(*percents: float) -> Outcomes:
    return Outcomes.from_counts(np.round(np.array(percents) * EPISODES / 100).astype(int), EPISODES)


STEEP = [rung(10, 12, 14), rung(22, 24, 26), rung(48, 50, 52), rung(60, 62, 64), rung(68, 70, 72)]
FLAT = [rung(30, 32, 34), rung(31, 33, 35), rung(33, 35, 37), rung(34, 36, 38), rung(34, 36, 38)]


def means(cells: list[Outcomes]) -> list[float]:
    return [float(cell.seed_values("points").mean()) for cell in cells]


def test_the_slope_is_the_least_squares_line_through_the_seed_means():
    found = trend(STEEP, QUALITY)
    assert found.points.value == pytest.approx(np.polyfit(QUALITY, means(STEEP), 1)[0])
    assert found.points.low < found.points.value < found.points.high
    assert found.points.scope == "new training seeds"
    log_odds = [cell.seed_values("log-odds").mean() for cell in STEEP]
    assert found.log_odds.value == pytest.approx(np.polyfit(QUALITY, log_odds, 1)[0])


def test_the_order_in_which_encoders_are_given_does_not_matter():
    one, two = trend(STEEP[::-1], QUALITY[::-1]), trend(STEEP, QUALITY)
    assert one.points.value == pytest.approx(two.points.value)
    assert one.points.low == pytest.approx(two.points.low)
    assert one.rank_p == two.rank_p


def test_the_difference_of_slopes_has_its_own_interval():
    difference = trend_gap(STEEP, FLAT, QUALITY)
    slopes = [np.polyfit(QUALITY, means(cells), 1)[0] for cells in (STEEP, FLAT)]
    assert difference.value == pytest.approx(slopes[0] - slopes[1])
    assert difference.low > 0
    half = (difference.high - difference.low) / 2
    halves = [(t.points.high - t.points.low) / 2 for t in (trend(STEEP, QUALITY), trend(FLAT, QUALITY))]
    assert max(halves) < half < sum(halves)


def test_ranks_tell_rising_from_falling():
    assert trend(STEEP, QUALITY).rank_p < 0.001
    assert trend(STEEP, [-q for q in QUALITY]).rank_p > 0.99


def test_one_seed_has_a_slope_and_no_interval():
    found = trend([rung(10), rung(20), rung(30)], [1.0, 2.0, 3.0])
    assert (found.points.value, found.points.low, found.rank_p) == (pytest.approx(10.0), None, None)


def test_a_cell_that_lacks_a_seed_has_a_slope_and_no_ranks():
    found = trend([*STEEP[:-1], Outcomes(STEEP[-1].successes[1:], STEEP[-1].episodes)], QUALITY)
    assert found.rank_p is None
    assert found.points.low is not None


def test_encoders_of_one_quality_have_no_ranks():
    assert trend(STEEP, [-4.2, -3.3, -3.3, -1.2, -0.8]).rank_p is None


def test_the_slope_of_the_gain_is_the_line_through_the_differences():
    bits = [50.7, 64.0, 74.3, 79.7, 96.0]
    found = gain_trend(FLAT, STEEP, bits)
    gains = np.array(means(STEEP)) - means(FLAT)
    assert found.points.value == pytest.approx(stats.linregress(bits, gains).slope)
    odds = [[cell.seed_values("log-odds").mean() for cell in cells] for cells in (STEEP, FLAT)]
    assert found.log_odds.value == pytest.approx(np.polyfit(bits, np.subtract(*odds), 1)[0])
    assert gain_trend(STEEP, FLAT, bits).points.value == pytest.approx(-found.points.value)


def test_the_slope_of_the_gain_has_welchs_interval_over_the_seeds():
    bits, seeds = np.array([1.0, 2.0, 4.0, 5.0]), 3
    spread = np.array([[5, 9, 7, 12], [6, 4, 11, 8]])  # beyond what the rollouts alone would give
    middle = np.array([[21, 25, 24, 30], [38, 41, 47, 52]])
    values = middle[:, :, None] + spread[:, :, None] * np.array([-1, 0, 1])  # weak and strong, codebooks, seeds
    weak, strong = ([rung(*cell) for cell in cells] for cells in values)
    found = gain_trend(weak, strong, bits.tolist()).points
    share = (bits - bits.mean()) / ((bits - bits.mean()) ** 2).sum()
    parts = np.stack([values[0].var(axis=1, ddof=1), values[1].var(axis=1, ddof=1)]) * share**2 / seeds
    freedom = parts.sum() ** 2 / (parts**2 / (seeds - 1)).sum()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(parts.sum())
    assert (found.low, found.high) == (pytest.approx(found.value - half), pytest.approx(found.value + half))


@pytest.mark.parametrize("quality", [[1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 2.0, np.inf]])
def test_what_is_no_trend_is_refused(quality: list[float]):
    with pytest.raises(ValueError, match=r"at least 3 rungs of different, finite quality or size, got \["):
        trend(STEEP[: len(quality)], quality)


def test_the_interval_of_the_difference_covers():
    rng, truths = np.random.default_rng(3), (np.linspace(0.15, 0.75, 5), np.linspace(0.3, 0.5, 5))
    quality = [0.0, 1.0, 2.0, 3.0, 4.0]
    truth, hits = 15.0 - 5.0, 0
    for _ in range(400):
        lines = [
            [
                Outcomes.from_counts(rng.binomial(EPISODES, np.clip(rng.normal(p, 0.04, 3), 0, 1)), EPISODES)
                for p in line
            ]
            for line in truths
        ]
        found = trend_gap(*lines, quality)
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / 400 <= 0.985
