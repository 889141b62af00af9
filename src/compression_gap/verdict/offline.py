"""Where the bottleneck is, without a rollout: from reconstruction errors, retrained heads and code lengths.

A part is a bottleneck if upgrading it helps: if the predicted gain is above a threshold. The verdict commits to a label
only if that is decided for every part that could change the label; else it is `undetermined`, and says what would
settle it. Nominal bits decide nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from compression_gap.config import counted
from compression_gap.data.split import ENOUGH, FEWEST_DEMONSTRATIONS
from compression_gap.measures.clusters import LEVEL, cluster_mean
from compression_gap.measures.quantity import Quantity, mean_over_demonstrations
from compression_gap.verdict.label import SURE, Label, doubtful, likeliest
from compression_gap.verdict.prediction import (
    MISSED,
    PARTS,
    UNKNOWN,
    Arms,
    Gain,
    Part,
    Reconstruction,
    Unit,
    predict_bits,
    predict_gains,
)
from compression_gap.verdict.success_curve import SuccessCurve

THRESHOLD: dict[Unit, float] = {"points": 5.0, "share of the distortion": 0.1}
"""A gain that counts."""
FAR = 2.0
"""Times the error of the same features without the code, and of the code itself, above which a head has not learned."""
MANY = 100.0
"""Times the demonstrations, above which more of them are no advice."""
NEVER = 1e-10  # variance of scaled actions below which they never change
DISTORTION = "mean squared error of a scaled action value"


@dataclass(frozen=True)
class OfflineEvidence:
    """What was measured on the test chunks."""

    arms: Arms
    reconstruction: Reconstruction | None
    """Of the test chunks by the pipeline's own code and by the candidate; None without a code."""
    variance: float
    """Of a scaled action value; errors are told as a share of it."""
    entropy: Quantity | None = None
    """Upper bound on the bits of the pipeline's own codes, H(T); None where it was not measured."""
    curve: SuccessCurve | None = None
    """How success falls with distortion; None without a simulator."""
    episode: Int[np.ndarray, " N"] | None = None
    """For the curve: over which chunks errors are averaged before they become success. None: each chunk alone."""
    nothing: Float[np.ndarray, " N"] | None = None
    """Mean squared errors of the test chunks for who knows nothing and executes the mean training chunk; None where
    they were not measured."""
    without_code: Float[np.ndarray, " M"] | None = None
    """Mean squared errors of a regression on the same features, on M test chunks; None without a code, or where they
    were not measured."""


@dataclass(frozen=True)
class OfflineVerdict:
    """A label with its evidence, its probability, and what would settle an undetermined case."""

    label: Label
    probability: float | None
    """Of the label; for `undetermined` of the likeliest other one, `leaning`. None where nothing can be said."""
    leaning: Label | None
    """The likeliest label where the verdict does not commit; None where it does, or where nothing can be said."""
    reason: str
    """One sentence for a reader."""
    settle: str
    """The measurement that would settle it; empty where the verdict commits."""
    unit: Unit
    helps: dict[Part, float | None]
    """Probability that upgrading a part helps; None where it is not known."""
    gains: dict[Part, Quantity]
    """Predicted gains with 90 % intervals; without a value, and with the reason, where they are not known."""
    evidence: dict[str, Quantity]
    """What was measured: D_tok, D_pol, D_resid and code lengths, each with its kind."""


