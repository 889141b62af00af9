"""Where success is lost between the expert and one cell: four rungs, three losses, known together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import special

from compression_gap.statistics.intervals import LEVEL, Estimate, Scope
from compression_gap.statistics.outcomes import Outcomes, numbered

DRAWS = 20_000
METHOD = "t over training seeds and initial states"
NOTES = {1: "one seed: these checkpoints only", 2: "two seeds: a smoke test, not evidence"}


class Loss(StrEnum):
    """What success can be lost to, in the order in which the ladder goes down."""

    CODEBOOK = "codebook"
    POLICY = "policy or data"
    ENCODER = "encoder"


@dataclass(frozen=True, eq=False)
class Rung:
    """The episodes of one rung. Column i is the same initial state in every rung, and a row is a training seed.

    Raises ValueError if the episodes cannot be counted or have no stratum each.
    """

    success: Bool[np.ndarray, "seeds states"]

    strata: Shaped[np.ndarray, " states"] | None = None
    """A label for each initial state, such as its task; without it they are one stratum."""

    trained: bool = True
    """False for what no training seed touches: the expert, and a tokenizer that is not learned."""

    def __post_init__(self) -> None:
        _ = self.outcomes  # raises

    @property
    def outcomes(self) -> Outcomes:
        """The same, counted."""
        return Outcomes.from_episodes(self.success, self.strata, trained=self.trained)


@dataclass(frozen=True, eq=False)
class Ladder:
    """The losses of one cell, in points. They add up to what it lacks of the expert, and each may be negative."""

    losses: Mapping[Loss, Estimate]
    """Those that the cell can have, from the top down: without a code there is none of the codebook."""
    total: Estimate
    """Expert minus cell: the sum of the losses."""
    seeds: int
    """Training seeds, the fewest of the trained rungs."""
    states: int
    """Initial states."""
    weights: Float[np.ndarray, "losses rungs"]
    """Of the rungs' means in the losses."""
    spread: Spread
    """How uncertain those means are."""

    def draws(self, num: int = DRAWS, *, seed: int = 0) -> Float[np.ndarray, "draws losses"]:
        """What the losses may be together: each by its own t, coupled by the normal copula of their covariance.

        Two losses share the rung between them, so that where one is larger the other is smaller.
        """
        covariance = self.weights @ self.spread.covariance @ self.weights.T
        error = np.sqrt(np.diag(covariance))
        random, correlation = np.random.default_rng(seed), covariance / np.outer(error, error)
        normal = random.multivariate_normal(np.zeros(len(error)), correlation, size=num, method="eigh")
        freedom = np.array([self.spread.freedom(row) for row in self.weights])
        values = np.array([loss.value for loss in self.losses.values()])
        return values + error * special.stdtrit(freedom, special.ndtr(normal))

    def error(self, weights: Float[np.ndarray, " losses"], *, seeds: int, states: int) -> tuple[float, float]:
        """Standard error and degrees of freedom that a weighted sum of the losses has with so many seeds and states."""
        rungs = weights @ self.weights
        spread = self.spread.of_size(seeds / self.seeds, states / self.states)
        return spread.error(rungs), spread.freedom(rungs)


@dataclass(frozen=True, eq=False)
class Spread:
    """Variances of the rungs' means: over seeds, for each rung by itself, and over initial states, which they share."""

    seeds: Float[np.ndarray, " rungs"]
    """What seeds differ by, and what keeps an interval from being empty where all episodes agree."""
    seed_freedom: Float[np.ndarray, " rungs"]
    noise: Float[np.ndarray, " rungs"]
    """What single episodes differ by beyond their seed and their initial state."""
    states: Float[np.ndarray, "rungs rungs"]
    """What initial states differ by."""
    state_freedom: float

    @property
    def covariance(self) -> Float[np.ndarray, "rungs rungs"]:
        return np.diag(self.seeds + self.noise) + self.states

    def error(self, weights: Float[np.ndarray, " rungs"]) -> float:
        """Standard error of a weighted sum of the means."""
        return float(np.sqrt(max(weights @ self.covariance @ weights, weights**2 @ self.seeds)))

    def freedom(self, weights: Float[np.ndarray, " rungs"]) -> float:
        """Degrees of freedom of that error after Satterthwaite (1946)."""
        seeds = weights**2 * (self.seeds + self.noise)
        states = weights @ (self.states + np.diag(self.noise)) @ weights
        unknown = (seeds**2 / self.seed_freedom).sum() + states**2 / self.state_freedom
        return float(self.error(weights) ** 4 / unknown)

    def of_size(self, seeds: float, states: float) -> Spread:
        """With so many times the seeds and initial states."""
        return Spread(
            self.seeds / seeds,
            (self.seed_freedom + 1) * seeds - 1,
            self.noise / (seeds * states),
            self.states / states,
            self.state_freedom * states,
        )


