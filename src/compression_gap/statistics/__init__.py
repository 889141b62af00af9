"""What the rollouts show and how sure we are of it: arrays in, small frozen dataclasses out."""

from compression_gap.statistics.interaction import Gap, GapCurve, Verdict, gap
from compression_gap.statistics.intervals import Estimate, cell, contrast, gain, paired, wilson
from compression_gap.statistics.outcomes import Outcomes, Unit
from compression_gap.statistics.power import power, seeds_needed
from compression_gap.statistics.trend import GainTrend, Trend, gain_trend, trend, trend_gap

__all__ = [
    "Estimate",
    "GainTrend",
    "Gap",
    "GapCurve",
    "Outcomes",
    "Trend",
    "Unit",
    "Verdict",
    "cell",
    "contrast",
    "gain",
    "gain_trend",
    "gap",
    "paired",
    "power",
    "seeds_needed",
    "trend",
    "trend_gap",
    "wilson",
]
