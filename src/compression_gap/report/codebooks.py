"""What a report says about the size of the codebook: codebooks of one family, what a better encoder buys each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from compression_gap.report.measured import Curve, Measured, arm_name

Size = Literal["nominal bits", "realised bits", "replay"]
Unit = Literal["points", "log-odds"]
DECIMALS: dict[Unit, int] = {"points": 2, "log-odds": 3}
PER: dict[Size, str] = {
    "nominal bits": "for every nominal bit",
    "realised bits": "for every realised bit",
    "replay": "for every point of replay",
}
"""What a slope is for."""


@dataclass(frozen=True)
class Codebook:
    """How large one codebook is, in three ways, and what the better encoder buys a policy over it."""

    method: str
    nominal_bits: float
    """Tokens times log2 of the vocabulary, a chunk."""
    realised_bits: Measured
    """Held-out code length a chunk, the mean over the seeds' tokenizers: an upper bound on the entropy."""
    replay: Curve
    """Success of the expert's own chunks through the code, percent: a reference."""
    gain: Curve
    """Encoder gain in points, Welch interval over training seeds."""
    log_odds: Curve
    """Encoder gain in log-odds."""
    flags: tuple[str, ...]
    """Along the tolerances: `floor` (one of the two cells below 10 %), `ceiling` (above 90 %), both, or empty."""


@dataclass(frozen=True)
class GainSlope:
    """How much the encoder gain grows with one measure of the codebook's size."""

    size: Size
    points: tuple[Measured | None, ...]
    """Along the tolerances: points of gain for each bit or point of replay; None where the codebooks' sizes are not
    told apart by their intervals, as where every replay succeeds."""
    log_odds: tuple[Measured | None, ...]
    """The same in log-odds."""

    def at(self, tolerance: int, unit: Unit) -> Measured | None:
        """At one index along the tolerances."""
        return (self.points if unit == "points" else self.log_odds)[tolerance]


@dataclass(frozen=True)
class CodebookSize:
    """One encoder upgrade over all codebooks of one family."""

    decoding: str
    encoder_from: str
    encoder_to: str
    codebooks: tuple[Codebook, ...]
    """Fewest nominal bits first."""
    slopes: tuple[GainSlope, ...]
    """On nominal bits, on realised bits and on replay."""
    continuous: str = ""
    """The method without a code that they are compared with; empty if there is none."""
    continuous_gain: Curve = ()
    """What the same upgrade buys it, in points."""

    @property
    def arms(self) -> tuple[str, ...]:
        """As lines and table rows name them."""
        return tuple(arm_name(codebook.method, self.decoding) for codebook in self.codebooks)

    @property
    def upgrade(self) -> str:
        """`weak → strong`."""
        return f"{self.encoder_from} \N{RIGHTWARDS ARROW} {self.encoder_to}"

    def flag(self, at: int) -> str:
        """`floor`, `ceiling`, `floor and ceiling` or empty: whether a cell leaves points no room at this tolerance."""
        flags = " ".join(book.flags[at] for book in self.codebooks)
        return " and ".join(kind for kind in ("floor", "ceiling") if kind in flags)

    def units(self, at: int) -> tuple[Unit, Unit]:
        """The unit that decides at this tolerance, and the other: points, unless a cell makes them mislead."""
        return ("log-odds", "points") if self.flag(at) else ("points", "log-odds")

    def slope(self, size: Size) -> GainSlope:
        """The slope on one measure of size."""
        return next(slope for slope in self.slopes if slope.size == size)

    @property
    def curves(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Everything that runs along the tolerances, by name."""
        named: list[tuple[str, tuple[Any, ...]]] = []
        for book in self.codebooks:
            for field in ("replay", "gain", "log_odds", "flags"):
                named.append((f"{field} of {book.method}, {self.upgrade}", getattr(book, field)))
        for slope in self.slopes:
            for field in ("points", "log_odds"):
                named.append((f"slope on {slope.size} in {field}, {self.upgrade}", getattr(slope, field)))
        if self.continuous:
            named.append((f"gain of {self.continuous}, {self.upgrade}", self.continuous_gain))
        return named
