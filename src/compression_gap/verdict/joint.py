"""The verdict of predicted gains and a ladder together: no part gains more than a perfect one would save.

A ladder's losses are what perfect parts would save, from the top down, and say little about an upgrade: of a code that
is far too coarse, twice as many tokens may save nothing as long as the encoder's noise fails the task anyway. But where
hardly anything is lost, nothing can be gained. So a part helps with the smaller of two probabilities: that its
predicted gain counts, and that its loss does. `benchmarks/calibration.py` shows what that is worth; only benchmarks
ask, because an audit has no ladder.
"""

from __future__ import annotations

from dataclasses import dataclass

from compression_gap.statistics.bottleneck import DELTA
from compression_gap.statistics.ladder import Ladder, Loss
from compression_gap.verdict.label import SURE, Label, doubtful, likeliest
from compression_gap.verdict.offline import OfflineVerdict
from compression_gap.verdict.prediction import Part

SAVED_BY: dict[Part, Loss] = {"encoder": Loss.ENCODER, "codebook": Loss.CODEBOOK, "data": Loss.POLICY}


@dataclass(frozen=True)
class JointVerdict:
    """A label with the probabilities that it stands on."""

    label: Label
    probability: float
    """Of the label; for `undetermined` of the likeliest other one."""
    helps: dict[Part, float | None]
    """Probability that upgrading a part helps; None where it is not known."""


def joint_verdict(offline: OfflineVerdict, ladder: Ladder, *, delta: float = DELTA) -> JointVerdict:
    """Judges by gains that were predicted offline, none of which counts unless the ladder's loss is above `delta`
    points."""
    lost = dict(zip(ladder.losses, (ladder.draws() > delta).mean(axis=0).tolist(), strict=True))
    helps: dict[Part, float | None] = {
        part: _capped(share, lost.get(SAVED_BY[part], 0.0)) for part, share in offline.helps.items()
    }
    label, probability = likeliest(helps)
    return JointVerdict("undetermined" if doubtful(helps, label) else label, probability, helps)


def _capped(helps: float | None, lost: float) -> float | None:
    """What is not known to gain surely does not where nothing is lost."""
    if helps is None:
        return lost if lost <= 1 - SURE else None
    return min(helps, lost)
