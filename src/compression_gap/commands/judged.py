"""Episodes of one checkpoint as success with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from compression_gap.pipeline.jobs import EPISODES, Evaluation, Videos
from compression_gap.pipeline.tables import success
from compression_gap.statistics import Outcomes, wilson
from compression_gap.store import Store
from compression_gap.suites.base import SuiteSpec


def read_rows(store: Store, jobs: Sequence[Evaluation]) -> pl.DataFrame:
    """The episodes of finished jobs."""
    return pl.concat([pl.read_parquet(store.folder(job) / EPISODES) for job in jobs])


def video_files(store: Store, jobs: Sequence[Videos]) -> list[str]:
    """The videos of the jobs that are finished."""
    return [str(path) for job in jobs if store.has(job) for path in sorted(store.folder(job).glob("*.mp4"))]


def judge(rows: pl.DataFrame, suite: SuiteSpec) -> list[dict[str, Any]]:
    """Success of one checkpoint in percent with Wilson's interval, at every tolerance of the suite."""
    found = []
    for tolerance in suite.tolerances_mm or (None,):
        estimate = wilson(Outcomes.from_episodes(success(rows, tolerance)[None]))
        interval = {"estimate": estimate.value, "low": estimate.low, "high": estimate.high, "unit": "%"}
        found.append({"tolerance_mm": tolerance, "episodes": rows.height, **interval})
    return found


def show_success(judged: list[dict[str, Any]], name: str, console: Console) -> None:
    """What `judge` found, in one line."""
    parts = [
        (f"{row['tolerance_mm']:g} mm: " if row["tolerance_mm"] is not None else "")
        + f"{row['estimate']:.0f} [{row['low']:.0f}, {row['high']:.0f}]"
        for row in judged
    ]
    count = judged[0]["episodes"]
    console.print(
        Text(f"{name}: success in % of {count} episodes, 95 % for this checkpoint (Wilson): {', '.join(parts)}")
    )
