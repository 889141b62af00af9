"""What an upgrade will buy, said before the upgraded policy is rolled out once.

Only heads are retrained: over the features of another encoder, through another code, or on less of the data. Gains are
differences on the same test demonstrations. Intervals are 90 %: over demonstrations, head seeds and replays, and as
wide again as predictions missed by where every upgrade was really made (`benchmarks/calibration.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from compression_gap.measures.quantity import BITS, Quantity, mean_over_demonstrations
from compression_gap.seeds import seed_of
from compression_gap.verdict.heads import Executed
from compression_gap.verdict.success_curve import SuccessCurve

Part = Literal["encoder", "codebook", "data"]
PARTS: tuple[Part, ...] = ("encoder", "codebook", "data")
Unit = Literal["points", "share of the distortion"]

DRAWS = 400
LEVEL = 0.9
OVER = "90 %: other demonstrations, head seeds or divisions if several, and what predictions missed by elsewhere"
UNKNOWN: dict[Part, str] = {
    "encoder": "not known: give a candidate's features (--features or --encoder a second time) or the true state",
    "codebook": "not known: give a larger code, or let the head do without a code",
    "data": "not known: the learning curve was not measured at a quarter and at half of the demonstrations",
}


@dataclass(frozen=True)
class Missed:
    """How predictions of one kind missed on pipelines of the calibration that were looked at before."""

    factor: float
    """Times what the heads gain. From half the data to all of it they gain more than from there to twice as much."""
    relative: float
    """Standard deviation, as a share of what the heads gain or lose."""
    absolute: float
    """Standard deviation, in the gain's unit."""
    few: float
    """The same, where demonstrations are few (`Executed.of_few`)."""


MISSED: dict[Unit, dict[Part, Missed]] = {
    "points": {
        "encoder": Missed(1.0, 0.1, 0.7, few=1.0),
        "codebook": Missed(1.0, 0.15, 0.8, few=1.5),
        "data": Missed(0.65, 0.1, 0.5, few=2.0),
    },
    "share of the distortion": {
        "encoder": Missed(1.0, 0.1, 0.01, few=0.04),
        "codebook": Missed(1.0, 0.15, 0.025, few=0.05),
        "data": Missed(0.5, 0.1, 0.015, few=0.06),
    },
}
DIVIDED: dict[Unit, Missed] = {
    "points": replace(MISSED["points"]["data"], factor=0.75, relative=0.3),
    "share of the distortion": replace(MISSED["share of the distortion"]["data"], factor=0.6, relative=0.3),
}
"""Of more data, where heads of several divisions are tested, because there are few: learning curves are steeper."""


@dataclass(frozen=True)
class Arms:
    """What heads would execute on the same test chunks: as the pipeline is, and with candidates for its parts.

    Raises ValueError if they were not tested on the same chunks, or an error is not a finite number.
    """

    own: Executed
    encoder: Executed | None = None
    """Over the features of a candidate encoder, or over states, through the pipeline's own code."""
    codebook: Executed | None = None
    """Over the pipeline's own features, through a candidate code, or a regression."""

    def __post_init__(self) -> None:
        for name in ("own", "encoder", "codebook"):
            other: Executed | None = getattr(self, name)
            if other is not None and not np.isfinite(other.errors).all():
                raise ValueError(f"{name}: expected finite errors, got NaN or infinite ones; look at actions and code")
            if other is not None and not np.array_equal(other.rows, self.own.rows):
                raise ValueError(
                    f"{name}: expected heads tested on the same {len(self.own.rows)} chunks as the pipeline's own, "
                    f"got {len(other.rows)} that are not all the same; give all heads the same demonstrations"
                )


