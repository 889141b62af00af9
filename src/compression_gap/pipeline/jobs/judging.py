"""Jobs that roll something out: a trained agent, or the expert through a code."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from compression_gap.agent import Agent
from compression_gap.config import added_later
from compression_gap.film import film
from compression_gap.measures.replay import ReplayDriver
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.agent import TrainedAgent
from compression_gap.pipeline.jobs.data import (
    EPISODES,
    PIECES,
)
from compression_gap.pipeline.jobs.tokenizer import TrainedTokenizer
from compression_gap.policies.base import Decoding
from compression_gap.rollout import AgentDriver, Beginnings, Driver, Rollouts, roll_out
from compression_gap.suites.base import Suite, SuiteSpec
from compression_gap.training import WEIGHTS


@dataclass(frozen=True)
class Evaluation(Job, kind="evaluation", version=1):
    """Rollouts of a trained agent. Writes episodes.parquet, a row an episode."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    agent: TrainedAgent
    rollouts: Rollouts
    decoding: Decoding
    milestone: int | None = None
    """Weights after that many steps; None: the final ones."""
    task: int | None = added_later(None)
    """Only this task; None: all."""
    elsewhere: SuiteSpec | None = added_later(None)
    """The suite with other settings; None: as the agent was trained for it."""

    @property
    def suite(self) -> SuiteSpec:
        """Where it is judged."""
        return self.elsewhere or self.agent.suite

    @property
    def title(self) -> str:
        return f"rollouts of {self.agent.title}"

    @property
    def place(self) -> object:
        return self.suite, self.task

    @property
    def silence(self) -> float:
        """While the encoder looks at what all episodes of a batch see before they plan."""
        return min(self.rollouts.episodes, self.suite.batch) * self._pictures * self.agent.agent.encoder.cost.picture

    @property
    def _pictures(self) -> int:
        """That an episode's plan is made from."""
        agent = self.agent.agent
        return agent.history * len(self.suite.cameras) if agent.encoder.sees else 0

    def cost(self) -> Cost:
        suite, agent = self.suite, self.agent.agent
        episodes = self.rollouts.episodes * len(tasks_of(suite, self.task))
        plans = suite.cost.steps / self.rollouts.execute
        pictures = plans * self._pictures
        seconds = suite.cost.rollout + pictures * agent.encoder.cost.picture
        return Cost(2 + episodes * seconds, memory_mb=agent.encoder.cost.memory_mb, gpus=1)

    def run(self, context: Context) -> None:
        judge(self.driver(context), self.suite.build(), self.suite, self.rollouts, self.task, context)

    def driver(self, context: Context) -> AgentDriver:
        """The trained agent at the wheel."""
        weights = WEIGHTS if self.milestone is None else f"weights-{self.milestone}.safetensors"
        agent = Agent.load(context.store.folder(self.agent), weights).to(context.device)
        return AgentDriver(agent, self.decoding)


@dataclass(frozen=True)
class Videos(Job, kind="videos", version=1):
    """The first episodes of an evaluation, as it saw them: an mp4 each."""

    simulates: ClassVar[bool] = True
    evaluation: Evaluation
    count: int
    """Of each task."""

    @property
    def title(self) -> str:
        return f"videos of {self.evaluation.agent.title}"

    @property
    def needs(self) -> tuple[Job, ...]:
        """The agent alone."""
        return self.evaluation.needs

    @property
    def silence(self) -> float:
        return self.evaluation.silence

    def cost(self) -> Cost:
        suite, judged = self.evaluation.suite, self.evaluation
        episodes = self.count * len(tasks_of(suite, judged.task))
        each = suite.cost.rollout + suite.cost.steps * len(suite.cameras) * suite.cost.picture
        return Cost(2 + episodes * each, disk_mb=0.3 * episodes, gpus=1)

    def run(self, context: Context) -> None:
        judged = self.evaluation
        driver, spec = judged.driver(context), judged.suite
        tasks = tasks_of(spec, judged.task)
        film(driver, spec.build(), spec, judged.rollouts, tasks, self.count, context.folder, context.report)


@dataclass(frozen=True)
class Replay(Job, kind="replay", version=1):
    """The expert's chunks through a code, executed in closed loop; without a tokenizer, the expert itself."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    suite: SuiteSpec
    tokenizer: TrainedTokenizer | None
    horizon: int
    rollouts: Rollouts
    task: int | None = added_later(None)
    """Only this task; None: all."""
    prefix: int | None = added_later(None)
    """Chunks are read back from the first so many tokens of an ordered code; None: from the whole code."""
    arm_only: bool = added_later(False)
    """Whether only the arm goes through the code, and grippers are as the expert has them."""

    @property
    def title(self) -> str:
        if self.tokenizer is None:
            return "expert"
        tokens = "" if self.prefix is None else f"{self.prefix} tokens of "
        return f"replay through {tokens}{self.tokenizer.title}" + (", arm only" if self.arm_only else "")

    @property
    def place(self) -> object:
        return self.suite, self.task

    def cost(self) -> Cost:
        episodes = self.rollouts.episodes * len(tasks_of(self.suite, self.task))
        return Cost(2 + 3 * episodes * self.suite.cost.episode)

    def run(self, context: Context) -> None:
        suite = self.suite.build()
        tokenizer = self.tokenizer.load(context.store) if self.tokenizer else None
        driver = ReplayDriver(suite, self.horizon, tokenizer, self.prefix, arm_only=self.arm_only)
        judge(driver, suite, self.suite, self.rollouts, self.task, context)


def tasks_of(suite: SuiteSpec, task: int | None) -> Sequence[int]:
    """The tasks that a job is about."""
    return range(suite.num_tasks) if task is None else (task,)


def judge(
    driver: Driver,
    suite: Suite,
    spec: SuiteSpec,
    rollouts: Rollouts,
    task: int | None,
    context: Context,
    beginnings: Beginnings | None = None,
) -> None:
    """Rolls out and writes the rows; a killed run goes on with the batch of episodes in which it was killed."""
    pieces, tasks = context.folder / PIECES, tasks_of(spec, task)
    rows = roll_out(driver, suite, rollouts, tasks, spec.batch, context.report, pieces, beginnings=beginnings)
    rows.write_parquet(context.folder / EPISODES)
    shutil.rmtree(pieces)
