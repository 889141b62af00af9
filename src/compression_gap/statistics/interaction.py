"""The compression gap: how much more a continuous policy gains from a better encoder than a discrete one does."""

from __future__ import annotations

from dataclasses import dataclass

from compression_gap.statistics.intervals import LEVEL, Estimate, contrast, gain
from compression_gap.statistics.outcomes import Outcomes, flag_of


@dataclass(frozen=True)
class Gap:
    """The gap at one tolerance on both scales, and the two gains that it is the difference of."""

    points: Estimate
    log_odds: Estimate
    """What decides where there is a `flag`: points have no room there."""
    continuous_gain: Estimate
    discrete_gain: Estimate
    flag: str
    """`floor`, `ceiling`, `floor and ceiling` or empty: whether one of the four cells is below 10 or above 90 %."""


def gap(*, continuous: tuple[Outcomes, Outcomes], discrete: tuple[Outcomes, Outcomes], level: float = LEVEL) -> Gap:
    """Encoder gain of the continuous policy minus that of the discrete one; each pair is (weak, strong) encoder.

    Raises ValueError if the four cells were not judged on the same number of episodes.
    """
    cells, weights = [*continuous, *discrete], [-1.0, 1.0, 1.0, -1.0]
    return Gap(
        points=contrast(cells, weights, unit="points", level=level),
        log_odds=contrast(cells, weights, unit="log-odds", level=level),
        continuous_gain=gain(*continuous, level=level),
        discrete_gain=gain(*discrete, level=level),
        flag=flag_of(cells),
    )
