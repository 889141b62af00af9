"""Where is a visuomotor policy's information bottleneck, and what will an upgrade buy?

The names below are what a user's own script needs; they are imported on first use, because they bring torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compression_gap.agent import Agent
    from compression_gap.config import vary
    from compression_gap.pipeline.cell import Cell, Data, Grid, Method, Sight
    from compression_gap.rollout import Rollouts
    from compression_gap.training import Training

__all__ = ["Agent", "Cell", "Data", "Grid", "Method", "Rollouts", "Sight", "Training", "vary"]

_ELSEWHERE = {"Agent": "agent", "Rollouts": "rollout", "Training": "training", "vary": "config"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'pipeline.cell')}"), name)
