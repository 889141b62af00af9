"""From the probability of each part to help, to a label: one part names it, two are several, none is saturated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from compression_gap.verdict.prediction import PARTS, Part

Label = Literal["encoder-bound", "codebook-bound", "policy-or-data-bound", "several", "none: saturated", "undetermined"]
BOUND: dict[Part, Label] = {
    "encoder": "encoder-bound",
    "codebook": "codebook-bound",
    "data": "policy-or-data-bound",
}
SURE = 0.75
"""Probability from which on a part is decided, one way or the other."""


def likeliest(helps: Mapping[Part, float | None]) -> tuple[Label, float]:
    """The label that is likeliest, errors of the parts being independent; what is not known counts as even odds."""
    odds: dict[Part, float] = {part: 0.5 if share is None else share for part, share in helps.items()}
    none = float(np.prod([1 - share for share in odds.values()]))
    shares: dict[Label, float] = {"none: saturated": none}
    for part in PARTS:
        others = float(np.prod([1 - odds[other] for other in PARTS if other != part]))
        shares[BOUND[part]] = odds[part] * others
    shares["several"] = max(0.0, 1 - sum(shares.values()))
    label = max(shares, key=lambda one: shares[one])
    return label, shares[label]


def doubtful(helps: Mapping[Part, float | None], label: Label) -> tuple[Part, ...]:
    """Parts that could change the label and are not decided; none if two surely help, whatever the third does."""
    sure: list[Part] = [part for part, share in helps.items() if share is not None and share >= SURE]
    if label == "several" and len(sure) >= 2:
        return ()
    return tuple(part for part, share in helps.items() if share is None or 1 - SURE < share < SURE)
