"""`cgap tokenizers`: action tokenizers measured side by side, on a suite's demonstrations or somebody's files."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.text import Text

from compression_gap import config, plugins
from compression_gap.commands import typed
from compression_gap.commands.answer import Answer, finish, plain_table, report_path
from compression_gap.commands.audit_data import Source
from compression_gap.commands.coded_data import CodedData, CodedFiles, CodedSuite
from compression_gap.commands.selection import Selection
from compression_gap.measures.attempts import write
from compression_gap.measures.diffusion_rate import DiffusionCurve, least_rate
from compression_gap.measures.rate_distortion import Spectrum, gaussian_distortion
from compression_gap.pipeline.job import Job, with_needs
from compression_gap.pipeline.jobs import (
    SUMMARY,
    FittedTokenizer,
    Modelability,
    TokenBits,
    TokenizerQuality,
)
from compression_gap.pipeline.jobs.data import spread
from compression_gap.pipeline.plan import PROBE
from compression_gap.pipeline.run import Outcome
from compression_gap.report.sheet import Line, Sheet, render
from compression_gap.report.tokenizer_sheet import bound_words, sheet, speeds
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store, write_text
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.tokenizers.hub import Hub
from compression_gap.training import Training

TIMED_CHUNKS = 256
ROUNDS = 3
CURVE_BITS = np.geomspace(0.3, 3000, 300)
PROBING = (20, Training(1500, batch=64, learning_rate=1e-3, schedule="cosine"))
"""Passes over the training chunks, and the most steps."""


@dataclass(frozen=True)
class Plan:
    """What is done for one row of the table."""

    name: str
    spec: TokenizerSpec | None
    quality: TokenizerQuality | None
    given: Modelability | None
    """None where nothing is known but actions."""
    failure: str | None = None
    """Why nothing can be done."""

    @property
    def jobs(self) -> list[Job]:
        return [job for job in (self.quality, self.given) if job is not None]


def tokenizers(
    measured: Selection | Source,
    names: Sequence[str],
    horizon: int,
    stride: int,
    root: Path,
    workers: int,
    *,
    quiet: bool,
) -> Answer:
    """Measures the tokenizers that are named, or one of every kind that needs no files, on chunks of `horizon` actions.

    A tokenizer that fails is told in its place; the others are measured. Raises FileNotFoundError or ValueError, before
    anything is measured, for a tokenizer, a field, a suite or a file that is not there or wrong, a tokenizer that does
    not fit the chunks, and too few episodes.
    """
    store = Store(root)
    if isinstance(measured, Source):
        coded: CodedData = CodedFiles.of(measured, horizon, stride, store, quiet=quiet)
    else:
        coded = CodedSuite.of(measured, horizon, stride)
    specs: Mapping[str, TokenizerSpec | str] = named(names, coded.shape) if names else _of_every_kind(coded.shape)
    plans = [_plan(name, found, coded) for name, found in specs.items()]
    bound = coded.bound()
    jobs = [bound, *(job for plan in plans for job in plan.jobs)]
    outcome = finish(jobs, store, workers, "cpu", quiet=quiet)
    curve = bound.load(store) if store.has(bound) else None
    rows = [_row(plan, store, outcome) for plan in plans]
    for row in rows:
        row["above_least"] = _above_least(row, curve)
    data: dict[str, Any] = {
        **coded.facts,
        "horizon": horizon,
        "given": coded.given,
        "tokenizers": rows,
        "gaussian_curve": _curve(rows),
        "denoiser_curve": []
        if curve is None
        else list(zip(curve.bits.tolist(), curve.distortion.tolist(), strict=True)),
        "denoiser_failed": outcome.failed.get(bound),
        "failed": sum(row["failed"] is not None for row in rows),
        "seconds": round(outcome.seconds, 1),
    }
    chosen = [word for name in names for word in ("--tokenizer", name)]
    chunks = ["--horizon", str(horizon), "--stride", str(stride)]
    page = sheet(data, shlex.join(["cgap", "tokenizers", *coded.words([*chunks, *chosen])]))
    report, numbers = (report_path(store, "tokenizers", data["name"], jobs, ending) for ending in ("html", "parquet"))
    data |= _written(data, page, report, numbers)

    def show(console: Console) -> None:
        _show(page, speeds(rows), console)
        console.print(Text(bound_words(rows), style="dim"))
        console.print(Text(f"report: {data['report']}"), soft_wrap=True)

    return Answer(data, show, failed=bool(data["failed"]))


def named(names: Sequence[str], shape: ChunkShape) -> dict[str, TokenizerSpec]:
    """The tokenizers that were typed. Raises ValueError for one that does not fit."""
    return {name: typed.tokenizer(name, shape) for name in names}


def _of_every_kind(shape: ChunkShape) -> dict[str, TokenizerSpec | str]:
    """One of every kind that needs no files, at its small size, or why it cannot be had here."""
    found: dict[str, TokenizerSpec | str] = {}
    for kind in plugins.kinds("tokenizers"):
        if kind == Hub.kind:  # it wraps a file or a download of the user's choice
            continue
        try:
            cls = plugins.find("tokenizers", kind)
            if typed.required(cls):
                continue
            spec = typed.small_size(cls)
            assert isinstance(spec, TokenizerSpec), "the family says so"
            spec.build(shape)
            found[kind] = spec
        except Exception as error:  # another's code: the table goes on without it
            found[kind] = f"{type(error).__name__}: {error}"
    return found


def _plan(name: str, found: TokenizerSpec | str, coded: CodedData) -> Plan:
    """The jobs of one tokenizer."""
    if isinstance(found, str):
        return Plan(name, None, None, None, found)
    tokenizer = coded.fitted(found)
    probe = replace(PROBE, head="digits" if found.build(coded.shape).digits else "index")
    probing = coded.steps(*PROBING)
    given = Modelability(tokenizer, probe, probing) if coded.given else None
    return Plan(name, found, TokenizerQuality(TokenBits(tokenizer, probe, probing)), given)


def _row(plan: Plan, store: Store, outcome: Outcome) -> dict[str, Any]:
    """What was measured of one tokenizer, and `failed`: why something was not."""
    errors = {job.digest: error for job, error in outcome.failed.items()}
    reasons = [plan.failure] if plan.failure else []
    row: dict[str, Any] = {"name": plan.name, "spec": None if plan.spec is None else config.to_json(plan.spec)}
    if plan.quality is not None:
        reasons += [errors[job.digest] for job in with_needs(plan.jobs) if job.digest in errors]
        if store.has(plan.quality):
            row |= json.loads((store.folder(plan.quality) / SUMMARY).read_text())
            if row["failure"] is None:
                row["speed"] = _speed(plan.quality.bits.tokenizer, store)
        if plan.given is not None and store.has(plan.given):
            told = json.loads((store.folder(plan.given) / SUMMARY).read_text())
            row["given_bits"] = told["code_length_bits"]
    row["failed"] = reasons[0] if reasons else None
    return row


@torch.no_grad()
def _speed(job: FittedTokenizer, store: Store) -> dict[str, float]:
    """Chunks a second that are written and read, on one core: the best of some rounds. Told, and never kept."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tokenizer = job.load(store)
    held = torch.from_numpy(job.part(store, held_out=True).chunk)
    held = held[spread(len(held), TIMED_CHUNKS)]
    written = write(tokenizer, held)
    held = held[written.rows]
    found = {"encode": _rate(lambda: tokenizer.encode(held), len(held))}
    found["decode"] = _rate(lambda: tokenizer.decode(written.tokens), len(held))
    torch.set_num_threads(threads)
    return found


