"""Jobs that roll something out: a trained agent, or the expert through a code."""

from __future__ import annotations

from dataclasses import dataclass

from compression_gap.agent import Agent
from compression_gap.measures.replay import ReplayDriver
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.agent import TrainedAgent
from compression_gap.pipeline.jobs.data import (
    EPISODES,
)
from compression_gap.pipeline.jobs.tokenizer import TrainedTokenizer
from compression_gap.policies.base import Decoding
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.suites.base import SuiteSpec
from compression_gap.training import WEIGHTS


@dataclass(frozen=True)
class Evaluation(Job, kind="evaluation", version=1):
    """Rollouts of a trained agent. Writes episodes.parquet, a row an episode."""

    agent: TrainedAgent
    rollouts: Rollouts
    decoding: Decoding
    milestone: int | None = None
    """Weights after that many steps; None: the final ones."""

    @property
    def title(self) -> str:
        return f"rollouts of {self.agent.title}"

    def cost(self) -> Cost:
        suite, agent = self.agent.demonstrations[0].suite, self.agent.agent
        episodes, plans = self.rollouts.episodes * suite.num_tasks, suite.cost.steps / self.rollouts.execute
        pictures = plans * agent.history * len(suite.cameras) if agent.encoder.sees else 0
        seconds = suite.cost.rollout + pictures * agent.encoder.cost.picture
        return Cost(2 + episodes * seconds, memory_mb=agent.encoder.cost.memory_mb, gpus=1)

    def run(self, context: Context) -> None:
        suite = self.agent.demonstrations[0].suite
        weights = WEIGHTS if self.milestone is None else f"weights-{self.milestone}.safetensors"
        agent = Agent.load(context.store.folder(self.agent), weights).to(context.device)
        driver = AgentDriver(agent, self.decoding)
        rows = roll_out(driver, suite.build(), self.rollouts, suite.batch, context.report)
        rows.write_parquet(context.folder / EPISODES)


@dataclass(frozen=True)
class Replay(Job, kind="replay", version=1):
    """The expert's chunks through a code, executed in closed loop; without a tokenizer, the expert itself."""

    suite: SuiteSpec
    tokenizer: TrainedTokenizer | None
    horizon: int
    rollouts: Rollouts

    @property
    def title(self) -> str:
        return f"replay through {self.tokenizer.title}" if self.tokenizer else "expert"

    def cost(self) -> Cost:
        return Cost(2 + 3 * self.rollouts.episodes * self.suite.num_tasks * self.suite.cost.episode)

    def run(self, context: Context) -> None:
        suite = self.suite.build()
        tokenizer = self.tokenizer.load(context.store) if self.tokenizer else None
        driver = ReplayDriver(suite, self.horizon, tokenizer)
        rows = roll_out(driver, suite, self.rollouts, self.suite.batch, context.report)
        rows.write_parquet(context.folder / EPISODES)