@dataclass(frozen=True)
class Gain:
    """What an upgrade of one part is predicted to buy, in one unit."""

    part: Part
    value: float
    spread: float
    """Standard deviation, of everything that is not known."""
    unit: Unit

    def helps(self, threshold: float) -> float:
        """Probability that the gain is above a threshold, the error being normal."""
        return float(ndtr((self.value - threshold) / self.spread))

    def more(self, threshold: float, sure: float) -> float | None:
        """How many times as many demonstrations to test on would make it `sure` on which side of a threshold the gain
        is, if it is what it seems. None if no number would: predictions missed by as much where the truth was known."""
        missed = MISSED[self.unit][self.part]
        always = (missed.relative * self.value / missed.factor) ** 2 + missed.absolute**2
        wanted = ((self.value - threshold) / float(ndtri(sure))) ** 2
        return None if wanted <= always else max(1.0, (self.spread**2 - always) / (wanted - always))

    @property
    def quantity(self) -> Quantity:
        """The estimate with its 90 % interval."""
        half = float(ndtri((1 + LEVEL) / 2)) * self.spread
        most = np.inf if self.unit == "points" else 1.0  # more than all of an error cannot go away
        high = max(self.value, min(self.value + half, most))
        return Quantity(self.value, "estimate", self.unit, OVER, self.value - half, high)


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared errors of the test chunks as codes read them."""

    own: Float[np.ndarray, " N"]
    """The pipeline's own code."""
    other: Float[np.ndarray, " N"] | None = None
    """The candidate's; zeros for a candidate without a code; None without a candidate."""


def predict_gains(
    arms: Arms,
    reconstruction: Reconstruction | None = None,
    curve: SuccessCurve | None = None,
    episode: Int[np.ndarray, " N"] | None = None,
) -> dict[Part, Gain | None]:
    """The gain of every upgrade; None for a part without a candidate (`UNKNOWN` says what to give).

    With a curve gains are in points, and errors are averaged over each `episode` (None: a chunk is one) before they
    become success; without one, in shares of the pipeline's own distortion that go away.

    A code's gain is the larger of what heads gain by it, and what its reconstruction lets expect (`_left`).
    """
    versions = 1 if curve is None else len(curve.success)
    unit: Unit = "share of the distortion" if curve is None else "points"
    scale = max(float(arms.own.errors[-1].mean()), 1e-12)

    def worth(one: Executed, draw: int) -> Float[np.ndarray, "fractions seeds N"]:
        return -one.errors / scale if curve is None else curve.points(one.errors, episode, draw)

    own = _resampled(arms.own, worth, versions, "own")
    gains: dict[Part, Gain | None] = dict.fromkeys(PARTS)
    if arms.encoder is not None:
        gains["encoder"] = _gain(
            "encoder", _resampled(arms.encoder, worth, versions, "encoder")[:, -1] - own[:, -1], unit, arms.own
        )
    ways = []
    if arms.codebook is not None:
        ways.append(_resampled(arms.codebook, worth, versions, "codebook")[:, -1] - own[:, -1])
    if reconstruction is not None and reconstruction.other is not None:
        expected = replace(arms.own, errors=arms.own.errors * _left(arms.own, reconstruction))
        ways.append(_resampled(expected, worth, versions, "own")[:, -1] - own[:, -1])
    if ways:
        gains["codebook"] = _gain("codebook", max(ways, key=lambda draws: draws[0]), unit, arms.own)
    if 0.5 in arms.own.fractions:
        gains["data"] = _gain("data", own[:, -1] - own[:, arms.own.fractions.index(0.5)], unit, arms.own)
    return gains


def _left(own: Executed, reconstruction: Reconstruction) -> float:
    """The share of the distortion that is expected to be left with the candidate code.

    What it reconstructs better counts as far as the distortion is the own code's: D_tok / D_pol. The rest is lost to
    the policy, which has more to choose from. Found on pipelines in which both were measured; no theorem.
    """
    assert reconstruction.other is not None, "without a candidate there is nothing to expect"
    executed = max(float(own.errors[-1].mean()), 1e-12)
    tokenizer, other = float(reconstruction.own.mean()), float(reconstruction.other.mean())
    return max(0.0, 1 - min(1.0, tokenizer / executed) * (tokenizer - other) / executed)


