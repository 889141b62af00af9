"""From finished jobs to what a report says: reads the store, asks the statistics, fills the report's content."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from compression_gap import statistics
from compression_gap.pipeline.cell import Cell, Grid, Method
from compression_gap.pipeline.codebooks import codebook_sizes
from compression_gap.pipeline.job import with_needs
from compression_gap.pipeline.jobs import PoseError
from compression_gap.pipeline.ladders import ladders
from compression_gap.pipeline.levels import level, told
from compression_gap.pipeline.plan import (
    arms,
    doubling,
    jobs_of,
    token_bits,
    trained_encoder,
)
from compression_gap.pipeline.results import Results, measured, success
from compression_gap.policies.base import Decoding
from compression_gap.report import content
from compression_gap.report.content import Convergence, Measured, ReportContent
from compression_gap.statistics import Estimate, Unit
from compression_gap.store import Store
from compression_gap.training import CURVE

UNITS: tuple[Unit, Unit] = ("points", "log-odds")
GRADIENT_FROM = 4  # encoders of measured quality, from which on a line through them is drawn
CONVERGED_WITHIN = 5.0  # points of success that doubling the steps may move


class Tables:
    """A grid's numbers, as far as its jobs are finished. What is missing is left out, never imputed."""

    def __init__(self, grid: Grid, store: Store) -> None:
        self.grid, self.store, self.results = grid, store, Results(grid, store)

    @cached_property
    def report(self) -> ReportContent:
        """All of it."""
        grid = self.grid
        blind = {sight.name for sight in grid.sights if sight.encoder.kind == "blind"} - {grid.weak, grid.strong}
        cells = [cell for arm in arms(grid) for cell in self._cells(arm)]
        return ReportContent(
            title=grid.name,
            question=grid.question,
            grid=grid.name,
            commands=(f"cgap run {grid.name}",),
            seeds=len(grid.seeds),
            encoder_order=tuple(sight.name for sight in grid.sights if sight.name not in blind),
            tolerances_mm=tuple(t for t in self.results.tolerances if t is not None),
            primary_tolerance_mm=grid.tolerance_mm,
            cells=tuple(cell for cell in cells if cell.encoder not in blind),
            blind=tuple(cell for cell in cells if cell.encoder in blind),
            interactions=tuple(self._interactions()),
            gradients=tuple(self._gradients()),
            codebook_sizes=tuple(codebook_sizes(self.results)),
            ladders=tuple(ladders(grid, self.results)),
            tokenizers=tuple(self._tokenizers()),
            encoders=tuple(self._encoders),
            losses=tuple(self._losses()),
            failures=tuple(self._failures()),
            missing=sum(not self.results.has(job) for job in jobs_of(grid)),
            reseeding=RESEEDING,
            seconds=sum(
                float(self.results.provenance(job)["seconds"])
                for job in with_needs(jobs_of(grid))
                if self.results.has(job)
            ),
            provenance=self._versions(),
            demonstrates_only=grid.demonstrates_only,
        )

    def _cells(self, arm: Cell) -> list[content.Cell]:
        rows = []
        for decoding in arm.method.decodings:
            curve = [self.results.outcomes(arm.method, arm.sight, decoding, t) for t in self.results.tolerances]
            known = [outcomes for outcomes in curve if outcomes is not None]
            if len(known) < len(curve):
                continue
            label, change = self._convergence(arm, decoding)
            seeds = range(known[0].seeds)
            values = [outcomes.seed_values("points") for outcomes in known]
            rows.append(
                content.Cell(
                    method=arm.method.name,
                    encoder=arm.sight.name,
                    decoding=told(arm.method, decoding),
                    success=tuple(level(self.grid, outcomes) for outcomes in known),
                    per_seed=tuple(tuple(float(v[seed]) for v in values) for seed in seeds),
                    episodes=int(np.sum(known[0].episodes)),
                    convergence=label,
                    change_on_doubling=change,
                )
            )
        return rows

    def _convergence(self, arm: Cell, decoding: Decoding) -> tuple[Convergence, Measured | None]:
        run = doubling(self.grid, arm, decoding)
        if not self.results.has(*run.once, *run.twice):
            return "not measured", None
        once, twice = (self.results.rows(part) for part in (run.once, run.twice))
        change = statistics.paired(*(success(rows, self.grid.tolerance_mm) for rows in (once, twice)))
        at_most = 100 * float(success(twice, self.results.tolerances[-1]).mean())
        return convergence(change, at_most), measured(change)

    def _interactions(self) -> list[content.Interaction]:
        grid = self.grid
        weak, strong = (next(s for s in grid.sights if s.name == name) for name in (grid.weak, grid.strong))
        rows = []
        for continuous, method in grid.comparisons:
            for decoding in method.decodings:
                compared: list[tuple[Method, Decoding]] = [(continuous, continuous.decodings[0]), (method, decoding)]
                gaps = []
                for tolerance in self.results.tolerances:
                    pairs = [
                        tuple(self.results.outcomes(m, sight, d, tolerance) for sight in (weak, strong))
                        for m, d in compared
                    ]
                    if any(outcomes is None for pair in pairs for outcomes in pair):
                        break
                    gaps.append(statistics.gap(continuous=pairs[0], discrete=pairs[1]))  # type: ignore[arg-type]
                if len(gaps) < len(self.results.tolerances):
                    continue
                rows.append(
                    content.Interaction(
                        discrete=method.name,
                        decoding=told(method, decoding),
                        continuous=continuous.name,
                        encoder_from=grid.weak,
                        encoder_to=grid.strong,
                        continuous_gain=tuple(measured(gap.continuous_gain) for gap in gaps),
                        discrete_gain=tuple(measured(gap.discrete_gain) for gap in gaps),
                        points=tuple(measured(gap.points) for gap in gaps),
                        log_odds=tuple(measured(gap.log_odds) for gap in gaps),
                        flags=tuple(gap.flag for gap in gaps),
                    )
                )
        return rows

    def _gradients(self) -> list[content.Gradient]:
        """Over the encoders whose pose error was measured, if there are enough of them."""
        errors = {row.name: row.error_mm.value for row in self._encoders if row.error_mm is not None}
        sights = sorted((s for s in self.grid.sights if s.name in errors), key=lambda s: -errors[s.name])
        if len({errors[sight.name] for sight in sights}) < GRADIENT_FROM:
            return []
        quality = [-math.log2(errors[sight.name]) for sight in sights]
        rows = []
        for continuous, method in self.grid.comparisons:
            for decoding in method.decodings:
                compared: list[tuple[Method, Decoding]] = [(continuous, continuous.decodings[0]), (method, decoding)]
                lines = [
                    [[self.results.outcomes(m, sight, d, tolerance) for sight in sights] for m, d in compared]
                    for tolerance in self.results.tolerances
                ]
                known = [[[o for o in line if o is not None] for line in pair] for pair in lines]
                if known != lines:
                    continue
                slopes = [[statistics.trend(line, quality) for line in pair] for pair in known]
                gaps = [
                    [statistics.trend_gap(pair[0], pair[1], quality, unit=unit) for pair in known] for unit in UNITS
                ]
                of_continuous, of_discrete = zip(*slopes, strict=True)
                rows.append(
                    content.Gradient(
                        discrete=method.name,
                        decoding=told(method, decoding),
                        continuous=continuous.name,
                        errors_mm=tuple((sight.name, errors[sight.name]) for sight in sights),
                        continuous_slope=tuple(measured(trend.points) for trend in of_continuous),
                        discrete_slope=tuple(measured(trend.points) for trend in of_discrete),
                        points=tuple(measured(gap) for gap in gaps[0]),
                        log_odds=tuple(measured(gap) for gap in gaps[1]),
                        flags=tuple(statistics.flag_of([*pair[0], *pair[1]]) for pair in known),
                        continuous_rank_p=tuple(trend.rank_p for trend in of_continuous),
                        discrete_rank_p=tuple(trend.rank_p for trend in of_discrete),
                    )
                )
        return rows

    def _tokenizers(self) -> list[content.TokenizerRow]:
        rows = []
        for arm in {cell.method.name: cell for cell in arms(self.grid)}.values():
            job = token_bits(self.grid, arm)
            if job is None or not self.results.has(job):
                continue
            found = self.results.summary(job)
            curve = [self.results.replay(arm.method, tolerance) for tolerance in self.results.tolerances]
            rows.append(
                content.TokenizerRow(
                    name=arm.method.name,
                    nominal_bits=found["nominal_bits"],
                    marginal_bits=Measured(found["marginal_bits"], over="chunks", kind="upper bound"),
                    code_length_bits=Measured(found["code_length_bits"], over="chunks", kind="upper bound"),
                    error_mm=None if found["mm"] is None else Measured(found["mm"], over="chunks"),
                    error_degrees=None if found["degrees"] is None else Measured(found["degrees"], over="chunks"),
                    replay=tuple(level(self.grid, o, "reference") for o in curve if o is not None),
                )
            )
        return rows

    @cached_property
    def _encoders(self) -> list[content.EncoderRow]:
        rows = []
        for arm in {cell.sight.name: cell for cell in arms(self.grid)}.values():
            spec = arm.sight.encoder
            try:
                width = spec.build(self.grid.base.suite.build().legend)
            except (ImportError, OSError):
                continue  # the simulator or the weights are on another machine
            job = trained_encoder(arm)
            errors: dict[str, Any] = {}
            if job is not None and self.results.has(PoseError(job)):
                errors = self.results.summary(PoseError(job)).get("task", {})
            rows.append(
                content.EncoderRow(
                    name=arm.sight.name,
                    width=width.vectors * width.width,
                    error_mm=Measured(errors["mm"], over="frames") if errors else None,
                    error_degrees=Measured(errors["degrees"], over="frames") if errors.get("degrees") else None,
                    note=f"{spec.kind}, {spec.pretraining_steps} steps" if spec.pretraining_steps else spec.kind,
                )
            )
        return rows

    def _losses(self) -> list[content.LossCurve]:
        curves = []
        for arm in arms(self.grid):
            job = doubling(self.grid, arm, arm.method.decodings[0]).agent
            if not self.results.has(job):
                continue
            curve = pl.read_parquet(self.store.folder(job) / CURVE)
            steps = tuple(curve["step"].to_list())
            train, held_out = (tuple(curve[name].to_list()) for name in ("train", "held_out"))
            name = f"{arm.method.name}, {arm.sight.name}"
            curves.append(content.LossCurve(name, job.seed, steps, train, steps, held_out))
        return curves

    def _failures(self) -> list[content.Failure]:
        mine = {self.store.name(job): job for job in with_needs(jobs_of(self.grid))}
        found = [failure for failure in self.store.failures() if failure.job in mine]
        return [content.Failure(f"{mine[f.job].title} ({f.job})", f.error, f.traceback) for f in found]

    def _versions(self) -> dict[str, str]:
        """What most results were made with; a grid that was finished over days may name several."""
        found = [self.results.provenance(job) for job in jobs_of(self.grid) if self.results.has(job)]
        names = sorted({(key, value) for p in found for key, value in p["versions"].items()})
        commits = sorted({p["commit"] for p in found if p["commit"]})
        machines = sorted({f"{p['machine']}, Python {p['python']}, {p['device']}" for p in found})
        versions = {key: ", ".join(v for k, v in names if k == key) for key in dict(names)}
        return {**versions, "commit": ", ".join(commits) or "unknown", "machine": "; ".join(machines)}


def convergence(change: Estimate, at_most: float) -> Convergence:
    """What twice the steps say of an arm whose success they changed, where it then succeeds in `at_most` percent at the
    loosest tolerance.

    A change by 5 points counts if its interval excludes none: a few episodes do not tell such a change from chance.
    Standing still at nothing is no convergence.
    """
    assert change.low is not None, "pairs have an interval"
    assert change.high is not None, "pairs have an interval"
    if abs(change.value) >= CONVERGED_WITHIN and change.low <= 0 <= change.high:
        return "not resolved"
    if change.value <= -CONVERGED_WITHIN:
        return "overfitted"
    return "undertrained" if change.value >= CONVERGED_WITHIN or at_most < CONVERGED_WITHIN else "converged"


RESEEDING = (
    content.Reseeding("policy: weights, batches, noise", by_seed=True),
    content.Reseeding("tokenizer: weights, batches", by_seed=True, note="where it is learned"),
    content.Reseeding("demonstrations", by_seed=False),
    content.Reseeding("pretrained encoders", by_seed=False, note="intervals hold for these encoders"),
    content.Reseeding("initial states of the rollouts", by_seed=False, note="shared by all cells, paired by hash"),
)
