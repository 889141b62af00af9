"""What the rollouts show and how sure we are of it: arrays in, small frozen dataclasses out."""

from compression_gap.statistics.bottleneck import Bottleneck, Bound, Settling, bottleneck
from compression_gap.statistics.interaction import Gap, gap
from compression_gap.statistics.intervals import Estimate, cell, contrast, gain, paired, wilson
from compression_gap.statistics.ladder import Ladder, Loss, Rung, ladder
from compression_gap.statistics.outcomes import Outcomes, Unit, flag_of
from compression_gap.statistics.power import power, seeds_needed
from compression_gap.statistics.tolerance import Falling, Tolerance, tolerance
from compression_gap.statistics.trend import GainTrend, Trend, gain_trend, trend, trend_gap

__all__ = [
    "Bottleneck",
    "Bound",
    "Estimate",
    "Falling",
    "GainTrend",
    "Gap",
    "Ladder",
    "Loss",
    "Outcomes",
    "Rung",
    "Settling",
    "Tolerance",
    "Trend",
    "Unit",
    "bottleneck",
    "cell",
    "contrast",
    "flag_of",
    "gain",
    "gain_trend",
    "gap",
    "ladder",
    "paired",
    "power",
    "seeds_needed",
    "tolerance",
    "trend",
    "trend_gap",
    "wilson",
]
