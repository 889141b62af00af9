"""A number of a report that says what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measured:
    """A number that says what it is."""

    value: float
    """The point estimate, or the bound."""
    low: float | None = None
    """Lower end of the 95 % interval; None when there is none, as with a single seed."""
    high: float | None = None
    """Upper end of the 95 % interval."""
    over: str = "new training seeds"
    """What the interval speaks about: `new training seeds`, `these checkpoints only`, `frames`, ..."""
    kind: Literal["estimate", "upper bound", "lower bound", "reference"] = "estimate"
    """A reference may be passed: codebook replay is no ceiling on what a policy can do with that codebook."""

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval as it is drawn: the number itself where it has none."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)


Curve = tuple[Measured, ...]
"""One number along the tolerances."""


def arm_name(method: str, decoding: str) -> str:
    """`OAT 8x1000 (greedy)`; a continuous method has no decoding and keeps its name."""
    return f"{method} ({decoding})" if decoding else method
