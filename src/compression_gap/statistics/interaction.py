"""The compression gap: how much more a continuous policy gains from a better encoder than a discrete one does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from compression_gap.statistics.intervals import LEVEL, Estimate, contrast, gain
from compression_gap.statistics.outcomes import Outcomes


class Verdict(StrEnum):
    """What an interval allows us to say about the gap."""

    RESOLVED = "resolved"
    NOT_RESOLVED = "not resolved"
    REVERSED = "reversed"
    NO_EVIDENCE = "no evidence"

    @classmethod
    def of(cls, estimate: Estimate) -> Verdict:
        """Where the interval lies against zero; fewer than three seeds are never evidence."""
        if estimate.low is None or estimate.high is None or estimate.note:
            return cls.NO_EVIDENCE
        return cls.RESOLVED if estimate.low > 0 else cls.REVERSED if estimate.high < 0 else cls.NOT_RESOLVED


@dataclass(frozen=True)
class Gap:
    """The gap at one tolerance on both scales, and the two gains that it is the difference of."""

    points: Estimate
    log_odds: Estimate
    continuous_gain: Estimate
    discrete_gain: Estimate
    extremes: tuple[tuple[str, str], ...]
    """The cells below 10 % or above 90 %: (`continuous strong 96 %`, `ceiling`)."""

    @property
    def flag(self) -> str:
        """`floor`, `ceiling`, `floor and ceiling` or empty."""
        kinds = {kind for _, kind in self.extremes}
        return " and ".join(kind for kind in ("floor", "ceiling") if kind in kinds)

    @property
    def decisive(self) -> Estimate:
        """Points, unless a cell at the floor or the ceiling makes them uninterpretable: then log-odds."""
        return self.log_odds if self.extremes else self.points

    @property
    def verdict(self) -> Verdict:
        return Verdict.of(self.decisive)

    @property
    def words(self) -> str:
        """The verdict as a sentence for the report."""
        if self.verdict is Verdict.NO_EVIDENCE:
            return f"no evidence ({self.points.note}): {self.points.text}"
        sentence = f"{self.verdict} with {self.points.seeds} seeds: {self.points.text}"
        if self.extremes:
            names = ", ".join(f"{name} ({kind})" for name, kind in self.extremes)
            sentence += f", judged by {self.log_odds.text} because of {names}"
        other = self.points if self.extremes else self.log_odds
        if Verdict.of(other) is not self.verdict:
            sentence += f"; {Verdict.of(other)} by {other.text}"
        return sentence


def gap(*, continuous: tuple[Outcomes, Outcomes], discrete: tuple[Outcomes, Outcomes], level: float = LEVEL) -> Gap:
    """Encoder gain of the continuous policy minus that of the discrete one; each pair is (weak, strong) encoder.

    Raises ValueError if the four cells were not judged on the same number of episodes.
    """
    arms = {"continuous": continuous, "discrete": discrete}
    cells, weights = [*continuous, *discrete], [-1.0, 1.0, 1.0, -1.0]
    return Gap(
        points=contrast(cells, weights, unit="points", level=level),
        log_odds=contrast(cells, weights, unit="log-odds", level=level),
        continuous_gain=gain(*continuous, level=level),
        discrete_gain=gain(*discrete, level=level),
        extremes=tuple(
            (f"{arm} {strength} {100 * outcomes.rate:.3g} %", outcomes.extreme)
            for arm, pair in arms.items()
            for strength, outcomes in zip(("weak", "strong"), pair, strict=True)
            if outcomes.extreme
        ),
    )


@dataclass(frozen=True)
class GapCurve:
    """The gap against the success tolerance. Only `primary` carries a claim: the other intervals are not adjusted.

    Raises ValueError if the tolerances do not rise, do not match the gaps or do not contain `primary`.
    """

    tolerances: tuple[float, ...]
    """Rising, in `tolerance_unit`."""
    gaps: tuple[Gap, ...]
    """One per tolerance."""
    primary: float
    """The tolerance declared before the runs."""
    tolerance_unit: str = "mm"

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.tolerances, self.tolerances[1:], strict=False))
        if not rising or len(self.tolerances) != len(self.gaps) or self.primary not in self.tolerances:
            raise ValueError(
                f"GapCurve: expected rising tolerances that contain the primary one and one gap for each; "
                f"got {self.tolerances}, primary {self.primary}, {len(self.gaps)} gaps"
            )

    @property
    def at_primary(self) -> Gap:
        return self.gaps[self.tolerances.index(self.primary)]

    @property
    def stretches(self) -> tuple[tuple[Verdict, float, float], ...]:
        """Neighbouring tolerances with the same verdict: (verdict, lowest, highest tolerance)."""
        pairs = zip(self.tolerances, self.gaps, strict=True)
        runs = [
            (verdict, [tolerance for tolerance, _ in run]) for verdict, run in groupby(pairs, lambda p: p[1].verdict)
        ]
        return tuple((verdict, run[0], run[-1]) for verdict, run in runs)

    @property
    def words(self) -> str:
        """The primary verdict, then the stretches of the curve that say something else."""
        elsewhere = [
            f"{verdict} {self._where(low, high)}"
            for verdict, low, high in self.stretches
            if verdict is not self.at_primary.verdict
        ]
        sentence = f"At {self.primary:g} {self.tolerance_unit} {self.at_primary.words}."
        return f"{sentence} Elsewhere, unadjusted: {'; '.join(elsewhere)}." if elsewhere else sentence

    def _where(self, low: float, high: float) -> str:
        if low == high:
            return f"at {low:g} {self.tolerance_unit}"
        if high == self.tolerances[-1]:
            return f"from {low:g} {self.tolerance_unit} up"
        return f"from {low:g} to {high:g} {self.tolerance_unit}"
