"""The finished jobs of a grid as numbers: episodes as outcomes, summaries as they were written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from compression_gap.pipeline.cell import Grid, Method, Sight
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import EPISODES, SUMMARY, Evaluation, Replay
from compression_gap.pipeline.plan import evaluations, expert, replays
from compression_gap.policies.base import Decoding
from compression_gap.report.measured import Measured
from compression_gap.statistics import Estimate, Outcomes, Rung
from compression_gap.store import Store

Judging = tuple[Evaluation, ...] | tuple[Replay, ...]
"""The jobs that together judge one thing."""


class Results:
    """What is in the store of a grid. What is missing is None, never imputed."""

    def __init__(self, grid: Grid, store: Store) -> None:
        self.grid, self.store = grid, store
        self._read: dict[str, pl.DataFrame] = {}

    @cached_property
    def tolerances(self) -> tuple[float | None, ...]:
        """Along which curves run: the suite's, or None alone where there is only success and failure."""
        return self.grid.base.suite.tolerances_mm or (None,)

    def outcomes(self, method: Method, sight: Sight, decoding: Decoding, tolerance: float | None) -> Outcomes | None:
        """Successes of one arm, seed by seed; None if no seed is finished."""
        rung = self.rung(method, sight, decoding, tolerance)
        return None if rung is None else rung.outcomes

    def replay(self, method: Method, tolerance: float | None) -> Outcomes | None:
        """Codebook replay of a method, seed by seed; of a continuous one, the expert itself."""
        rung = self.expert_rung(tolerance) if method.tokenizer is None else self.replay_rung(method, tolerance)
        return None if rung is None else rung.outcomes

    def rung(self, method: Method, sight: Sight, decoding: Decoding, tolerance: float | None) -> Rung | None:
        """The episodes of one arm, seed by seed; None if no seed is finished."""
        cells = [self.grid.base.replace(method=method, sight=sight, seed=seed) for seed in self.grid.seeds]
        return self._stack([evaluations(self.grid, cell, decoding) for cell in cells], tolerance)

    def replay_rung(self, method: Method, tolerance: float | None) -> Rung | None:
        """The episodes of the codebook replay of a method that has a code."""
        assert method.tokenizer is not None, "a continuous method has no code to replay"
        cells = [self.grid.base.replace(method=method, seed=seed) for seed in self.grid.seeds]
        runs = list(dict.fromkeys(replays(cell) for cell in cells))
        return self._stack(runs, tolerance, trained=method.tokenizer.learned)

    def expert_rung(self, tolerance: float | None) -> Rung | None:
        """The expert's episodes."""
        return self._stack([expert(self.grid.base)], tolerance, trained=False)

    def _stack(self, runs: Sequence[Judging], tolerance: float | None, *, trained: bool = True) -> Rung | None:
        there = [run for run in runs if self.has(*run)]
        if not there:
            return None
        tables = [self.rows(run) for run in there]
        first = tables[0]
        for run, table in zip(there, tables, strict=True):
            if not table["initial_state"].equals(first["initial_state"]):
                raise ValueError(
                    f"{self.store.name(run[0])} began its episodes elsewhere than {self.store.name(there[0][0])}, so "
                    "they cannot be compared: another version of a library or another machine made one of them "
                    "(provenance.json says which); delete the older and run the study again"
                )
        successes = np.stack([success(table, tolerance) for table in tables])
        return Rung(successes, first["task"].to_numpy(), trained=trained)

    def has(self, *jobs: Job) -> bool:
        """Whether all of them are finished."""
        return all(job.digest in self._read or self.store.has(job) for job in jobs)

    def rows(self, run: Judging) -> pl.DataFrame:
        """All episodes of a run, whose jobs are finished."""
        for job in run:
            if job.digest not in self._read:
                self._read[job.digest] = pl.read_parquet(self.store.folder(job) / EPISODES)
        return pl.concat([self._read[job.digest] for job in run])

    def summary(self, job: Job) -> dict[str, Any]:
        """What a measuring job found."""
        return json.loads((self.store.folder(job) / SUMMARY).read_text())

    def provenance(self, job: Job) -> dict[str, Any]:
        """When, where and with what a job was done."""
        return json.loads((self.store.folder(job) / "provenance.json").read_text())


def success(rows: pl.DataFrame, tolerance: float | None) -> np.ndarray:
    """Which episodes succeeded, at a tolerance in mm where the suite has them."""
    return rows["success"].to_numpy() if tolerance is None else rows["error_mm"].to_numpy() <= tolerance


def measured(estimate: Estimate, kind: Any = "estimate") -> Measured:
    """An estimate of the statistics as the report holds it."""
    return Measured(estimate.value, estimate.low, estimate.high, over=estimate.scope, kind=kind)