def predict_bits(arms: Arms) -> Quantity | None:
    """Bits about the pipeline's code that a candidate encoder gives more, by code lengths; None without candidate or
    code. The interval is 95 %."""
    if arms.encoder is None or arms.encoder.bits is None or arms.own.bits is None:
        return None
    gap = arms.own.bits[-1] - arms.encoder.bits[-1]
    return mean_over_demonstrations(gap, arms.own.demonstration, kind="estimate", unit=BITS)


def _gain(part: Part, draws: Float[np.ndarray, " draws"], unit: Unit, tested: Executed) -> Gain:
    """The first draw is the estimate itself.

    Where heads lose by an upgrade, the prediction is no gain: small heads pay for a larger code what policies did not
    pay where the truth was known, and an upgrade that harms need not be kept.
    """
    most = np.inf if unit == "points" else 1.0  # more than all of an error cannot go away
    missed, gained = MISSED[unit][part], min(float(draws[0]), most)
    if part == "data" and tested.division is not None:
        missed = DIVIDED[unit]
    if gained < 0:
        gained, draws = 0.0, np.maximum(draws, 0.0)  # how much would be lost says nothing about how sure that is
    always = missed.few if tested.of_few else missed.absolute
    spread = math.hypot(missed.factor * float(draws[1:].std()), missed.relative * gained, always)
    return Gain(part, missed.factor * gained, spread, unit)


def _resampled(
    one: Executed,
    worth: Callable[[Executed, int], Float[np.ndarray, "fractions seeds N"]],
    versions: int,
    name: str,
) -> Float[np.ndarray, "draws fractions"]:
    """Mean worth along the learning curve: as it is, then with demonstrations, seeds and `versions` of the distortion-
    success curve drawn again.

    The same demonstrations are drawn for all arms, because their gains are differences; seeds are each arm's own.
    """
    _, cluster = np.unique(one.demonstration, return_inverse=True)
    count, seeds = int(cluster.max()) + 1, one.errors.shape[1]
    drawn = _drawn(cluster, np.zeros_like(cluster) if one.division is None else one.division)
    chosen = (
        np.random.default_rng(seed_of("head seeds", name)).multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    )
    drawn = np.concatenate([np.ones((1, count)), drawn])
    chosen = np.concatenate([np.full((1, seeds), 1 / seeds), chosen])
    sizes = drawn @ np.bincount(cluster)
    means = np.empty((DRAWS + 1, len(one.fractions)))
    kept: dict[int, np.ndarray] = {}
    for draw in range(DRAWS + 1):
        number = draw % versions
        if number not in kept:
            values = worth(one, number)
            flat = values.reshape(-1, values.shape[2])
            kept[number] = np.stack([np.bincount(cluster, row) for row in flat]).reshape(*values.shape[:2], count)
        means[draw] = np.einsum("fsc,s,c->f", kept[number], chosen[draw], drawn[draw]) / sizes[draw]
    return means


def _drawn(cluster: Int[np.ndarray, " N"], division: Int[np.ndarray, " N"]) -> Int[np.ndarray, "draws C"]:
    """How often every demonstration is drawn: first divisions, because heads that learned from others err otherwise by
    luck, and then, for each time that one is drawn, demonstrations of it. With replacement at both stages that is wider
    than either alone, and meant to be: divisions share what they learn from, which no resampling shows (of two
    stages, Davison & Hinkley 1997, section 3.8)."""
    rng, count = np.random.default_rng(0), int(cluster.max()) + 1
    names = np.unique(division)
    times = np.ones((DRAWS, 1), dtype=np.int64)
    if len(names) > 1:
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    drawn = np.zeros((DRAWS, count), dtype=np.int64)
    for often, name in zip(times.T, names, strict=True):
        members = np.unique(cluster[division == name])
        drawn[:, members] = rng.multinomial(often * len(members), np.full(len(members), 1 / len(members)))
    return drawn
