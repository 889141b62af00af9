"""A ladder's verdict with its offline witness: where success is lost is not yet what an upgrade would gain.

A loss is what a perfect part would save at most, from the top down: of a code that is far too coarse, twice as many
tokens may save nothing as long as the encoder's noise fails the task anyway. So a label counts only if the predicted
gains agree. `benchmarks/calibration.py` shows what that is worth, and is the only one who asks: an audit has no ladder.
"""

from __future__ import annotations

from dataclasses import replace

from compression_gap.statistics.bottleneck import Bottleneck, Bound
from compression_gap.verdict.offline import SURE, OfflineVerdict
from compression_gap.verdict.prediction import PARTS, Part

NAMED: dict[Bound, Part] = {Bound.ENCODER: "encoder", Bound.CODEBOOK: "codebook", Bound.POLICY: "data"}


def witnessed(found: Bottleneck, offline: OfflineVerdict) -> Bottleneck:
    """The ladder's verdict if the predicted gains agree with it; else undetermined, and the reason says why.

    Agreed is a part that surely helps, for `several` two of them, and for `none: saturated` that none surely helps.
    """
    helping = [part for part in PARTS if (offline.helps[part] or 0.0) >= SURE]
    part = NAMED.get(found.label)
    if found.label == Bound.UNDETERMINED:
        return found
    if part is not None:
        agreed, reason = part in helping, f"most is lost to the {found.likeliest.value}, but no gain is predicted there"
    elif found.label == Bound.SEVERAL:
        agreed, reason = len(helping) >= 2, "several lose, but not as many upgrades are predicted to gain"
    else:
        agreed, reason = not helping, f"nothing loses much, but the {' and the '.join(helping)} is predicted to gain"
    return found if agreed else replace(found, label=Bound.UNDETERMINED, reason=reason, settling=None)
