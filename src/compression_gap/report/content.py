"""What a report says, as plain data: the pipeline fills it, the page, the terminal and `--json` read it.

Success is in percent and a difference of successes in points. A tuple "along the tolerances" has one entry per
`ReportContent.tolerances_mm`, or a single entry for a suite that only knows success and failure.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from compression_gap.report.codebooks import CodebookSize
from compression_gap.report.ladder import Ladder
from compression_gap.report.measured import Curve, Measured, arm_name

RANKS = ("continuous_rank_p", "discrete_rank_p")
Convergence = Literal["converged", "undertrained", "overfitted", "not resolved", "not measured"]


@dataclass(frozen=True)
class Cell:
    """One method on one encoder: the mean over its seeds."""

    method: str
    """For people: `Diffusion`, `OAT 8x1000`."""
    encoder: str
    """`weak`, `strong`, `state`, ...; one of `ReportContent.encoder_order`, except in a blind arm."""
    decoding: str
    """`greedy`, `top-10`, ...; empty for a continuous method."""
    success: Curve
    """Percent, with the interval over training seeds."""
    per_seed: tuple[tuple[float, ...], ...]
    """Percent; one tuple a seed, each along the tolerances."""
    episodes: int
    """Rollouts of one seed."""
    convergence: Convergence
    """Whether training longer would change the answer."""
    change_on_doubling: Measured | None = None
    """Points of success that doubling the steps added under the first seed, with the interval over initial states."""

    @property
    def arm(self) -> str:
        """Method and decoding, as lines and table rows name them."""
        return arm_name(self.method, self.decoding)


def _decisive(points: Curve, log_odds: Curve, flags: tuple[str, ...]) -> Curve:
    return tuple(odds if flag else some for some, odds, flag in zip(points, log_odds, flags, strict=True))


@dataclass(frozen=True)
class Interaction:
    """What an encoder upgrade buys a continuous method, minus what it buys a discrete one."""

    discrete: str
    decoding: str
    continuous: str
    encoder_from: str
    encoder_to: str
    continuous_gain: Curve
    """Points."""
    discrete_gain: Curve
    """Points."""
    points: Curve
    """The compression gap: `continuous_gain - discrete_gain`, Welch interval over training seeds."""
    log_odds: Curve
    """The same contrast in log-odds, which floors and ceilings bend less."""
    flags: tuple[str, ...]
    """Along the tolerances: `floor` (a cell below 10 %), `ceiling` (above 90 %), `floor and ceiling`, or empty."""

    @property
    def arm(self) -> str:
        return arm_name(self.discrete, self.decoding)

    @property
    def decisive(self) -> Curve:
        """What a verdict is read from: points, or log-odds where a flag says that points mislead."""
        return _decisive(self.points, self.log_odds, self.flags)


@dataclass(frozen=True)
class Gradient:
    """How success follows the measured quality of several encoders: of a discrete method, and of the continuous one."""

    discrete: str
    decoding: str
    continuous: str
    errors_mm: tuple[tuple[str, float], ...]
    """The encoders on the line and their measured pose errors, worst first."""
    continuous_slope: Curve
    """Points of success for every halving of the pose error."""
    discrete_slope: Curve
    points: Curve
    """How much steeper the continuous method rises, Welch interval over training seeds."""
    log_odds: Curve
    """The same in log-odds, which floors and ceilings bend less."""
    flags: tuple[str, ...]
    """Along the tolerances: `floor` (a cell below 10 %), `ceiling` (above 90 %), `floor and ceiling`, or empty."""
    continuous_rank_p: tuple[float | None, ...]
    """Along the tolerances: Page's test that success rises with quality; None with one seed."""
    discrete_rank_p: tuple[float | None, ...]

    @property
    def arm(self) -> str:
        return arm_name(self.discrete, self.decoding)

    @property
    def decisive(self) -> Curve:
        """What a verdict is read from: points, or log-odds where a flag says that points mislead."""
        return _decisive(self.points, self.log_odds, self.flags)


@dataclass(frozen=True)
class TokenizerRow:
    """Rate and distortion of one tokenizer, on held-out demonstrations; None where it was not measured."""

    name: str
    nominal_bits: float
    """Tokens times log2 of the vocabulary, a chunk: an upper bound on everything below."""
    marginal_bits: Measured | None = None
    """Sum of the tokens' Miller-Madow entropies, a chunk: an upper bound that ignores dependence between tokens."""
    code_length_bits: Measured | None = None
    """Held-out autoregressive code length, a chunk: an upper bound on the entropy, in expectation."""
    error_mm: Measured | None = None
    """Reconstruction error of positions."""
    error_degrees: Measured | None = None
    """Reconstruction error of angles."""
    replay: Curve = ()
    """Success of codebook replay in percent; empty when it was not measured."""


