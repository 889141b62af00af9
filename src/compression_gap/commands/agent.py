"""`cgap evaluate`: a trained agent, judged again."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich.console import Console
from rich.text import Text

from compression_gap.commands.answer import Answer, finish, show_failures
from compression_gap.commands.judged import judge, read_rows, show_success, video_files
from compression_gap.pipeline.jobs import TrainedAgent, Videos
from compression_gap.pipeline.plan import judged
from compression_gap.policies.base import Decoding
from compression_gap.rollout import Rollouts
from compression_gap.store import Store, read_job


def evaluate(
    folder: Path,
    rollouts: tuple[str, int, int | None],
    decoding: Decoding,
    videos: int,
    workers: int,
    device: str,
    *,
    quiet: bool,
) -> Answer:
    """Rolls a trained agent out again; `rollouts` are protocol, episodes a task, and actions executed of a chunk."""
    agent = read_job(folder)
    if not isinstance(agent, TrainedAgent):
        raise ValueError(f"{folder} holds a {agent.kind}; give a folder below trained_agent")
    store = Store(folder.absolute().parents[1])
    if folder.absolute() != store.folder(agent):
        raise ValueError(f"{folder} was moved out of its store; expected it at {store.name(agent)} below a store")
    protocol, episodes, execute = rollouts
    execute = execute or min(Rollouts.execute, agent.agent.horizon)
    if execute > agent.agent.horizon:
        raise ValueError(f"--execute: the agent's chunks have {agent.agent.horizon} actions, got {execute}")
    agent.suite.check_episodes(protocol, episodes)
    jobs = judged(agent, Rollouts(protocol, episodes, execute), decoding)
    filmed = [Videos(job, videos) for job in jobs] if videos else []
    outcome = finish([*jobs, *filmed], store, workers, device, quiet=quiet)
    how = {"protocol": protocol, "execute": execute, "decoding": decoding}
    data = {"folder": str(folder), **how, "failed": len(outcome.failed)}
    data["videos"] = video_files(store, filmed)
    if not outcome.failed:
        rows = read_rows(store, jobs)
        names = agent.suite.build().tasks
        tasks = {name: judge(rows.filter(pl.col("task") == task), agent.suite) for task, name in enumerate(names)}
        data |= {"success": judge(rows, agent.suite), "tasks": tasks}

    def show(console: Console) -> None:
        if not outcome.failed:
            show_success(data["success"], f"{protocol}, {decoding}", console)
            for name, of_task in data["tasks"].items():
                show_success(of_task, name, console)
        for path in data["videos"]:
            console.print(Text(f"video: {path}"), soft_wrap=True)
        show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))
