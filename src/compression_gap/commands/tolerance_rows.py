"""From finished replays to numbers: success of everything that was replayed, and the tolerance read off it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from compression_gap.measures.noise import ChunkScale
from compression_gap.measures.rate_distortion import Spectrum, gaussian_rate, held_out_spectrum
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import (
    EPISODES,
    SUMMARY,
    ChunkNoise,
    CodeDistortion,
    NoiseDistortion,
    TrainedTokenizer,
)
from compression_gap.pipeline.results import success
from compression_gap.rollout import Rollouts
from compression_gap.statistics import Estimate, Outcomes, paired, wilson
from compression_gap.statistics.tolerance import LOST, Falling, Tolerance, tolerance
from compression_gap.store import Store
from compression_gap.suites.base import SuiteSpec

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Squared errors of the noise, in shares of the chunks' variance: from hardly anything to nothing but noise."""
AXES = ("mm", "squared_error")


@dataclass(frozen=True)
class Noise:
    """Replays with one shape of noise."""

    name: str
    job: ChunkNoise
    distortion: NoiseDistortion
    replays: list[list[Job]]
    """Of each of `SHARES`."""


@dataclass(frozen=True)
class Code:
    """Replays through a code; each by prefix, the whole code last."""

    name: str
    tokenizer: TrainedTokenizer
    distortion: CodeDistortion
    closed: list[list[Job]]
    arm_only: list[list[Job]]
    open: list[list[Job]]


@dataclass(frozen=True)
class Plan:
    """Everything that is replayed."""

    rollouts: Rollouts
    expert: list[Job]
    plain: list[Job]
    """Open loop without a code."""
    codes: list[Code]
    noises: list[Noise]

    @property
    def jobs(self) -> list[Job]:
        """All that is to be done."""
        found: list[Job] = [*self.expert, *self.plain]
        for noise in self.noises:
            found += [noise.distortion, *(job for some in noise.replays for job in some)]
        for code in self.codes:
            by_prefix = (*code.closed, *code.arm_only, *code.open)
            found += [code.distortion, *(job for some in by_prefix for job in some)]
        return found


def told(plan: Plan, store: Store, spec: SuiteSpec) -> dict[str, Any]:
    """`rows`: everything that was replayed, as the table has it; `curves`: distortion against success, and D*.

    What could not be replayed is None, and left out of the curves.
    """
    seen = _Seen(store)
    expert, plain = seen.rows(plan.expert), seen.rows(plan.plain)
    source = seen.spectrum(plan.noises)
    who = "expert" if plan.expert else "as recorded"
    rows: list[dict[str, Any]] = [{"group": who, "name": who, "closed_loop": _rate(expert), "open_loop": _rate(plain)}]
    curves: list[dict[str, Any]] = []
    for code in plan.codes:
        moved = seen.summary(code.distortion, "prefixes", len(code.closed))
        names = [_tokens(found, whole=number + 1 == len(moved)) for number, found in enumerate(moved)]
        arms = [seen.rows(jobs) for jobs in code.arm_only]
        for name, found, closed, loose in zip(names, moved, code.closed, code.open, strict=True):
            replayed = _beside(expert, seen.rows(closed), "closed_loop") | _open(plain, seen.rows(loose))
            rows.append({"group": code.name, "name": name, **found, **replayed})
        if not plan.expert:
            continue
        errors = f"errors of {code.name}"
        for name, found, arm in zip(names, moved, arms, strict=True):
            only = {**found, "gripper": 0.0} if found else {}
            rows.append({"group": errors, "name": name, **only, **_beside(expert, arm, "closed_loop")})
        curves.append(_curve(errors, expert, arms, moved, spec, source))
    for noise in plan.noises:
        moved = seen.summary(noise.distortion, "levels", len(SHARES))
        noisy = [seen.rows(jobs) for jobs in noise.replays]
        for share, found, replayed in zip(SHARES, moved, noisy, strict=True):
            name = f"{100 * share:g} % of variance"
            rows.append({"group": noise.name, "name": name, **found, **_beside(expert, replayed, "closed_loop")})
        curves.append(_curve(noise.name, expert, noisy, moved, spec, source))
    states = [] if expert is None else expert["initial_state"].to_list()
    return {"lost": LOST, "rows": rows, "curves": curves, "initial_states": states}