@dataclass(frozen=True)
class EncoderRow:
    """What an encoder knows about the task's object, on held-out frames."""

    name: str
    width: int
    error_mm: Measured | None = None
    error_degrees: Measured | None = None
    note: str = ""
    """How it was made, in a few words."""


@dataclass(frozen=True)
class LossCurve:
    """One training run. Curves with equal `arm` share a panel."""

    arm: str
    seed: int
    train_steps: tuple[int, ...]
    train: tuple[float, ...]
    held_out_steps: tuple[int, ...]
    held_out: tuple[float, ...]


@dataclass(frozen=True)
class Failure:
    """A job that raised: kept, shown at the head, never imputed."""

    job: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Reseeding:
    """Whether a training seed draws something afresh."""

    what: str
    by_seed: bool
    note: str = ""


@dataclass(frozen=True)
class ReportContent:
    """Everything in one report. Raises ValueError when a curve does not fit the tolerances."""

    title: str
    question: str
    grid: str
    commands: tuple[str, ...]
    """What to type to get this report again."""
    seeds: int
    encoder_order: tuple[str, ...]
    """Worst first: the horizontal axis of the slope chart."""
    tolerances_mm: tuple[float, ...]
    """Ascending; empty for a suite that only knows success and failure."""
    primary_tolerance_mm: float | None
    """Declared before the runs; None exactly when there are no tolerances."""
    cells: tuple[Cell, ...]
    interactions: tuple[Interaction, ...]
    """The primary one first: the answer leads with it."""
    gradients: tuple[Gradient, ...] = ()
    codebook_sizes: tuple[CodebookSize, ...] = ()
    """The primary one first: where there is one, the answer leads with it."""
    ladders: tuple[Ladder, ...] = ()
    tokenizers: tuple[TokenizerRow, ...] = ()
    encoders: tuple[EncoderRow, ...] = ()
    blind: tuple[Cell, ...] = ()
    """Arms that see no picture: the level of chance."""
    losses: tuple[LossCurve, ...] = ()
    failures: tuple[Failure, ...] = ()
    missing: int = 0
    """Results that are not there, those that failed among them."""
    reseeding: tuple[Reseeding, ...] = ()
    seconds: float = 0.0
    """Time of all jobs together, however many ran now."""
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Versions, commit, machine."""
    demonstrates_only: bool = False
    """A study that shows how the program works and is no evidence; the answer says so."""

    def __post_init__(self) -> None:
        if (self.primary_tolerance_mm is None) != (not self.tolerances_mm):
            raise ValueError("primary_tolerance_mm: give one exactly when there are tolerances_mm")
        if self.primary_tolerance_mm is not None and self.primary_tolerance_mm not in self.tolerances_mm:
            raise ValueError(f"primary_tolerance_mm={self.primary_tolerance_mm}: not among {self.tolerances_mm}")
        expected = len(self.columns)
        for name, curve in self._curves():
            if len(curve) != expected:
                raise ValueError(f"{name}: expected {expected} entries along the tolerances, got {len(curve)}")

    def _curves(self) -> list[tuple[str, tuple[Any, ...]]]:
        curves: list[tuple[str, tuple[Any, ...]]] = []
        for cell in self.cells + self.blind:
            curves.append((f"success of {cell.arm} on {cell.encoder}", cell.success))
            curves += [(f"per_seed of {cell.arm} on {cell.encoder}", seed) for seed in cell.per_seed]
        for row in self.interactions:
            for field in ("continuous_gain", "discrete_gain", "points", "log_odds", "flags"):
                curves.append((f"{field} of {row.arm}", getattr(row, field)))
        for row in self.gradients:
            for field in ("continuous_slope", "discrete_slope", "points", "log_odds", *RANKS):
                curves.append((f"{field} of the gradient of {row.arm}", getattr(row, field)))
        for row in self.codebook_sizes:
            curves += row.curves
        return curves + [(f"replay of {row.name}", row.replay) for row in self.tokenizers if row.replay]

    @property
    def columns(self) -> tuple[str, ...]:
        """Heads of the success columns."""
        return tuple(f"{tolerance:g} mm" for tolerance in self.tolerances_mm) or ("success",)

    @property
    def primary(self) -> int:
        """Index of the primary tolerance along the tolerances."""
        return 0 if self.primary_tolerance_mm is None else self.tolerances_mm.index(self.primary_tolerance_mm)

    @property
    def arms(self) -> tuple[str, ...]:
        """Method and decoding of the grid's cells, in order of appearance."""
        return tuple(dict.fromkeys(cell.arm for cell in self.cells))

    def cell(self, arm: str, encoder: str) -> Cell | None:
        """The cell of that arm and encoder, or None when it is not in the grid or failed."""
        return next((cell for cell in self.cells if (cell.arm, cell.encoder) == (arm, encoder)), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; a number that does not exist (NaN, infinity) becomes null."""
        return _plain(dataclasses.asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
