"""What the commands do: each returns an answer as data for `--json` and as a view for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compression_gap import config, studies
from compression_gap.agent import Agent
from compression_gap.catalogue import catalogue
from compression_gap.pipeline.cell import Cell, Grid
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import EPISODES, TrainedAgent
from compression_gap.pipeline.plan import evaluation, jobs_of
from compression_gap.pipeline.progress import Progress, bar
from compression_gap.pipeline.run import Outcome, divide, free_megabytes, run
from compression_gap.pipeline.tables import Tables, success
from compression_gap.policies.base import Decoding
from compression_gap.report import terminal
from compression_gap.report.page import render
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.statistics import Outcomes, wilson
from compression_gap.store import Store, StoreError, read_job, verify
from compression_gap.suites.base import SuiteSpec


@dataclass(frozen=True)
class Answer:
    """What a command has to say."""

    data: dict[str, Any]
    show: Callable[[Console], None]
    failed: bool = False
    """Whether jobs failed."""


def run_study(study: str, root: Path, workers: int, device: str, *, quiet: bool) -> Answer:
    """Finishes a study's jobs and writes its report."""
    grid, store = studies.find(study), Store(root)
    outcome = _run(jobs_of(grid), store, workers, device, quiet=quiet)
    return _report(grid, store, outcome, _page(store, grid))


def report(study: str, root: Path, out: Path | None) -> Answer:
    """Writes a study's report from what is there."""
    grid, store = studies.find(study), Store(root)
    return _report(grid, store, Outcome(), out or _page(store, grid))


def _page(store: Store, grid: Grid) -> Path:
    return store.root / "reports" / f"{grid.name}.html"


def _report(grid: Grid, store: Store, outcome: Outcome, page: Path) -> Answer:
    content = Tables(grid, store).report
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(content), "utf-8")
    counts = {name: len(getattr(outcome, name)) for name in ("done", "reused", "failed", "blocked")}
    data = {
        **terminal.summary(content, str(page)),
        "failed": len(outcome.failed) + len(outcome.blocked),
        "seconds": round(outcome.seconds, 1),
        "job_seconds": round(content.seconds, 1),
        "jobs": counts,
    }

    def show(console: Console) -> None:
        terminal.show(content, console)
        for by_seed, told in ((True, "drawn afresh by every seed"), (False, "shared by all seeds")):
            what = "; ".join(row.what for row in content.reseeding if row.by_seed == by_seed)
            console.print(Text(f"{told}: {what}", style="dim"))
        console.print(Text(f"report: {page}"), soft_wrap=True)
        _show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def forecast(study: str, root: Path, workers: int) -> Answer:
    """What running a study would take."""
    grid, store = studies.find(study), Store(root)
    finished, missing = divide(jobs_of(grid), store)
    costs = {job.digest: job.cost() for job in finished + missing}
    left = [costs[job.digest] for job in missing]
    totals = {
        "jobs": len(finished) + len(missing),
        "finished": len(finished),
        "seconds": sum(cost.seconds for cost in left),
        "wall_seconds": sum(cost.seconds for cost in left) / workers,
        "workers": workers,
        "disk_mb": sum(cost.disk_mb for cost in left),
        "free_disk_mb": free_megabytes(store),
        "memory_mb": sum(sorted((cost.memory_mb for cost in left), reverse=True)[:workers]),
    }
    jobs = [
        {"job": store.name(job), "title": job.title, "finished": done, **dataclasses.asdict(costs[job.digest])}
        for done, some in ((True, finished), (False, missing))
        for job in some
    ]

    def show(console: Console) -> None:
        table = _table("", "job", *(f">{unit}" for unit in ("seconds", "disk MB", "memory MB")))
        for job in jobs:
            mark = "finished" if job["finished"] else ""
            numbers = (f"{job[key]:,.0f}" for key in ("seconds", "disk_mb", "memory_mb"))
            table.add_row(mark, job["title"], *numbers, style="dim" if job["finished"] else None)
        console.print(table)
        console.print(
            f"\n{totals['jobs']} jobs, {totals['finished']} of them finished; the others take about "
            f"{duration(totals['wall_seconds'])} with {workers} workers, {size(totals['disk_mb'])} of disk "
            f"({size(totals['free_disk_mb'])} are free) and at most {size(totals['memory_mb'])} of memory. "
            "Estimates, for one core of a laptop a job."
        )

    return Answer({"grid": grid.name, "totals": totals, "jobs": jobs}, show)