def _rate(call: Callable[[], object], count: int) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return count / best


def _curve(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Bits and squared errors along the Gaussian's rate-distortion function; it is the same for all rows."""
    variances = next((found for row in rows if (found := row.get("gaussian", {}).get("variances"))), None)
    if variances is None:
        return []
    errors = gaussian_distortion(Spectrum(np.array(variances), (), 0), CURVE_BITS).values
    return list(zip(CURVE_BITS.tolist(), errors.tolist(), strict=True))


def _above_least(row: Mapping[str, Any], curve: DiffusionCurve | None) -> float | None:
    """Bits of a code more than the smaller of the Gaussian's and the denoiser's bound at its error."""
    variances = row.get("gaussian", {}).get("variances")
    if curve is None or not variances or not row["squared_error"]:
        return None
    least = least_rate(Spectrum(np.array(variances), (), 0), curve, np.array([row["squared_error"]]))
    return row["rate_bits"] - float(least.values[0])


def _written(data: dict[str, Any], sheet: Sheet, page: Path, numbers: Path) -> dict[str, str]:
    """Writes the page, and the numbers without the timings as Parquet; returns where."""
    write_text(page, render(sheet))
    rows = [_flat({name: value for name, value in row.items() if name != "speed"}) for row in data["tokenizers"]]
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(numbers)
    return {"report": str(page), "parquet": str(numbers)}


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested numbers as columns `outer_inner`; the settings as one text."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name == "spec":
            found[name] = json.dumps(value)
        elif isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}_")
        else:
            found[before + name] = value
    return found


def _show(page: Sheet, further: Sequence[Line], console: Console) -> None:
    listed = plain_table("", *(f">{name}" for name in page.heads))
    listed.columns[0].no_wrap = True
    for line in (*page.lines, *further):
        listed.add_row(Text(line.label), *(Text(value.replace(" [", "\n[")) for value in line.values))
    console.print(listed)
    for name, reason in page.failures:
        console.print(Text(f"{name}: {reason}", style="red"), soft_wrap=True)
    console.print(Text(page.lead, style="dim"))