def offline_verdict(evidence: OfflineEvidence) -> OfflineVerdict:
    """Judges by predicted gains: in points where there is a distortion-success curve, else in distortion."""
    unit: Unit = "share of the distortion" if evidence.curve is None else "points"
    measured = _measured(evidence)
    if (missing := _too_little(evidence)) is not None:
        return _silent(*missing, missing[0], unit, measured)
    if (unlearned := _has_not_learned(evidence)) is not None:
        return _silent(unlearned, SETTLES_HEADS, NOT_LEARNED, unit, measured)
    gains = predict_gains(evidence.arms, evidence.reconstruction, evidence.curve, evidence.episode)
    helps: dict[Part, float | None] = {part: _helps(part, gains, evidence, unit) for part in PARTS}
    quantities: dict[Part, Quantity] = {
        part: gain.quantity if gain else Quantity(None, "estimate", unit, "nothing", note=UNKNOWN[part])
        for part, gain in gains.items()
    }
    if (ignorant := _knows_nothing(evidence)) is not None:  # it may say what surely helps, and denies nothing
        helps = {part: share if share is not None and share >= SURE else None for part, share in helps.items()}
    if evidence.arms.own.of_few and unit == "share of the distortion" and (helps["data"] or 0.0) < SURE:
        helps["data"] = None  # a curve of so few says what surely helps, and denies nothing
    label, probability = likeliest(helps)
    open_parts = doubtful(helps, label)
    sure: list[Part] = [part for part in PARTS if (helps[part] or 0.0) >= SURE]
    take = f"{' and '.join(_TAKEN[part] for part in sure)}, and audit again" if sure else ""
    surely = "".join(f"{_HELP[part]} surely; " for part in sure)
    if ignorant is not None:
        reason, settle = f"{surely}{ignorant[0]}", take or ignorant[1]
    elif open_parts:
        also = " too" if sure else ""
        reason = (
            f"{surely}whether a better {' or '.join(_NAMES[part] for part in open_parts)} helps{also} is not decided"
        )
        unknown = [f"{_NAMES[part]}: {UNKNOWN[part]}" for part in open_parts if gains[part] is None]
        own = evidence.arms.own
        tested = None if own.division is not None else len(np.unique(own.demonstration))
        more = [what_settles(part, gain, tested) for part in open_parts if (gain := gains[part]) is not None]
        settle = "; ".join([*unknown, *([take] if take else more)])
    elif label == "none: saturated" and (unasked := _without_code_errs_less(evidence, unit)) is not None:
        return OfflineVerdict("undetermined", None, None, unasked, SETTLES_CODE, unit, helps, quantities, measured)
    else:
        reason = _reason(label, quantities, unit)
        return OfflineVerdict(label, probability, None, reason, "", unit, helps, quantities, measured)
    known = ignorant is None and all(share is not None for share in helps.values())
    leaning = (probability, label) if known else (None, None)
    return OfflineVerdict("undetermined", *leaning, reason, settle, unit, helps, quantities, measured)


_NAMES: dict[Part, str] = {"encoder": "encoder", "codebook": "code", "data": "policy or more data"}
_HELP: dict[Part, str] = {
    "encoder": "a better encoder helps",
    "codebook": "a finer code helps",
    "data": "more demonstrations help",
}
_TAKEN: dict[Part, str] = {
    "encoder": "use the better encoder, which surely helps",
    "codebook": "use a finer code, which surely helps",
    "data": "record more demonstrations, which surely help",
}
SETTLES_NOTHING = (
    "features that tell more, the true state, or heads that learn longer (a larger --budget); if heads told the state "
    "err as much, the actions have several ways to go, which a squared error cannot judge: then only success in a "
    "simulator or on the robot tells"
)


SETTLES_CODE = "a policy without the code, or one over it that is larger or trained longer, made and measured"
NOT_LEARNED = "not known: the head has not learned to predict the code"
SETTLES_HEADS = "heads that learn longer (a larger --budget), more demonstrations, or the policy itself in a simulator"


def _silent(reason: str, settle: str, note: str, unit: Unit, measured: dict[str, Quantity]) -> OfflineVerdict:
    """Nothing can be said, and `note` stands in place of the gains."""
    gains: dict[Part, Quantity] = {part: Quantity(None, "estimate", unit, "nothing", note=note) for part in PARTS}
    return OfflineVerdict("undetermined", None, None, reason, settle, unit, dict.fromkeys(PARTS), gains, measured)


