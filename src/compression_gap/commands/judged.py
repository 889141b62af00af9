"""Episodes of one checkpoint as success with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from compression_gap.pipeline.jobs import EPISODES, Evaluation, Videos
from compression_gap.pipeline.results import success
from compression_gap.statistics import Outcomes, paired, wilson
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


def compare(before: pl.DataFrame, after: pl.DataFrame, suite: SuiteSpec) -> list[dict[str, Any]]:
    """Success after minus before, paired by task and initial state, at every tolerance of the suite."""
    order = ["task", "index"]
    before, after = before.sort(order), after.sort(order)
    same = int((before["initial_state"] == after["initial_state"]).sum())
    found = []
    for tolerance in suite.tolerances_mm or (None,):
        pair = success(before, tolerance), success(after, tolerance)
        estimate = paired(*pair)
        interval = {"estimate": estimate.value, "low": estimate.low, "high": estimate.high, "unit": "points"}
        differing = {"differing": int((pair[0] != pair[1]).sum()), "same_initial_states": same}
        found.append({"tolerance_mm": tolerance, "episodes": after.height, **differing, **interval})
    return found


def show_difference(compared: list[dict[str, Any]], console: Console) -> None:
    """What `compare` found, a line a tolerance."""
    for row in compared:
        within = f" within {row['tolerance_mm']:g} mm" if row["tolerance_mm"] is not None else ""
        told = (
            f"difference{within}: {row['estimate']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}] "
            f"(paired, 95 % for this checkpoint); {row['differing']} of {row['episodes']} episodes end otherwise, "
            f"{row['same_initial_states']} begin alike to the last bit"
        )
        console.print(Text(told), soft_wrap=True)


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