def ladder(*, expert: Rung, replay: Rung | None, state: Rung, policy: Rung | None, level: float = LEVEL) -> Ladder:
    """From the expert down to one cell, with intervals over training seeds and initial states.

    replay: the expert's chunks through the code; None for a method without one.
    state: the cell's method on the true state.
    policy: the cell; None if it is the one on the true state.

    A mean's variance is Welch's over its seeds, and beyond it what initial states differ by. Initial states are paired
    between rungs, so that of a loss only counts where its two rungs differ; seeds are not, although rungs of one seed
    may share a tokenizer: that errs on the wide side. With one seed the intervals are over initial states alone. Raises
    ValueError if the rungs were not judged on the same initial states, or a policy is not `trained`.
    """
    steps = {Loss.CODEBOOK: replay, Loss.POLICY: state, Loss.ENCODER: policy}
    known = {loss: rung for loss, rung in steps.items() if rung is not None}
    rungs = [expert, *known.values()]
    if len(sizes := {rung.success.shape[1] for rung in rungs}) > 1:
        raise ValueError(f"ladder: the rungs have {sorted(sizes)} episodes a seed; judge all on the same ones")
    if not all(rung.trained for rung in (state, policy) if rung is not None):
        raise ValueError("ladder: expected `state` and `policy` to be trained; only expert and replay may not be")
    seeds = min(len(rung.success) for rung in rungs if rung.trained)
    scope: Scope = "new training seeds and initial states" if seeds > 1 else "these checkpoints only"
    means = np.array([100 * rung.success.mean() for rung in rungs])
    spread = _spread(rungs)

    def estimate(weights: Float[np.ndarray, " rungs"]) -> Estimate:
        value, error = float(weights @ means), spread.error(weights)
        half = float(special.stdtrit(spread.freedom(weights), (1 + level) / 2)) * error
        low, high = max(value - half, -100.0), min(value + half, 100.0)
        return Estimate(value, low, high, "points", METHOD, scope, seeds, level, NOTES.get(seeds, ""))

    down = np.eye(len(rungs))
    weights = down[:-1] - down[1:]
    losses = {loss: estimate(row) for loss, row in zip(known, weights, strict=True)}
    return Ladder(losses, estimate(weights.sum(axis=0)), seeds, rungs[0].success.shape[1], weights, spread)


def _spread(rungs: Sequence[Rung]) -> Spread:
    by_state = np.stack([100 * rung.success.mean(axis=0) for rung in rungs])  # [rungs, states]
    strata = next((rung.strata for rung in rungs if rung.strata is not None), np.zeros(by_state.shape[1]))
    member = numbered(strata)
    inside = np.eye(member.max() + 1)[member]  # [states, strata]
    centred = by_state - (by_state @ inside / inside.sum(axis=0))[:, member]
    freedom = float(max(by_state.shape[1] - inside.shape[1], 1))
    among_states = centred @ centred.T / (freedom * by_state.shape[1])

    seeds, noise, seed_freedom = np.zeros(len(rungs)), np.zeros(len(rungs)), np.zeros(len(rungs))
    for index, rung in enumerate(rungs):
        counted, seed_freedom[index] = rung.outcomes, rung.success.size
        rollouts, one_episode = counted.sampling_variance("points"), (100 / rung.success.size) ** 2
        if rung.trained and counted.seeds > 1:
            between, noise[index] = float(counted.seed_values("points").var(ddof=1)), _noise(rung)
            seeds[index] = max(max(between, rollouts) / counted.seeds - noise[index], one_episode)
            if between > rollouts:
                seed_freedom[index] = counted.seeds - 1
        else:  # one pair more that differs, after Bonett and Price (2012)
            seeds[index] = max(rollouts / counted.seeds - among_states[index, index], (100 / by_state.shape[1]) ** 2)
    return Spread(seeds, seed_freedom, noise, among_states - np.diag(noise), freedom)


def _noise(rung: Rung) -> float:
    """Variance that single episodes give the mean of a rung: what their seed and their initial state do not explain."""
    success = 100.0 * rung.success
    left = success - success.mean(axis=1, keepdims=True) - success.mean(axis=0) + success.mean()
    seeds, states = success.shape
    return float((left**2).sum() / ((seeds - 1) * max(states - 1, 1) * success.size))