def _measured(evidence: OfflineEvidence) -> dict[str, Quantity]:
    arms, demonstration = evidence.arms, evidence.arms.own.demonstration

    def mean(values: Float[np.ndarray, "seeds N"], kind: Literal["estimate", "upper bound"], unit: str) -> Quantity:
        return mean_over_demonstrations(values, demonstration, kind=kind, unit=unit)

    executed = arms.own.errors[-1]
    measured = {"D_pol": mean(executed, "estimate", DISTORTION)}
    if evidence.reconstruction is not None:
        measured["D_tok"] = mean(evidence.reconstruction.own[None], "estimate", DISTORTION)
        measured["D_resid"] = mean(executed - evidence.reconstruction.own, "estimate", DISTORTION)
        if evidence.reconstruction.other is not None:
            measured["D_tok, larger code"] = mean(evidence.reconstruction.other[None], "estimate", DISTORTION)
    for name, other in {"better encoder": arms.encoder, "larger code": arms.codebook}.items():
        if other is not None:
            measured[f"D_pol, {name}"] = mean(other.errors[-1], "estimate", DISTORTION)
    if arms.own.bits is not None:
        measured["CE(T | Z)"] = mean(arms.own.bits[-1], "upper bound", "bits a chunk")
    if arms.encoder is not None and arms.encoder.bits is not None:
        measured["CE(T | better Z)"] = mean(arms.encoder.bits[-1], "upper bound", "bits a chunk")
    gap = predict_bits(arms)
    if gap is not None:
        measured["bits that a better encoder adds"] = gap
    if evidence.entropy is not None:
        measured["H(T)"] = evidence.entropy
    return measured


def _too_little(evidence: OfflineEvidence) -> tuple[str, str] | None:
    """Why no verdict is possible at all, and what to do; None if one is."""
    own = evidence.arms.own
    tested = len(np.unique(own.demonstration))
    if tested < FEWEST_DEMONSTRATIONS:
        there = counted(tested, "demonstration")
        reason = f"too little data: {there} to test on, at least {FEWEST_DEMONSTRATIONS} are needed"
        return reason, f"give at least {ENOUGH} demonstrations that are as long as a chunk"
    if evidence.variance < NEVER:
        return (
            "the actions never change, so there is nothing to predict",
            "give demonstrations in which something moves",
        )
    return None


def _knows_nothing(evidence: OfflineEvidence) -> tuple[str, str] | None:
    """Why what the policy lacks cannot be told from what nobody can predict, and what would tell; None if it surely
    errs less than who knows nothing. Where the same features without the code do, its head has not learned the code."""
    if evidence.nothing is None:
        return None
    own = evidence.arms.own
    gap = cluster_mean(evidence.nothing - own.errors[-1], own.demonstration)
    alone = max(float(evidence.nothing.mean()), NEVER)
    sampled = (gap.high - gap.low) / (2 * float(ndtri(0.5 + LEVEL / 2)))
    missed = MISSED["share of the distortion"]["encoder"].absolute * alone  # nothing at all is told by so little
    if ndtr(gap.value / math.hypot(sampled, missed)) >= SURE:
        return None
    error, of_all = float(own.errors[-1].mean()), 100 / max(evidence.variance, NEVER)
    told = (
        f"the policy errs {of_all * error:.1f} % of the variance, one who knows nothing and executes the mean action "
        f"{of_all * alone:.1f} %"
    )
    if evidence.without_code is not None:
        free = float(evidence.without_code.mean())
        if free < (1 - THRESHOLD["share of the distortion"]) * min(error, alone):
            more = f"the same features without the code {of_all * free:.1f} %: it has not learned to predict the code"
            return f"{told}, and {more}", SETTLES_HEADS
    return f"{told}, so what it lacks cannot be told from what nobody can predict", SETTLES_NOTHING


def _has_not_learned(evidence: OfflineEvidence) -> str | None:
    """Why nothing follows from a head that cannot predict its code yet; None if it errs about as much as the same
    features allow without the code, and the code itself, together."""
    if evidence.without_code is None or evidence.reconstruction is None:
        return None
    read_back = float(evidence.reconstruction.own.mean())
    return not_learned(float(evidence.arms.own.errors[-1].mean()), float(evidence.without_code.mean()), read_back)


