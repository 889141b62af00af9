"""`cgap evaluate`: a trained agent, judged again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from compression_gap.commands.answer import Answer, finish, show_failures
from compression_gap.commands.judged import compare, judge, read_rows, show_difference, show_success, video_files
from compression_gap.config import override
from compression_gap.pipeline.jobs import RecordedDemonstrations, TrainedAgent, Videos
from compression_gap.pipeline.plan import judged
from compression_gap.policies.base import Decoding
from compression_gap.rollout import Rollouts
from compression_gap.store import Store, read_job
from compression_gap.suites.base import SuiteSpec


def evaluate(
    folder: Path,
    rollouts: tuple[str, int, int | None],
    decoding: Decoding,
    videos: int,
    settings: dict[str, str],
    workers: int,
    device: str,
    *,
    quiet: bool,
) -> Answer:
    """Rolls a trained agent out again; `rollouts` are protocol, episodes a task, and actions executed of a chunk.

    With `settings` of the suite changed it is judged both ways, and compared episode by episode.
    """
    agent = read_job(folder)
    if not isinstance(agent, TrainedAgent):
        raise ValueError(f"{folder} holds a {agent.kind}; give a folder below trained_agent")
    store = Store(folder.absolute().parents[1])
    if folder.absolute() != store.folder(agent):
        raise ValueError(
            f"{folder} was moved out of its store, or made by an earlier version of its parts: what they make now "
            f"would be at {store.name(agent)} below a store"
        )
    protocol, episodes, execute = rollouts
    execute = execute or min(Rollouts.execute, agent.agent.horizon)
    if execute > agent.agent.horizon:
        raise ValueError(f"--execute: the agent's chunks have {agent.agent.horizon} actions, got {execute}")
    agent.suite.check_episodes(protocol, episodes)
    learned = {job.protocol for job in agent.demonstrations if not isinstance(job, RecordedDemonstrations)}
    known = max((agent.suite.shared_starts(protocol, one, episodes) for one in learned), default=0)
    as_trained = judged(agent, Rollouts(protocol, episodes, execute), decoding)
    jobs = as_trained
    if settings:
        elsewhere = _other_suite(agent, settings)
        jobs = judged(agent, Rollouts(protocol, episodes, execute), decoding, elsewhere=elsewhere)
    filmed = [Videos(job, videos) for job in jobs] if videos else []
    outcome = finish([*as_trained, *jobs, *filmed], store, workers, device, quiet=quiet)
    how = {"protocol": protocol, "execute": execute, "decoding": decoding}
    data: dict[str, Any] = {"folder": str(folder), **how, "settings": settings, "failed": len(outcome.failed)}
    data["starts_of_demonstrations"] = known
    data["videos"] = video_files(store, filmed)
    judged_all = all(map(store.has, [*as_trained, *jobs]))
    if judged_all:
        rows = read_rows(store, jobs)
        names = agent.suite.build().tasks
        tasks = {name: judge(rows.filter(pl.col("task") == task), agent.suite) for task, name in enumerate(names)}
        data |= {"success": judge(rows, agent.suite), "tasks": tasks}
        if settings:
            before = read_rows(store, as_trained)
            data |= {"as_trained": judge(before, agent.suite), "difference": compare(before, rows, agent.suite)}

    def show(console: Console) -> None:
        if known:
            told = f"{known} of {episodes} initial states a task are those of demonstrations that it has learned from"
            console.print(Text(f"not new to the agent: {told}"))
        if judged_all:
            show_success(data["success"], f"{protocol}, {decoding}", console)
            for name, of_task in data["tasks"].items():
                show_success(of_task, name, console)
            if settings:
                show_success(data["as_trained"], "with the suite as in training", console)
                show_difference(data["difference"], console)
        for path in data["videos"]:
            console.print(Text(f"video: {path}"), soft_wrap=True)
        show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def _other_suite(agent: TrainedAgent, settings: dict[str, str]) -> SuiteSpec:
    """Raises ValueError if the agent could not act there."""
    elsewhere = override(agent.suite, settings)
    here, there = agent.suite.build(), elsewhere.build()
    if here.tasks != there.tasks or here.legend != there.legend:
        changed = ", ".join(f"--{name} {value}" for name, value in settings.items())
        raise ValueError(f"{changed}: the agent was trained for other tasks, or other observations or actions")
    return elsewhere
