"""What the rollouts show and how sure we are of it: arrays in, small frozen dataclasses out."""

from compression_gap.statistics.interaction import Gap, GapCurve, Verdict, gap
from compression_gap.statistics.intervals import Estimate, cell, contrast, gain, paired, wilson
from compression_gap.statistics.outcomes import Outcomes, Unit
from compression_gap.statistics.power import power, seeds_needed
from compression_gap.statistics.tolerance import Falling, Tolerance, tolerance
from compression_gap.statistics.trend import Trend, trend, trend_gap

__all__ = [
    "Estimate",
    "Falling",
    "Gap",
    "GapCurve",
    "Outcomes",
    "Tolerance",
    "Trend",
    "Unit",
    "Verdict",
    "cell",
    "contrast",
    "gain",
    "gap",
    "paired",
    "power",
    "seeds_needed",
    "tolerance",
    "trend",
    "trend_gap",
    "wilson",
]
