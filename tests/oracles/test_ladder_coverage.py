"""How often the intervals of a ladder contain the truth, and how often its likeliest loss is the largest (`-s` prints).

Initial states are easy or hard, the same ones for all rungs, and drawn afresh in every repetition; so are the seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import Float
from scipy.special import expit, ndtri

from compression_gap.statistics import Ladder, Loss, Rung, ladder

QUANTILES = ndtri((np.arange(400) + 0.5) / 400)
DIFFICULTY = 1.5  # SD between initial states, in log-odds


def draw(
    random: np.random.Generator, logits: np.ndarray, *, seeds: int, states: int, difficulty: float, seed_sd: float
) -> Ladder:
    hard = random.normal(0, difficulty, size=states)

    def rung(logit: float) -> Rung:
        return Rung(random.random((seeds, states)) < expit(logit + hard + random.normal(0, seed_sd, size=(seeds, 1))))

    expert = Rung(random.random((1, states)) < expit(logits[0] + hard), trained=False)
    return ladder(expert=expert, replay=rung(logits[1]), state=rung(logits[2]), policy=rung(logits[3]))


def losses(logits: np.ndarray, difficulty: float, seed_sd: float) -> Float[np.ndarray, " losses"]:
    """The truth over all initial states and seeds."""
    spread = np.array([difficulty, *[np.hypot(difficulty, seed_sd)] * 3])
    return -100 * np.diff(expit(logits[:, None] + spread[:, None] * QUANTILES).mean(axis=1))


MIXED, EVEN = np.array([5.8, 5.2, 1.6, -1.5]), np.array([3.9, 0.6, 0.0, -0.6])


@pytest.mark.parametrize("rungs", [MIXED, EVEN], ids=["99, 99, 78, 25 %", "95, 61, 50, 39 %"])
@pytest.mark.parametrize("seed_sd", [0.17, 0.3])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_every_loss_covers(rungs: np.ndarray, seed_sd: float, seeds: int) -> None:
    random, truth, repetitions = np.random.default_rng(30), losses(rungs, DIFFICULTY, seed_sd), 500
    ends = np.array(
        [
            [
                (estimate.low, estimate.high)
                for estimate in draw(
                    random, rungs, seeds=seeds, states=300, difficulty=DIFFICULTY, seed_sd=seed_sd
                ).losses.values()
            ]
            for _ in range(repetitions)
        ]
    )  # [repetitions, losses, low and high]
    shares = ((ends[..., 0] <= truth) & (truth <= ends[..., 1])).mean(axis=0)
    half = np.diff(ends, axis=-1).mean(axis=0)[:, 0] / 2
    told = ", ".join(
        f"{loss} {value:.1f} ± {width:.1f}: {share:.3f}"
        for loss, value, width, share in zip(Loss, truth, half, shares, strict=True)
    )
    print(f"S={seeds}, seed SD {seed_sd}: {told}")
    assert (shares >= 0.92).all(), "0.95 less three standard errors of 500 repetitions"
    assert (shares <= 0.995).all()


@pytest.mark.parametrize(("seeds", "states"), [(3, 100), (3, 300), (5, 300)])
def test_the_likeliest_loss_is_the_largest_as_often_as_its_probability_says(seeds: int, states: int) -> None:
    """Ladders of all shapes, ties among them."""
    random, repetitions = np.random.default_rng(31), 500
    probability, right = np.zeros(repetitions), np.zeros(repetitions, dtype=bool)
    for index in range(repetitions):
        difficulty, seed_sd = random.choice([0.0, DIFFICULTY]), random.choice([0.05, 0.17, 0.3])
        shares = random.dirichlet(random.choice([0.4, 1.0, 3.0]) * np.ones(3))
        logits = random.uniform(0.5, 5) - np.concatenate([[0.0], np.cumsum(shares)]) * random.uniform(0, 6)
        truth = losses(logits, difficulty, seed_sd)
        found = draw(random, logits, seeds=seeds, states=states, difficulty=difficulty, seed_sd=seed_sd)
        largest = np.bincount(found.draws(1000, seed=index).argmax(axis=1), minlength=3) / 1000
        probability[index], right[index] = largest.max(), largest.argmax() == truth.argmax()
    for low, high in [(0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)]:
        inside = (probability >= low) & (probability < high)
        print(
            f"S={seeds}, {states} states, P {low} to {min(high, 1)}: said {probability[inside].mean():.2f}, "
            f"right {right[inside].mean():.2f} of {inside.sum()}"
        )
    sure = probability >= 0.9
    assert right[sure].mean() >= 0.95
    assert sure.sum() > 100
    unsure = ~sure
    assert right[unsure].mean() == pytest.approx(probability[unsure].mean(), abs=0.1)
