"""`cgap run` and `cgap report`: a study from its jobs to its page, and what that would take."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console
from rich.text import Text

from compression_gap import studies
from compression_gap.commands.answer import Answer, duration, finish, plain_table, show_failures, size
from compression_gap.commands.judged import video_files
from compression_gap.pipeline.cell import Grid
from compression_gap.pipeline.jobs import Videos
from compression_gap.pipeline.plan import jobs_of, videos_of
from compression_gap.pipeline.run import Outcome, divide
from compression_gap.pipeline.tables import Tables
from compression_gap.report import terminal
from compression_gap.report.page import render
from compression_gap.store import Store, write_text


def run_study(study: str, root: Path, workers: int, device: str, videos: int, *, quiet: bool) -> Answer:
    """Finishes a study's jobs, films that many episodes of each cell and task, and writes the report."""
    grid, store = studies.find(study), Store(root)
    filmed = videos_of(grid, videos) if videos else []
    outcome = finish([*jobs_of(grid), *filmed], store, workers, device, quiet=quiet)
    return _report(grid, store, outcome, _page(store, grid), filmed)


def report(study: str, root: Path, out: Path | None) -> Answer:
    """Writes a study's report from what is there."""
    grid, store = studies.find(study), Store(root)
    return _report(grid, store, Outcome(), out or _page(store, grid), [])


def _page(store: Store, grid: Grid) -> Path:
    return store.root / "reports" / f"{grid.name}.html"


def _report(grid: Grid, store: Store, outcome: Outcome, page: Path, filmed: list[Videos]) -> Answer:
    content = Tables(grid, store).report
    write_text(page, render(content))
    counts = {name: len(getattr(outcome, name)) for name in ("done", "reused", "failed", "blocked")}
    counts["again"] = outcome.again
    data = {
        **terminal.summary(content, str(page)),
        "failed": len(content.failures) + len(outcome.blocked),
        "seconds": round(outcome.seconds, 1),
        "job_seconds": round(content.seconds, 1),
        "jobs": counts,
        "videos": video_files(store, filmed),
    }

    def show(console: Console) -> None:
        terminal.show(content, console)
        for by_seed, told in ((True, "drawn afresh by every seed"), (False, "shared by all seeds")):
            what = "; ".join(row.what for row in content.reseeding if row.by_seed == by_seed)
            console.print(Text(f"{told}: {what}", style="dim"))
        for path in data["videos"]:
            console.print(Text(f"video: {path}"), soft_wrap=True)
        console.print(Text(f"report: {page}"), soft_wrap=True)
        show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def forecast(study: str, root: Path, workers: int, videos: int) -> Answer:
    """What running a study would take, with so many episodes of each cell and task filmed."""
    grid, store = studies.find(study), Store(root)
    finished, missing = divide([*jobs_of(grid), *(videos_of(grid, videos) if videos else [])], store)
    costs = {job.digest: job.cost() for job in finished + missing}
    left = [costs[job.digest] for job in missing]
    totals = {
        "jobs": len(finished) + len(missing),
        "finished": len(finished),
        "seconds": sum(cost.seconds for cost in left),
        "wall_seconds": sum(cost.seconds for cost in left) / workers,
        "workers": workers,
        "disk_mb": sum(cost.disk_mb for cost in left),
        "free_disk_mb": store.free_mb,
        "memory_mb": sum(sorted((cost.memory_mb for cost in left), reverse=True)[:workers]),
    }
    jobs = [
        {"job": store.name(job), "title": job.title, "finished": done, **dataclasses.asdict(costs[job.digest])}
        for done, some in ((True, finished), (False, missing))
        for job in some
    ]

    def show(console: Console) -> None:
        listed = plain_table("", "job", *(f">{unit}" for unit in ("seconds", "disk MB", "memory MB")))
        for job in jobs:
            mark = "finished" if job["finished"] else ""
            numbers = (f"{job[key]:,.0f}" for key in ("seconds", "disk_mb", "memory_mb"))
            listed.add_row(mark, job["title"], *numbers, style="dim" if job["finished"] else None)
        console.print(listed)
        console.print(
            f"\n{totals['jobs']} jobs, {totals['finished']} of them finished; the others take about "
            f"{duration(totals['wall_seconds'])} with {workers} workers, {size(totals['disk_mb'])} of disk "
            f"({size(totals['free_disk_mb'])} are free) and at most {size(totals['memory_mb'])} of memory. "
            "Estimates, for one core of a laptop a job."
        )

    return Answer({"grid": grid.name, "totals": totals, "jobs": jobs}, show)
