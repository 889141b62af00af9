"""A number about information that says what it is: a bound or an estimate, of what, and over what its interval is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from compression_gap.config import counted
from compression_gap.data.split import FEWEST_DEMONSTRATIONS
from compression_gap.measures.clusters import cluster_mean

Kind = Literal["estimate", "upper bound", "lower bound"]

BITS = "bits a chunk"
DEMONSTRATIONS = "other demonstrations"
DEMONSTRATIONS_AND_SEEDS = "other demonstrations and probe seeds"
IGNORED = "ignored: told as much as without them"
"""Instead of what features tell beyond what is known without them, where that did harm."""
WORDS: dict[Kind, str] = {"estimate": "", "upper bound": "at most ", "lower bound": "at least "}


@dataclass(frozen=True)
class Quantity:
    """One number, or the reason why there is none. Raises ValueError if it says too little about itself."""

    value: float | None
    """The estimate or the bound; None if it is not determined, and `note` says why."""
    kind: Kind
    """A bound may hold for sure, in expectation or with 95 %: what it is a bound on, and how, says who made it."""
    unit: str
    """`bits a chunk`, `share`, ..."""
    over: str
    """What the interval or the confidence of a bound speaks about: `other demonstrations`, ..."""
    low: float | None = None
    """Lower end of the interval, of 95 % unless `over` says otherwise; None where there is none."""
    high: float | None = None
    """Upper end of the interval."""
    note: str = ""
    """Why there is no number or no interval, or what else a reader has to know; empty if nothing is wrong."""

    def __post_init__(self) -> None:
        if not self.unit or not self.over:
            raise ValueError("a quantity needs a unit, and to say over what its interval is; got an empty text")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"an interval has two ends or none, got {self.low} and {self.high}")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"an interval's lower end comes first, got {self.low} and {self.high}")
        if self.value is None and (self.low is not None or not self.note):
            raise ValueError("a quantity without a value has no interval, and its note says why there is none")
        if self.value is not None and math.isnan(self.value):
            raise ValueError("a quantity is a number or None with a note, got NaN")

    @property
    def text(self) -> str:
        """For a reader: `at most 58.31 bits a chunk [58.10, 58.52]`, or `not converged`."""
        if self.value is None:
            return self.note
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{WORDS[self.kind]}{self.value:.2f} {self.unit}{interval}"


@dataclass(frozen=True)
class Bracket:
    """What is known of a number: it lies between two bounds. Raises ValueError if they are not one of each kind."""

    lower: Quantity
    upper: Quantity

    def __post_init__(self) -> None:
        if (self.lower.kind, self.upper.kind) != ("lower bound", "upper bound"):
            raise ValueError(
                f"a bracket is a lower bound and an upper bound, got {self.lower.kind} and {self.upper.kind}"
            )
        if self.lower.unit != self.upper.unit:
            raise ValueError(f"the bounds of a bracket have one unit, got {self.lower.unit} and {self.upper.unit}")


def tightest(bounds: Sequence[Quantity]) -> Quantity:
    """The largest of lower bounds or the smallest of upper bounds; those not determined are passed over.

    Raises ValueError if there is none, if they differ in kind or unit, or if they are no bounds.
    """
    kinds = {(bound.kind, bound.unit) for bound in bounds}
    if len(kinds) != 1 or bounds[0].kind == "estimate":
        raise ValueError(f"the tightest of bounds of one kind and unit, got {sorted(kinds)}")
    known = [bound for bound in bounds if bound.value is not None]
    if not known:
        return bounds[0]
    sign = 1 if bounds[0].kind == "upper bound" else -1
    return min(known, key=lambda bound: sign * (bound.value or 0.0))


def mean_over_demonstrations(
    values: Float[np.ndarray, "seeds N"],
    demonstration: Int[np.ndarray, " N"],
    *,
    kind: Kind,
    unit: str = BITS,
    shift: float = 0.0,
) -> Quantity:
    """Mean of the chunks' values plus `shift`, with a bootstrap interval over demonstrations and, if several, seeds.

    With fewer than 8 demonstrations there is no interval, and the note says so.
    """
    over = DEMONSTRATIONS if len(values) == 1 else DEMONSTRATIONS_AND_SEEDS
    count = len(np.unique(demonstration))
    if count < FEWEST_DEMONSTRATIONS:
        note = f"no interval: {counted(count, 'demonstration')}, at least {FEWEST_DEMONSTRATIONS} are needed"
        return Quantity(float(values.mean()) + shift, kind, unit, over, note=note)
    mean = cluster_mean(values, demonstration)
    return Quantity(mean.value + shift, kind, unit, over, mean.low + shift, mean.high + shift)


def root_mean_square(squared: Float[np.ndarray, " N"], demonstration: Int[np.ndarray, " N"], unit: str) -> Quantity:
    """Square root of the mean of the chunks' squared errors, with a bootstrap interval over demonstrations."""
    mean = mean_over_demonstrations(squared[None].astype(np.float64), demonstration, kind="estimate", unit=unit)
    ends = {name: getattr(mean, name) for name in ("value", "low", "high")}
    return replace(mean, **{name: None if end is None else math.sqrt(max(end, 0.0)) for name, end in ends.items()})
