"""Demonstrations by a suite's scripted expert: simulated without pictures, which are drawn later from the scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool

from compression_gap.data.demos import Demos
from compression_gap.seeds import episode_number
from compression_gap.suites.base import Simulators, Suite, state_hashes
from compression_gap.training import Report

OBSERVED = ("proprioception", "state", "stamp")


def collect(
    suite: Suite,
    task: int,
    protocol: str,
    first: int,
    attempts: int,
    batch: int,
    report: Report,
    folder: Path | None = None,
) -> Demos:
    """Lets the expert try the initial states first .. first + attempts - 1 and keeps the successes.

    With a `folder`, every batch is written there as soon as it is over, and one that stands there is not tried again:
    after a kill the same call goes on. Raises ValueError if no attempt succeeded.
    """
    parts: list[Demos] = []
    for start in range(first, first + attempts, batch):
        indices = list(range(start, min(start + batch, first + attempts)))
        parts.append(_kept(folder, suite, task, protocol, indices))
        kept = sum(part.episodes.height for part in parts)
        report((indices[-1] + 1 - first) / attempts, f"{kept} of {indices[-1] + 1 - first} kept")
    demos = Demos.join(parts)
    if not demos.episodes.height:
        raise ValueError(f"the expert failed all {attempts} attempts at task {task} ({suite.tasks[task]})")
    return demos


def _kept(folder: Path | None, suite: Suite, task: int, protocol: str, indices: list[int]) -> Demos:
    if folder is None:
        return _attempt(suite, task, protocol, indices)
    place = folder / f"from-{indices[0]}"
    if not place.exists():
        beside = place.with_suffix(".new")
        beside.mkdir(parents=True, exist_ok=True)
        _attempt(suite, task, protocol, indices).save(beside)
        beside.rename(place)
    return Demos.load(place)


def _attempt(suite: Suite, task: int, protocol: str, indices: list[int]) -> Demos:
    """The successes among one batch of attempts; there may be none."""
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
    kept = np.flatnonzero(simulators.outcome()["success"])
    simulators.close()
    lengths, hashes = np.sum(running, axis=0)[kept].astype(np.int64), state_hashes(states)
    rows = pl.DataFrame(
        {
            "task": np.full(len(kept), task),
            "index": np.array(indices, dtype=np.int64)[kept],
            "start": np.cumsum([0, *lengths])[: len(kept)].astype(np.int64),
            "length": lengths,
            "initial_state": pl.Series([hashes[e] for e in kept], dtype=pl.String),
        }
    )
    whole = {name: np.stack([step[name] for step in steps]) for name in Demos.ARRAYS}  # [steps, E, ...]
    arrays = {name: _end_to_end(values, kept, lengths).astype(Demos.dtype(name)) for name, values in whole.items()}
    return Demos(episodes=rows, **arrays)


def _end_to_end(values: np.ndarray, kept: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:0, 0], *(values[:n, e] for e, n in zip(kept, lengths, strict=True))])


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
