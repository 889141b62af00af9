"""How often a nominal 95 % interval of the interaction contains the truth, by simulation (`-s` prints the table)."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from compression_gap.statistics import Outcomes, contrast, paired

Cells = list[Outcomes]  # continuous weak, continuous strong, discrete weak, discrete strong
Interval = Callable[[Cells], tuple[float, float]]

REPLICATIONS = 2000
EPISODES = 500
BAND = (0.93, 0.985)

ALIKE = (0.40, 0.65, 0.45, 0.55)  # a gap of 15 points
UNEQUAL = (0.09, 0.96, 0.02, 0.73)


def welch(cells: Cells) -> tuple[float, float]:
    points = contrast(cells, [-1.0, 1.0, 1.0, -1.0])
    assert points.low is not None
    assert points.high is not None
    return points.low, points.high


def pooled_binomial_z(cells: Cells) -> tuple[float, float]:
    """The interval that forgets the seeds: all rollouts of a cell as one binomial sample."""
    rates = [cell.rate for cell in cells]
    error = sum(p * (1 - p) / (cell.seeds * EPISODES) for p, cell in zip(rates, cells, strict=True)) ** 0.5
    value = rates[1] - rates[0] - rates[3] + rates[2]
    return 100 * (value - norm.ppf(0.975) * error), 100 * (value + norm.ppf(0.975) * error)


def draw(means: tuple[float, ...], seeds: int, rng: np.random.Generator) -> Cells:
    """A seed's true rate is Beta with SD 8 sqrt(p (1 - p)) points: 4 points at 50 %, 1.1 at 2 %."""
    concentration = 1 / 0.08**2 - 1
    rates = [rng.beta(p * concentration, (1 - p) * concentration, size=seeds) for p in means]
    return [Outcomes.from_counts(rng.binomial(EPISODES, rate), EPISODES) for rate in rates]


def coverage(interval: Interval, means: tuple[float, ...], seeds: int) -> float:
    rng = np.random.default_rng(20)
    truth = 100 * (means[1] - means[0] - means[3] + means[2])
    bounds = np.array([interval(draw(means, seeds, rng)) for _ in range(REPLICATIONS)])
    share = float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean())
    half = float(np.diff(bounds).mean() / 2)
    print(f"{interval.__name__:18} cells {means} S={seeds}: coverage {share:.3f}, mean half-width {half:.1f} points")
    return share


@pytest.mark.parametrize("means", [ALIKE, UNEQUAL], ids=["alike", "unequal"])
@pytest.mark.parametrize("seeds", [3, 5])
def test_welch_covers(means: tuple[float, ...], seeds: int) -> None:
    assert BAND[0] <= coverage(welch, means, seeds) <= BAND[1]


@pytest.mark.parametrize("seeds", [3, 5])
def test_pooled_rollouts_do_not_cover(seeds: int) -> None:
    assert coverage(pooled_binomial_z, ALIKE, seeds) < 0.75


def test_welch_covers_with_shared_initial_states() -> None:
    """Easy and hard initial states, the same for all seeds and cells; the truth is about these states."""
    seeds, states, seed_sd = 5, 100, 0.17  # in log-odds: about 4 points at 50 %
    rng = np.random.default_rng(21)
    difficulty = rng.normal(0, 1.5, size=states)
    logits = np.array([-0.6, 1.0, -0.3, 0.3])
    weights = 100 * np.array([-1, 1, 1, -1])
    effects = rng.normal(0, seed_sd, size=(2000, 1))
    truth = weights @ [expit(logit + effects + difficulty).mean() for logit in logits]
    hits = 0
    for _ in range(REPLICATIONS):
        rates = expit(logits[:, None, None] + rng.normal(0, seed_sd, size=(4, seeds, 1)) + difficulty)
        low, high = welch([Outcomes.from_episodes(success) for success in rng.random(rates.shape) < rates])
        hits += low <= truth <= high
    print(f"shared initial states, S={seeds}: coverage {hits / REPLICATIONS:.3f}")
    assert 0.94 <= hits / REPLICATIONS <= 0.995


@pytest.mark.parametrize(("gained", "lost"), [(0.02, 0.02), (0.0, 0.05), (0.25, 0.1)])
@pytest.mark.parametrize("episodes", [30, 100])
def test_the_paired_interval_covers(gained: float, lost: float, episodes: int) -> None:
    """Of the difference between two runs on the same episodes, of which few differ."""
    rng = np.random.default_rng(21)
    covered = 0
    for _ in range(REPLICATIONS):
        kind = rng.choice(3, size=episodes, p=[gained, lost, 1 - gained - lost])
        both = rng.random(episodes) < 0.5
        found = paired(np.where(kind == 2, both, kind == 1), np.where(kind == 2, both, kind == 0))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 100 * (gained - lost) <= found.high
    print(f"paired, {gained} gained and {lost} lost of {episodes}: coverage {covered / REPLICATIONS:.3f}")
    assert covered / REPLICATIONS >= 0.94