def not_learned(error: float, without_code: float, read_back: float) -> str | None:
    """Why a head with this error has not learned its code, beside the error of a regression on the same features and
    that of the code itself; None if it has."""
    times = error / max(without_code + read_back, NEVER)
    if times <= FAR:
        return None
    return (
        f"the head errs {times:.1f} times what the same features without the code, and the code itself, err together: "
        "it has not learned to predict the code"
    )


def _without_code_errs_less(evidence: OfflineEvidence, unit: Unit) -> str | None:
    """Why a policy that no upgrade helps may still not be saturated; None if it errs about as little as the same
    features allow without its code. Doing without it is no upgrade that was calibrated, so this only abstains."""
    if evidence.without_code is None or evidence.reconstruction is None or unit == "points":
        return None
    own = max(float(evidence.arms.own.errors[-1].mean()), NEVER)
    less = 1 - float(evidence.without_code.mean()) / own
    if less <= THRESHOLD[unit]:
        return None
    return (
        "neither a better encoder nor a finer code nor more demonstrations are predicted to help, but the same "
        f"features without the code err {100 * less:.0f} % less"
    )


def _helps(part: Part, gains: dict[Part, Gain | None], evidence: OfflineEvidence, unit: Unit) -> float | None:
    """Probability that upgrading a part helps; None where it is not known.

    Without a code there is none to enlarge. Where an encoder's gain is not known, it is at most what the policy loses
    beyond its code: if even all of that is less than the threshold, no encoder helps.
    """
    gain = gains[part]
    if gain is not None:
        return gain.helps(THRESHOLD[unit])
    if part == "codebook" and evidence.reconstruction is None:
        return 0.0
    if part == "encoder":
        own = evidence.arms.own.errors[-1:]
        perfect = (
            np.zeros_like(own) if evidence.reconstruction is None else np.minimum(own, evidence.reconstruction.own)
        )
        if evidence.curve is None:
            most = 1 - float(perfect.mean()) / max(float(own.mean()), NEVER)
        else:
            rates = [evidence.curve.points(errors, evidence.episode).mean() for errors in (perfect, own)]
            most = float(rates[0] - rates[1])
        if most < THRESHOLD[unit]:
            return 0.0
    return None


def _reason(label: Label, gains: dict[Part, Quantity], unit: Unit) -> str:
    if label == "none: saturated":
        return f"no upgrade is predicted to gain more than {_amount(THRESHOLD[unit], unit)}"
    best: list[Part] = [part for part in PARTS if gains[part].value is not None]
    best.sort(key=lambda part: -(gains[part].value or 0.0))
    told = ", ".join(f"{_NAMES[part]} {_amount(gains[part].value or 0.0, unit)}" for part in best)
    return f"predicted gains: {told}"


def _amount(value: float, unit: Unit) -> str:
    return f"{value:.1f} points" if unit == "points" else f"{100 * value:.0f} % of the policy's error"


def what_settles(part: Part, gain: Gain, tested: int | None) -> str:
    """What would decide whether a part helps: so many demonstrations, or nothing but the upgrade. `tested` None: so
    few that heads of several divisions were tested."""
    half = float(ndtri(0.95)) * gain.spread
    seems = f"{_NAMES[part]}: the gain is {_amount(gain.value, gain.unit)}, give or take {_amount(half, gain.unit)}"
    if tested is None:
        return f"{seems}: more demonstrations to test on, or the upgrade itself, made and measured"
    times = gain.more(THRESHOLD[gain.unit], SURE)
    if times is None or times > MANY:
        return f"{seems}: only the upgrade itself, made and measured, tells; predictions are not that exact"
    needed = -(-round(times * tested) // 10) * 10
    return f"{seems}: about {needed} demonstrations to test on (every seventh), not {tested}, or the upgrade itself"
