"""`cgap tolerance`: how much distortion of the actions a suite's tasks tolerate, and how much codes make."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from compression_gap import config
from compression_gap.commands.answer import Answer, finish, plain_table, report_path, show_failures
from compression_gap.commands.coded_data import FEWEST_EPISODES, HELD_OUT, CodedSuite
from compression_gap.commands.selection import Selection
from compression_gap.commands.tokenizers import named
from compression_gap.commands.tolerance_rows import SHARES, Code, Noise, Plan, told
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import (
    ChunkNoise,
    CodeDistortion,
    NoiseDistortion,
    NoisyReplay,
    OpenLoop,
    Replay,
    TrainedTokenizer,
)
from compression_gap.pipeline.jobs.tokenizer_quality import cuts
from compression_gap.pipeline.plan import side_by_side
from compression_gap.report.sheet import Sheet, render
from compression_gap.report.tolerance_sheet import IN_SHORT, in_short, limits, sheet
from compression_gap.rollout import Rollouts
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store, read_job, write_text
from compression_gap.suites.base import SuiteSpec

DEFAULT = "oat"
HORIZON, STRIDE = 16, 4


@dataclass(frozen=True)
class TypedChunking:
    """What a chunk is, as typed; None: as the trained tokenizers have it, else 16 actions at every 4 steps."""

    horizon: int | None
    stride: int | None


def tolerance(
    selection: Selection,
    names: Sequence[str],
    chunking: TypedChunking,
    judged: tuple[str, int, int | None],
    root: Path,
    workers: int,
    *,
    quiet: bool,
) -> Answer:
    """Replays the expert through codes and noise; `judged` are protocol, initial states a task, and actions executed.

    A name is a tokenizer as for `cgap tokenizers`, or the folder of one that is trained. Raises ValueError, before
    anything runs, for a tokenizer, a field or a suite that is not there, a task without an expert, tokenizers that do
    not share their chunks, and too few episodes.
    """
    selection.check_enough(FEWEST_EPISODES, HELD_OUT)
    spec, store = selection.spec(), Store(root)
    command = _command(selection, names, chunking, judged)
    selection = selection.without_last(judged[1])
    selection.check_enough(FEWEST_EPISODES, f"--rollouts {judged[1]} are not for fitting codes, and {HELD_OUT}")
    codes = _trained(names or [DEFAULT], selection, spec, chunking, store)
    plan = _plan(selection, spec, codes, judged)
    outcome = finish(plan.jobs, store, workers, "cpu", quiet=quiet)
    data: dict[str, Any] = {
        "suite": config.to_json(spec),
        "name": selection.name,
        "tasks": [spec.build().tasks[task] for task in selection.tasks or range(spec.num_tasks)],
        "protocol": plan.rollouts.protocol,
        "recorded": selection.recorded,
        "rollouts": plan.rollouts.episodes,
        "execute": plan.rollouts.execute,
        "horizon": plan.codes[0].tokenizer.horizon,
        "stride": plan.codes[0].tokenizer.stride,
        **told(plan, store, spec),
        "failures": [[job.title, error] for job, error in outcome.failed.items()],
        "failed": len(outcome.failed) + len(outcome.blocked),
        "seconds": round(outcome.seconds, 1),
    }
    page = sheet(data, command)
    report, numbers = (
        report_path(store, "tolerance", data["name"], plan.jobs, ending) for ending in ("html", "parquet")
    )
    data |= _written(data, page, report, numbers)

    def show(console: Console) -> None:
        _show(data, page, console)
        console.print(Text(f"report: {data['report']}"), soft_wrap=True)
        show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def _trained(
    names: Sequence[str], selection: Selection, spec: SuiteSpec, chunking: TypedChunking, store: Store
) -> dict[str, TrainedTokenizer]:
    """The tokenizers by the names that tables call them. Raises ValueError unless all share their chunks."""
    suite = spec.build()
    by_task = selection.jobs(spec, suite)  # raises for a task without an expert
    tasks = [suite.tasks[task] for task in by_task]
    folders = {name: _in_folder(Path(name), spec, tasks, store) for name in names if "/" in name.partition(":")[0]}
    first = next(iter(folders.values()), None)
    horizon = chunking.horizon or (first.horizon if first else HORIZON)
    stride = chunking.stride or (first.stride if first else STRIDE)
    demos = first.demonstrations if first else tuple(job for some in by_task.values() for job in some)
    shape = ChunkShape(horizon, len(suite.legend.action))
    specs = named([name for name in names if name not in folders], shape)
    found: dict[str, TrainedTokenizer] = {}
    for name in names:
        if name not in folders:
            found[name] = CodedSuite(selection, demos, horizon, stride).fitted(specs[name])
            continue
        job = folders[name]
        if (job.demonstrations, job.horizon, job.stride) != (demos, horizon, stride):
            raise ValueError(
                f"--tokenizer {name}: expected chunks of {horizon} actions at every {stride} steps, of the same "
                f"demonstrations for all tokenizers; got {job.horizon} and {job.stride}"
                + ("" if job.demonstrations == demos else ", of other demonstrations")
                + "; measure it in a run of its own, without --horizon and --stride"
            )
        found[f"{job.tokenizer.kind} {job.digest[:6]}"] = job
    return found


def _in_folder(folder: Path, spec: SuiteSpec, tasks: Sequence[str], store: Store) -> TrainedTokenizer:
    """The trained tokenizer in a folder. Raises ValueError if it is none, in another store, or of another suite or of
    other tasks: distortion and success have to be about the same ones."""
    job = read_job(folder)
    if not isinstance(job, TrainedTokenizer):
        raise ValueError(f"--tokenizer {folder} holds a {job.kind}; give a folder below trained_tokenizer")
    if folder.absolute() != store.folder(job):
        raise ValueError(
            f"--tokenizer {folder} is not in the store {store.root}: give --store {folder.absolute().parents[1]}"
        )
    if job.suite.kind != spec.kind:
        raise ValueError(f"--tokenizer {folder} was trained on {job.suite.kind}, and the suite here is {spec.kind}")
    found, suite = sorted({job.suite.task_of(one.suite, one.task) for one in job.demonstrations}), job.suite.build()
    if {suite.tasks[task] for task in found} != set(tasks):
        raise ValueError(
            f"--tokenizer {folder} was trained on other tasks than are replayed, so its distortion would be of other "
            f"chunks than success; replay its own (--tasks): {'; '.join(suite.tasks[task] for task in found)}"
        )
    return job


def _plan(
    selection: Selection, spec: SuiteSpec, codes: dict[str, TrainedTokenizer], judged: tuple[str, int, int | None]
) -> Plan:
    """All jobs. Raises ValueError for a protocol without enough initial states, or chunks that are too short."""
    protocol, states, typed = judged
    first, recorded = next(iter(codes.values())), selection.recorded
    execute = typed or min(Rollouts.execute, first.horizon)
    if execute > first.horizon:
        raise ValueError(f"--execute {execute}: a chunk has only {first.horizon} actions")
    if not recorded:
        spec.check_episodes(protocol, states)
    rollouts = Rollouts(protocol, states, execute)
    tasks = side_by_side(spec) if selection.tasks is None else tuple(selection.tasks)
    seen = max(job.first + job.attempts for job in first.demonstrations)
    unseen = selection.further(spec, seen, states)
    chunks = (first.demonstrations, first.horizon, first.stride)

    def replays(tokenizer: TrainedTokenizer | None, prefix: int | None, *, arm_only: bool = False) -> list[Job]:
        return [Replay(spec, tokenizer, first.horizon, rollouts, task, prefix, arm_only) for task in tasks]

    def open_loop(tokenizer: TrainedTokenizer | None, prefix: int | None) -> list[Job]:
        return [OpenLoop(job, tokenizer, prefix, first.horizon, execute) for job in unseen]

    def noise(name: str, tokenizer: TrainedTokenizer | None) -> Noise:
        job = ChunkNoise(*chunks, tokenizer)
        noisy: list[list[Job]] = [[NoisyReplay(spec, job, share, rollouts, task) for task in tasks] for share in SHARES]
        return Noise(name, job, NoiseDistortion(job, SHARES), noisy)

    def code(name: str, job: TrainedTokenizer) -> Code:
        lengths = cuts(job.tokenizer.build(ChunkShape(job.horizon, len(spec.build().legend.action))))
        prefixes = [*lengths[:-1], None]  # the whole code comes last
        return Code(
            name,
            job,
            CodeDistortion(job),
            closed=[[] if recorded else replays(job, prefix) for prefix in prefixes],
            arm_only=[[] if recorded else replays(job, prefix, arm_only=True) for prefix in prefixes],
            open=[open_loop(job, prefix) for prefix in prefixes],
        )

    made = [code(name, job) for name, job in codes.items()]
    if recorded:  # nobody knows what people would have done elsewhere
        return Plan(rollouts, [], open_loop(None, None), made, [])
    noises = [noise("white noise", None), *(noise(f"noise like {name}", job) for name, job in codes.items())]
    return Plan(rollouts, replays(None, None), open_loop(None, None), made, noises)


def _command(
    selection: Selection, names: Sequence[str], chunking: TypedChunking, judged: tuple[str, int, int | None]
) -> str:
    protocol, states, execute = judged
    words = [*([] if selection.recorded else ["--protocol", protocol]), "--rollouts", str(states)]
    typed = (("--execute", execute), ("--horizon", chunking.horizon), ("--stride", chunking.stride))
    words += [word for name, value in typed if value is not None for word in (name, str(value))]
    words += [word for name in names for word in ("--tokenizer", name)]
    return shlex.join(["cgap", "tolerance", *selection.words(words)])


def _written(data: dict[str, Any], page: Sheet, report: Path, numbers: Path) -> dict[str, str]:
    """Writes the page, and a row for everything that was replayed as Parquet; returns where."""
    write_text(report, render(page))
    pl.DataFrame([_flat(row) for row in data["rows"]], infer_schema_length=None).write_parquet(numbers)
    return {"report": str(report), "parquet": str(numbers)}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers with an interval as columns `name_value`, `name_low` and `name_high`."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        inner = value if isinstance(value, dict) else None
        found |= {f"{name}_{end}": number for end, number in inner.items()} if inner else {name: value}
    return found


def _show(data: dict[str, Any], page: Sheet, console: Console) -> None:
    listed = plain_table("", *(f">{head}" for head in IN_SHORT))
    listed.columns[0].no_wrap = True
    group = ""
    for line in in_short(data["rows"]):
        if line.group not in (group, line.label):
            listed.add_row(Text(line.group, style="dim"))
        group = line.group
        listed.add_row(Text(line.label), *(Text(value.replace(" [", "\n[")) for value in line.values))
    console.print(listed)
    for sentence in limits(data):
        console.print(Text(sentence), soft_wrap=True)
    console.print(Text(page.lead, style="dim"))