def status(root: Path) -> Answer:
    """What is in a store."""
    store = Store(root)
    kinds: dict[str, dict[str, float]] = {}
    damaged = []
    for folder in store.folders():
        try:
            files = verify(folder)["files"]
        except StoreError as error:
            damaged.append(str(error))
            continue
        kind = kinds.setdefault(folder.parent.name, {"results": 0, "disk_mb": 0.0})
        kind["results"] += 1
        kind["disk_mb"] += sum(files.values()) / 1e6
    data = {
        "store": str(store.root),
        "free_disk_mb": free_megabytes(store),
        "finished": kinds,
        "unfinished": store.unfinished(),
        "failures": [dataclasses.asdict(failure) for failure in store.failures()],
        "damaged": damaged,
    }

    def show(console: Console) -> None:
        console.print(Text(f"store: {store.root} ({size(data['free_disk_mb'])} free)"), soft_wrap=True)
        table = _table("finished", ">results", ">disk")
        for name, kind in kinds.items():
            table.add_row(name.replace("_", " "), f"{kind['results']:.0f}", size(kind["disk_mb"]))
        console.print(table if kinds else "nothing is finished")
        for name in data["unfinished"]:
            console.print(f"unfinished (running now, or resumed by the next run): {name}")
        for failure in data["failures"]:
            console.print(
                Text(f"\nfailed: {failure['job']}: {failure['error']}\n{failure['traceback']}"), soft_wrap=True
            )
        for error in damaged:
            console.print(Text(f"damaged: {error}"), soft_wrap=True)

    return Answer(data, show)


def try_cell(
    study: str,
    chosen: tuple[str | None, str | None, int | None],
    leaves: dict[str, str],
    root: Path,
    workers: int,
    device: str,
    *,
    quiet: bool,
) -> Answer:
    """Trains and judges one cell of a study with other settings."""
    grid, store = studies.find(study), Store(root)
    method, sight, seed = chosen
    cell: Cell = grid.base.replace(
        method=_named(grid.methods, method, "method"),
        sight=_named(grid.sights, sight, "sight"),
        seed=grid.seeds[0] if seed is None else seed,
    )
    cell = config.override(cell, leaves)
    jobs = {decoding: evaluation(cell, decoding) for decoding in cell.method.decodings}
    outcome = _run(list(jobs.values()), store, workers, device, quiet=quiet)
    judged = {
        decoding: judge(pl.read_parquet(store.folder(job) / EPISODES), cell.suite)
        for decoding, job in jobs.items()
        if store.has(job)
    }
    folder = str(store.folder(next(iter(jobs.values())).agent))
    data = {
        "cell": config.to_json(cell),
        "agent": folder,
        "success": judged,
        "failed": len(outcome.failed) + len(outcome.blocked),
        "seconds": round(outcome.seconds, 1),
    }

    def show(console: Console) -> None:
        console.print(Text(f"{cell.method.name} on {cell.sight.name}, seed {cell.seed}", style="bold"))
        for decoding, rows in judged.items():
            _show_success(rows, decoding, console)
        console.print(Text(f"agent: {folder}"), soft_wrap=True)
        _show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def evaluate(folder: Path, episodes: int, protocol: str, execute: int | None, decoding: Decoding) -> Answer:
    """Rolls a trained agent out again."""
    job = read_job(folder)
    if not isinstance(job, TrainedAgent):
        raise ValueError(f"{folder} holds a {job.kind}; give a folder below trained_agent")
    spec = job.demonstrations[0].suite
    suite = spec.build()
    torch.set_num_threads(1)
    agent = Agent.load(folder)
    execute = execute or min(Rollouts.execute, agent.spec.horizon)
    if execute > agent.spec.horizon:
        raise ValueError(f"--execute: the agent's chunks have {agent.spec.horizon} actions, got {execute}")
    with bar("rollouts") as report:
        rows = roll_out(AgentDriver(agent, decoding), suite, Rollouts(protocol, episodes, execute), spec.batch, report)
    tasks = {name: judge(rows.filter(pl.col("task") == task), spec) for task, name in enumerate(suite.tasks)}
    judged = judge(rows, spec)
    how = {"protocol": protocol, "execute": execute, "decoding": decoding}
    data = {"folder": str(folder), **how, "success": judged, "tasks": tasks}

    def show(console: Console) -> None:
        _show_success(judged, f"{protocol}, {decoding}", console)
        for name, of_task in tasks.items():
            _show_success(of_task, name, console)

    return Answer(data, show)


