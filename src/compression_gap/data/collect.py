"""Demonstrations by a suite's scripted expert: simulated without pictures, which are drawn later from the scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool

from compression_gap.data.demos import Demos
from compression_gap.seeds import episode_number
from compression_gap.suites.base import Simulators, Suite, state_hashes
from compression_gap.training import Report

OBSERVED = ("proprioception", "state", "stamp")


@dataclass
class Attempt:
    """One recorded episode: arrays [steps, ...] by the names of `Demos.ARRAYS`."""

    index: int
    initial_state: str
    frames: dict[str, np.ndarray]


def collect(
    suite: Suite, task: int, protocol: str, first: int, attempts: int, batch: int, report: Report
) -> tuple[Demos, int]:
    """Lets the expert try the initial states first .. first + attempts - 1 and keeps the successes.

    Returns the demonstrations and how many attempts there were, so that the yield can be told.
    Raises ValueError if no attempt succeeded.
    """
    kept: list[Attempt] = []
    for start in range(first, first + attempts, batch):
        indices = list(range(start, min(start + batch, first + attempts)))
        kept += _attempt(suite, task, protocol, indices)
        report((indices[-1] + 1 - first) / attempts, f"{len(kept)} demonstrations")
    if not kept:
        raise ValueError(f"the expert failed all {attempts} attempts at task {task} ({suite.tasks[task]})")
    lengths = [len(attempt.frames["label"]) for attempt in kept]
    episodes = pl.DataFrame(
        {
            "task": np.full(len(kept), task),
            "index": [attempt.index for attempt in kept],
            "start": np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
            "length": np.array(lengths, dtype=np.int64),
            "initial_state": [attempt.initial_state for attempt in kept],
        }
    )
    arrays = {name: np.concatenate([attempt.frames[name] for attempt in kept]) for name in Demos.ARRAYS}
    return Demos(episodes=episodes, **arrays), attempts


def _attempt(suite: Suite, task: int, protocol: str, indices: list[int]) -> list[Attempt]:
    states = suite.initial_states(task, protocol, indices)
    episodes = [episode_number(protocol, task, index) for index in indices]
    simulators, expert = suite.simulators(task, len(indices)), suite.expert(task)
    simulators.reset(states, episodes)
    expert.begin(episodes)
    steps: list[dict[str, np.ndarray]] = []
    running: list[np.ndarray] = []
    for _ in range(suite.legend.max_steps):
        alive = ~simulators.done()
        if not alive.any():
            break
        frame = {**simulators.observe(OBSERVED), "scene": simulators.scene()}
        frame["label"], frame["executed"] = expert.act(simulators)
        simulators.step(frame["executed"])
        steps.append(frame)
        running.append(alive)
    success = simulators.outcome()["success"]
    hashes = state_hashes(states)
    simulators.close()
    lengths = np.sum(running, axis=0)
    return [
        Attempt(indices[e], hashes[e], {name: _column(steps[: lengths[e]], name, e) for name in Demos.ARRAYS})
        for e in np.flatnonzero(success).tolist()
    ]


def _column(steps: list[dict[str, np.ndarray]], name: str, episode: int) -> np.ndarray:
    dtype = {"scene": np.float64, "stamp": np.int64}.get(name, np.float32)
    return np.stack([step[name][episode] for step in steps]).astype(dtype)


def replay_executed(suite: Suite, task: int, protocol: str, demos: Demos, row: int) -> Simulators:
    """Open-loop replay: the executed actions of one demonstration from its own initial state; closes nothing."""
    episode = demos.episodes.row(row, named=True)
    simulators = suite.simulators(task, 1)
    number = episode_number(protocol, task, episode["index"])
    simulators.reset(suite.initial_states(task, protocol, [episode["index"]]), [number])
    for action in demos.executed[episode["start"] : episode["start"] + episode["length"]]:
        simulators.step(np.asarray(action, dtype=np.float64)[None])
    return simulators


def replays(suite: Suite, task: int, protocol: str, demos: Demos, report: Report) -> Bool[np.ndarray, " N"]:
    """Whether each of the N demonstrations succeeds again when its executed actions are replayed.

    All of them do where a suite's initial states are complete and its simulator repeats itself.
    """
    succeeded = np.zeros(demos.episodes.height, dtype=bool)
    for row in range(len(succeeded)):
        simulators = replay_executed(suite, task, protocol, demos, row)
        succeeded[row] = simulators.outcome()["success"][0]
        simulators.close()
        report((row + 1) / len(succeeded), f"{succeeded.sum()} of {row + 1} succeed again")
    return succeeded
