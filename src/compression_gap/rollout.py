"""Agents in simulators: receding horizon, many episodes at once, one row per episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from compression_gap.agent import Agent
from compression_gap.config import Spec
from compression_gap.policies.base import Decoding
from compression_gap.seeds import episode_number, seed_of
from compression_gap.suites.base import Simulators, States, Suite, state_hashes
from compression_gap.training import Report


@dataclass(frozen=True)
class Rollouts(Spec, family="settings", kind="rollouts", version=1):
    """How agents are judged."""

    protocol: str
    """Which of the suite's sets of initial states."""
    episodes: int
    """Episodes a task: initial states 0, 1, ... of the protocol."""
    execute: int = 8
    """Actions of a chunk that are executed before the agent looks again."""

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.execute < 1:
            raise ValueError(f"rollouts: episodes and execute are at least 1, got {self.episodes} and {self.execute}")


@dataclass(frozen=True)
class Beginnings:
    """Where the E episodes of one task begin, instead of a protocol's initial states."""

    index: Sequence[int]
    """Their numbers."""
    states: States


Watch = Callable[[int, Sequence[int], Simulators], None]  # task, episodes, simulators


@runtime_checkable
class Driver(Protocol):
    """What decides on actions in a running batch of episodes."""

    def begin(self, task: int, episodes: Sequence[int]) -> None: ...
    def plan(self, simulators: Simulators) -> tuple[Float[np.ndarray, "E T D"], Bool[np.ndarray, " E"]]:
        """The next chunk of every episode, and which of them are valid."""
        ...

    def stepped(self, simulators: Simulators, left: int) -> None:
        """Called before each executed step; `left` steps remain until the next plan."""
        ...


class AgentDriver:
    """An agent at the wheel. It is shown only the frames that its next plan looks at."""

    def __init__(self, agent: Agent, decoding: Decoding) -> None:
        self.agent = agent
        self.decoding: Decoding = decoding

    def begin(self, task: int, episodes: Sequence[int]) -> None:
        """Seeds each episode's own draws from its number, so cells share them."""
        self.agent.begin([task] * len(episodes), [seed_of("rollout", number) for number in episodes])

    def plan(self, simulators: Simulators) -> tuple[np.ndarray, np.ndarray]:
        """One look and one chunk."""
        self.agent.observe(simulators.observe(self.agent.reads))
        sampled = self.agent.plan(self.decoding)
        return sampled.chunk.cpu().numpy().astype(np.float64), sampled.valid.cpu().numpy()

    def stepped(self, simulators: Simulators, left: int) -> None:
        """Shows the agent the frames just before its next plan."""
        if left < self.agent.spec.history:
            self.agent.observe(simulators.observe(self.agent.reads))


def roll_out(
    driver: Driver,
    suite: Suite,
    rollouts: Rollouts,
    tasks: Sequence[int],
    batch: int,
    report: Report,
    folder: Path | None = None,
    watch: Watch | None = None,
    beginnings: Beginnings | None = None,
) -> pl.DataFrame:
    """Runs every episode of the tasks and returns a row an episode; with `beginnings`, those of one task from there.

    Columns: task, index, protocol, initial_state (hash), steps, invalid (chunks that could not be decoded), the suite's
    conditions and its outcome columns. An episode whose chunk is invalid keeps what is left of its last plan, else
    stands still. With a `folder`, every batch of rows is written there as soon as it is over, and one that stands there
    is not run again: after a kill the same call goes on. `watch` is shown the simulators before every step and at the
    end.
    """
    pieces = list(_pieces(tasks, rollouts.episodes if beginnings is None else len(beginnings.index), batch))
    frames = []
    simulators: dict[tuple[int, int], Simulators] = {}
    for number, (task, piece) in enumerate(pieces):
        kept = folder / f"task-{task}-from-{piece[0]}.parquet" if folder else None
        if kept and kept.exists():
            frames.append(pl.read_parquet(kept))
            continue
        key = (task, len(piece))
        if key not in simulators:
            for held in simulators.values():
                held.close()
            simulators = {key: suite.simulators(task, len(piece))}
        steps_done = _report_within(report, number, len(pieces))
        if beginnings is None:
            index, states = piece, suite.initial_states(task, rollouts.protocol, piece)
        else:
            index = [beginnings.index[place] for place in piece]
            states = {name: rows[piece] for name, rows in beginnings.states.items()}
        frames.append(_batch(driver, suite, rollouts, task, index, states, simulators[key], steps_done, watch))
        if kept:
            beside = kept.with_suffix(".new")
            beside.parent.mkdir(exist_ok=True)
            frames[-1].write_parquet(beside)
            beside.replace(kept)
    for held in simulators.values():
        held.close()
    return pl.concat(frames)


def _pieces(tasks: Sequence[int], episodes: int, batch: int) -> Iterator[tuple[int, list[int]]]:
    for task in tasks:
        for first in range(0, episodes, batch):
            yield task, list(range(first, min(first + batch, episodes)))


def _report_within(report: Report, number: int, pieces: int) -> Callable[[float], None]:
    return lambda fraction: report((number + fraction) / pieces, f"episodes {number + 1}/{pieces}")


def _batch(
    driver: Driver,
    suite: Suite,
    rollouts: Rollouts,
    task: int,
    indices: list[int],
    states: States,
    simulators: Simulators,
    steps_done: Callable[[float], None],
    watch: Watch | None,
) -> pl.DataFrame:
    episodes = [episode_number(rollouts.protocol, task, index) for index in indices]
    simulators.reset(states, episodes)
    driver.begin(task, episodes)
    num, limit = len(indices), suite.legend.max_steps
    steps, invalid = np.zeros(num, dtype=np.int64), np.zeros(num, dtype=np.int64)
    last: np.ndarray | None = None
    for start in range(0, limit, rollouts.execute):
        if simulators.done().all():
            break
        chunk, valid = driver.plan(simulators)
        execute = min(rollouts.execute, limit - start, chunk.shape[1])
        chunk = _keep_last_plan(chunk, valid, last, rollouts.execute, suite.legend.gripper)
        last = chunk
        running = ~simulators.done()
        invalid += running & ~valid
        for step in range(execute):
            if step > 0:
                driver.stepped(simulators, execute - step)
            if watch:
                watch(task, indices, simulators)
            steps += ~simulators.done()
            simulators.step(chunk[:, step])
        steps_done((start + execute) / limit)
    if watch:
        watch(task, indices, simulators)
    columns = {name: np.asarray(values) for name, values in simulators.outcome().items()}
    return pl.DataFrame(
        {
            "task": np.full(num, task),
            "index": indices,
            "protocol": [rollouts.protocol] * num,
            "initial_state": state_hashes(states),
            "steps": steps,
            "invalid": invalid,
            **{name: [value] * num for name, value in suite.conditions.items()},
            **columns,
        }
    )


def _keep_last_plan(
    chunk: np.ndarray, valid: np.ndarray, last: np.ndarray | None, executed: int, gripper: tuple[int, ...]
) -> np.ndarray:
    """Rows without a valid chunk go on with the rest of their last plan, of which `executed` actions are done; at its
    end the arm rests and the gripper holds."""
    if valid.all():
        return chunk
    kept = np.zeros_like(chunk)
    if last is not None:
        rest = last.shape[1] - executed
        kept[:, :rest] = last[:, executed:]
        kept[:, rest:, list(gripper)] = last[:, -1:, list(gripper)]
    return np.where(valid[:, None, None], chunk, kept)