class _Seen:
    """What is in the store; None for what is not."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def spectrum(self, noises: Sequence[Noise]) -> Spectrum | None:
        """Of scaled chunks, as tolerances are told in; None where nobody replays with noise."""
        if not noises or not self.store.has(noises[0].job):
            return None
        *chunks, legend = noises[0].job.chunks(self.store)
        scale = ChunkScale.of(chunks[0], legend)
        return held_out_spectrum(*(scale.scaled(some.astype(np.float64), legend) for some in chunks))

    def rows(self, jobs: Sequence[Job]) -> pl.DataFrame | None:
        """Episodes of all tasks, in one order everywhere; None also where nobody can be asked."""
        if not jobs or not all(map(self.store.has, jobs)):
            return None
        tables = [pl.read_parquet(self.store.folder(job) / EPISODES) for job in jobs]
        return pl.concat([table.with_columns(piece=pl.lit(n)) for n, table in enumerate(tables)])

    def summary(self, job: Job, name: str, length: int) -> list[dict[str, Any]]:
        if not self.store.has(job):
            return [{} for _ in range(length)]
        return json.loads((self.store.folder(job) / SUMMARY).read_text())[name]


def _tokens(found: dict[str, Any], *, whole: bool) -> str:
    tokens = f"{round(found['tokens'], 1):g} token" + ("s" if found["tokens"] != 1 else "") if found else "tokens"
    return f"{tokens}, whole" if whole else tokens


def _rate(rows: pl.DataFrame | None) -> dict[str, Any] | None:
    """Success in percent with Wilson's interval, as the suite counts it."""
    return None if rows is None else _ends(wilson(Outcomes.from_episodes(success(rows, None)[None])))


def _beside(before: pl.DataFrame | None, after: pl.DataFrame | None, name: str) -> dict[str, Any]:
    """Success, and how it differs from before, initial state by initial state."""
    if before is None or after is None:
        return {name: _rate(after), f"{name}_change": None}
    assert before["initial_state"].equals(after["initial_state"]), "replays are paired"
    change = paired(success(before, None), success(after, None))
    return {name: _rate(after), f"{name}_change": _ends(change)}


def _open(plain: pl.DataFrame | None, coded: pl.DataFrame | None) -> dict[str, Any]:
    """Success of those demonstrations that succeed again without a code, and the difference over all of them."""
    found = _beside(plain, coded, "open_loop")
    if plain is not None and coded is not None:
        again = coded.filter(plain["success"])
        found |= {"open_loop": _rate(again) if again.height else None, "open_loop_episodes": again.height}
    return found


def _ends(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _curve(
    name: str,
    expert: pl.DataFrame | None,
    levels: Sequence[pl.DataFrame | None],
    moved: Sequence[dict[str, Any]],
    spec: SuiteSpec,
    source: Spectrum | None,
) -> dict[str, Any]:
    """The fit at the suite's own notion of success, and the tolerance at that and at each of its tolerances, with the
    bits that the best code of that error needs."""
    curve: dict[str, Any] = {"name": name, "points": [], "tolerances": [], "note": ""}
    known = [(rows, found) for rows, found in zip(levels, moved, strict=True) if rows is not None and found]
    if expert is None or not known:
        return curve | {"note": "not everything that it needs could be replayed"}
    for within in (None, *spec.tolerances_mm):
        row: dict[str, Any] = {"tolerance_mm": within, "expert": 100 * float(success(expert, within).mean())}
        row["bits"] = None
        for axis in AXES:
            row[axis] = None
            if known[0][1][axis] is None:
                continue
            distortion = np.array([found[axis] for _, found in known])
            outcomes = np.stack([success(rows, within) for rows, _ in known])
            try:
                read, fit = tolerance(distortion, outcomes, success(expert, within), _strata(expert))
            except ValueError as error:
                row["note"] = str(error)
                curve["note"] = str(error) if within is None else curve["note"]
                continue
            row[axis] = _read(read, fit)
            if axis == "squared_error" and source is not None:
                row["bits"] = _needed(read, source)
            if within is None and not curve["points"]:
                curve |= {"axis": axis, "points": _points(fit)}
        curve["tolerances"].append(row)
    return curve


def _strata(rows: pl.DataFrame) -> np.ndarray:
    return rows["task"].to_numpy().astype(np.int64)


def _read(found: Tolerance, fit: Falling) -> dict[str, Any]:
    return {
        **dataclasses.asdict(found),
        "smallest": float(fit.distortion[1]),
        "largest": float(fit.distortion[-1]),
    }


def _needed(found: Tolerance, source: Spectrum) -> dict[str, Any] | None:
    """Bits a chunk that suffice for the tolerated error, with those at the ends of its interval; None where the error
    itself is not known."""

    def bits(error: float | None) -> float | None:
        return None if not error else float(gaussian_rate(source, np.array([error])).values[0])

    if found.value is None:
        return None
    return {"value": bits(found.value), "low": bits(found.high), "high": bits(found.low), "kind": "upper bound"}


def _points(fit: Falling) -> list[dict[str, Any]]:
    """The fit, point by point."""
    columns = {field.name: getattr(fit, field.name) for field in dataclasses.fields(fit)}
    return [
        {name: None if values is None else float(values[number]) for name, values in columns.items()}
        for number in range(len(fit.distortion))
    ]
