"""Do the intervals of a ladder cover, do its probabilities mean what they say, and are its verdicts right?

    OMP_NUM_THREADS=1 python benchmarks/ladder.py

Initial states are easy or hard, the same ones for all rungs of a ladder; they and the seeds are drawn afresh in every
repetition, and the truth is over all of them. Expected: 95 % intervals that cover 92 to 98 %; of the ladders whose
likeliest loss has a probability of .9 and more, at least 90 % name the largest; verdicts right in at least 95 %.
"""

from collections import Counter

import numpy as np
from scipy.special import expit, ndtri

from compression_gap.statistics import Bound, Loss, Rung, bottleneck, ladder
from compression_gap.statistics.bottleneck import BOUND_BY, DELTA

REPETITIONS = 500
QUANTILES = ndtri((np.arange(400) + 0.5) / 400)
DIFFICULTY = 1.5  # SD between initial states, in log-odds


def draw(random, logits, *, seeds, states, difficulty, seed_sd):
    hard = random.normal(0, difficulty, size=states)

    def rung(logit):
        return Rung(random.random((seeds, states)) < expit(logit + hard + random.normal(0, seed_sd, size=(seeds, 1))))

    expert = Rung(random.random((1, states)) < expit(logits[0] + hard), trained=False)
    return ladder(expert=expert, replay=rung(logits[1]), state=rung(logits[2]), policy=rung(logits[3]))


def losses(logits, difficulty, seed_sd):
    """The truth over all initial states and seeds."""
    spread = np.array([difficulty, *[np.hypot(difficulty, seed_sd)] * 3])
    return -100 * np.diff(expit(logits[:, None] + spread[:, None] * QUANTILES).mean(axis=1))


RUNGS = {
    "99, 99, 78, 25 %": np.array([5.8, 5.2, 1.6, -1.5]),
    "95, 61, 50, 39 %": np.array([3.9, 0.6, 0.0, -0.6]),
}


def coverage():
    print("| rungs | seeds | seed SD, log-odds | coverage | mean half-width, points |\n|---|---|---|---|---|")
    for name, rungs in RUNGS.items():
        for seeds in (3, 5):
            for seed_sd in (0.05, 0.17, 0.3):
                random, truth = np.random.default_rng(30), losses(rungs, DIFFICULTY, seed_sd)
                setting = {"seeds": seeds, "states": 300, "difficulty": DIFFICULTY, "seed_sd": seed_sd}
                found = [draw(random, rungs, **setting).losses.values() for _ in range(REPETITIONS)]
                ends = np.array([[(estimate.low, estimate.high) for estimate in each] for each in found])
                shares = ((ends[..., 0] <= truth) & (truth <= ends[..., 1])).mean(axis=0)
                half = np.diff(ends, axis=-1).mean(axis=0)[:, 0] / 2
                told = (
                    " / ".join(f"{value:{form}}" for value in values)
                    for values, form in ((shares, ".3f"), (half, ".1f"))
                )
                print(f"| {name} | {seeds} | {seed_sd} | {' | '.join(told)} |", flush=True)


def right(found, truth):
    """Whether a committed verdict holds of the true losses."""
    if found.label is Bound.NONE:
        return truth.max() < DELTA
    if found.label is Bound.SEVERAL:
        return (truth > DELTA).sum() > 1
    return truth.max() > DELTA and BOUND_BY[list(Loss)[int(truth.argmax())]] is found.label


def verdicts():
    """Ladders of all shapes, ties among them."""
    print(
        "| seeds, states | P below .5 | .5 to .7 | .7 to .9 | .9 and more | commits | right |",
        "|---" * 7 + "|",
        sep="\n",
    )
    for seeds, states in ((3, 100), (3, 300), (5, 300)):
        random, labels, correct = np.random.default_rng(31), Counter(), Counter()
        probability, largest = np.zeros(REPETITIONS), np.zeros(REPETITIONS, dtype=bool)
        for index in range(REPETITIONS):
            difficulty, seed_sd = random.choice([0.0, DIFFICULTY]), random.choice([0.05, 0.17, 0.3])
            shares = random.dirichlet(random.choice([0.4, 1.0, 3.0]) * np.ones(3))
            logits = random.uniform(0.5, 5) - np.concatenate([[0.0], np.cumsum(shares)]) * random.uniform(0, 6)
            truth = losses(logits, difficulty, seed_sd)
            found = bottleneck(draw(random, logits, seeds=seeds, states=states, difficulty=difficulty, seed_sd=seed_sd))
            probability[index] = found.largest[found.likeliest]
            largest[index] = found.likeliest is list(Loss)[int(truth.argmax())]
            labels[found.label] += 1
            correct[found.label] += found.label is not Bound.UNDETERMINED and right(found, truth)
        bins = [
            f"{largest[inside].mean():.2f} of {inside.sum()}"
            for low, high in ((0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 2))
            if (inside := (probability >= low) & (probability < high)).any()
        ]
        committed = REPETITIONS - labels[Bound.UNDETERMINED]
        told = f"{committed / REPETITIONS:.2f} | {correct.total() / committed:.2f}"
        print(f"| {seeds}, {states} | {' | '.join(bins)} | {told} |", flush=True)
        print("  ", ", ".join(f"{label} {correct[label]} of {count}" for label, count in labels.items()), flush=True)


if __name__ == "__main__":
    coverage()
    verdicts()
