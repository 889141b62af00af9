"""Numbers of the statistics as a report holds them."""

from __future__ import annotations

from typing import Any

from compression_gap import statistics
from compression_gap.pipeline.cell import Grid, Method
from compression_gap.pipeline.results import measured
from compression_gap.policies.base import Decoding
from compression_gap.report.measured import Measured
from compression_gap.statistics import Outcomes


def level(grid: Grid, outcomes: Outcomes, kind: Any = "estimate") -> Measured:
    """Success with its interval over training seeds; a grid of one seed can speak about its checkpoints only."""
    of = statistics.wilson if len(grid.seeds) == 1 and outcomes.trained else statistics.cell
    return measured(of(outcomes), kind)


def told(method: Method, decoding: Decoding) -> str:
    """The decoding as tables tell it: a continuous method has none."""
    return decoding if method.tokenizer is not None else ""
