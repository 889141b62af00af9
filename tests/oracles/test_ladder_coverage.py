"""Whether the intervals and probabilities of a ladder hold, by simulation; benchmarks/ladder.py has the whole table."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, ndtri

from compression_gap.statistics import Ladder, Rung, ladder

QUANTILES = ndtri((np.arange(400) + 0.5) / 400)
DIFFICULTY, SEED_SD = 1.5, 0.2  # SD between initial states and between seeds, in log-odds
REPETITIONS = 150


def draw(random: np.random.Generator, logits: np.ndarray, seeds: int) -> Ladder:
    """Easy and hard initial states, the same ones for all rungs."""
    hard = random.normal(0, DIFFICULTY, size=200)

    def rung(logit: float) -> Rung:
        return Rung(random.random((seeds, 200)) < expit(logit + hard + random.normal(0, SEED_SD, size=(seeds, 1))))

    expert = Rung(random.random((1, 200)) < expit(logits[0] + hard), trained=False)
    return ladder(expert=expert, replay=rung(logits[1]), state=rung(logits[2]), policy=rung(logits[3]))


def losses(logits: np.ndarray) -> np.ndarray:
    """The truth, over all initial states and seeds."""
    spread = np.array([DIFFICULTY, *[np.hypot(DIFFICULTY, SEED_SD)] * 3])
    return -100 * np.diff(expit(logits[:, None] + spread[:, None] * QUANTILES).mean(axis=1))


def test_the_intervals_of_the_losses_cover() -> None:
    """Rungs at 95, 61, 50 and 39 %, three seeds."""
    random, logits = np.random.default_rng(30), np.array([3.9, 0.6, 0.0, -0.6])
    found = [draw(random, logits, 3).losses.values() for _ in range(REPETITIONS)]
    ends = np.array([[(estimate.low, estimate.high) for estimate in each] for each in found])
    shares = ((ends[..., 0] <= losses(logits)) & (losses(logits) <= ends[..., 1])).mean(axis=0)
    assert (shares >= 0.90).all(), "0.95 less three standard errors"
    assert shares.mean() <= 0.99


def test_the_likeliest_loss_is_the_largest_as_often_as_its_probability_says() -> None:
    """Ladders of all shapes, ties among them."""
    random = np.random.default_rng(31)
    probability, right = np.zeros(REPETITIONS), np.zeros(REPETITIONS, dtype=bool)
    for index in range(REPETITIONS):
        shares = random.dirichlet(random.choice([0.4, 1.0, 3.0]) * np.ones(3))
        logits = random.uniform(0.5, 5) - np.concatenate([[0.0], np.cumsum(shares)]) * random.uniform(0, 6)
        largest = np.bincount(draw(random, logits, 4).draws(1000, seed=index).argmax(axis=1), minlength=3) / 1000
        probability[index], right[index] = largest.max(), largest.argmax() == losses(logits).argmax()
    sure = probability >= 0.9
    assert sure.sum() > REPETITIONS / 4
    assert right[sure].mean() >= 0.9
    assert right[~sure].mean() < 0.9, "doubt is not for nothing"