def listing(what: str | None) -> Answer:
    """The parts and studies that there are."""
    data = catalogue(what)

    def show(console: Console) -> None:
        for family, entries in data.items():
            console.print(Text(family, style="bold"))
            for name, entry in entries.items():
                console.print(Text(f"  {name}: {entry['text']}"))
                for field in entry["fields"]:
                    console.print(Text(f"      {field['name']} = {field['default']}  {field['text']}", style="dim"))

    return Answer(data, show)


def judge(rows: pl.DataFrame, suite: SuiteSpec) -> list[dict[str, Any]]:
    """Success of one checkpoint in percent with Wilson's interval, at every tolerance of the suite."""
    found = []
    for tolerance in suite.tolerances_mm or (None,):
        estimate = wilson(Outcomes.from_episodes(success(rows, tolerance)[None]))
        interval = {"estimate": estimate.value, "low": estimate.low, "high": estimate.high, "unit": "%"}
        found.append({"tolerance_mm": tolerance, "episodes": rows.height, **interval})
    return found


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(megabytes: float) -> str:
    """`3 MB` or `1.2 GB`."""
    return f"{megabytes:.3g} MB" if megabytes < 1000 else f"{megabytes / 1000:.3g} GB"


def _run(jobs: list[Job], store: Store, workers: int, device: str, *, quiet: bool) -> Outcome:
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device here; leave the option away to use the CPU")
    return run(jobs, store, workers=workers, device=device, progress=Progress(quiet=quiet))


def _named(options: tuple[Any, ...], name: str | None, what: str) -> Any:
    names = [option.name for option in options]
    if name is not None and name not in names:
        raise ValueError(f"the study has no {what} {name!r}; {config.closest(name, names)}")
    return options[names.index(name) if name else 0]


def _table(*columns: str) -> Table:
    """A column whose name begins with ">" is right-aligned."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table


def _show_success(judged: list[dict[str, Any]], name: str, console: Console) -> None:
    parts = [
        (f"{row['tolerance_mm']:g} mm: " if row["tolerance_mm"] is not None else "")
        + f"{row['estimate']:.0f} [{row['low']:.0f}, {row['high']:.0f}]"
        for row in judged
    ]
    count = judged[0]["episodes"]
    console.print(
        Text(f"{name}: success in % of {count} episodes, 95 % for this checkpoint (Wilson): {', '.join(parts)}")
    )


def _show_failures(outcome: Outcome, console: Console) -> None:
    for job, error in outcome.failed.items():
        console.print(Text(f"failed: {job.title}: {error}", style="red"), soft_wrap=True)
    if outcome.failed:
        also = f", and {len(outcome.blocked)} jobs that need them could not run" if outcome.blocked else ""
        console.print(f"{len(outcome.failed)} jobs failed{also}; cgap status shows the tracebacks")
