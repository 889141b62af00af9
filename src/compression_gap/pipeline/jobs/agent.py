"""The job that trains an agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from compression_gap.agent import Agent, AgentSpec
from compression_gap.data.demos import Demos
from compression_gap.data.rows import Rows
from compression_gap.data.windows import Windows
from compression_gap.encoders.base import Encoder
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.codes import BATCH, WrittenCodes
from compression_gap.pipeline.jobs.data import (
    HELD_OUT_ROWS,
    Demonstrations,
    Drawings,
    drawn_frames,
    drawn_pictures,
    read_demos,
    spread,
    suite_of,
)
from compression_gap.pipeline.jobs.encoder import Features, TrainedEncoder
from compression_gap.pipeline.jobs.tokenizer import TrainedTokenizer
from compression_gap.seeds import seed_of
from compression_gap.shapes import Batch, ChunkShape
from compression_gap.store import Store
from compression_gap.suites.base import SuiteSpec
from compression_gap.training import Training, train


@dataclass(frozen=True)
class TrainedAgent(Job, kind="trained_agent", version=1):
    """A policy trained on top of an encoder. Writes the agent's folder, milestones and the loss curve."""

    resumable: ClassVar[bool] = True
    agent: AgentSpec
    demonstrations: tuple[Demonstrations, ...]
    drawings: tuple[Drawings, ...]
    """For encoders that are trained along; empty for others."""
    features: tuple[Features, ...]
    """For frozen encoders of pictures; empty for others."""
    encoder: TrainedEncoder | None
    tokenizer: TrainedTokenizer | None
    training: Training
    stride: int
    seed: int
    milestones: tuple[int, ...] = ()
    """Steps after which the weights are also kept: a run of 2N steps with milestone N holds the run of N steps."""

    @property
    def opens(self) -> tuple[Job, ...]:
        drawings = tuple(job.drawings for job in self.features)
        return drawings if self.codes is None else (*drawings, self.codes)

    @property
    def codes(self) -> WrittenCodes | None:
        """What it learns to predict, where that takes a search."""
        if self.tokenizer is None or not self.tokenizer.tokenizer.searches:
            return None
        return WrittenCodes(self.tokenizer, self.demonstrations, self.stride)

    @property
    def suite(self) -> SuiteSpec:
        """With the tasks that it learns, in the order of their ids."""
        return suite_of(self.demonstrations)

    @property
    def title(self) -> str:
        return f"agent {self.agent.policy.kind} on {self.agent.encoder.kind}, seed {self.seed}"

    def cost(self) -> Cost:
        horizon, tokenizer = self.agent.horizon, self.agent.tokenizer
        positions = horizon if tokenizer is None else tokenizer.expected_tokens(horizon)
        policy, encoder = self.agent.policy.cost(positions), self.agent.encoder.cost
        looks = self.agent.history * len(self.drawings[0].cameras) if self.drawings else 0
        return Cost(
            self.training.steps * self.training.batch * (policy.row + 3 * looks * encoder.picture),
            memory_mb=encoder.memory_mb if self.drawings else 1500,
            disk_mb=(1 + len(self.milestones)) * (policy.weights_mb + encoder.weights_mb),
            gpus=1,
        )

    def run(self, context: Context) -> None:
        suite = self.suite.build()
        agent = self._untrained(context.store).to(context.device)
        windows, held = (self._windows(context.store, agent, held_out=part) for part in (False, True))
        agent.policy.fit(windows.chunks.to(context.device))
        for part in (windows, held):
            if self.codes is not None:
                code = self.codes.load(context.store, held_out=part is held)
                part.targets = agent.policy.targets(part.chunks, code)
                continue
            pieces = part.chunks.split(BATCH)
            part.targets = torch.cat([agent.policy.targets(piece.to(context.device)).cpu() for piece in pieces])
        _standardise(agent, windows, context.device)
        size = self.training.batch

        def batch_at(step: int) -> Batch:
            return windows.training_batch(step, size, self.seed).to(context.device)

        chosen = spread(len(held), HELD_OUT_ROWS)
        held_batches = [held.at(rows).to(context.device) for rows in np.array_split(chosen, max(1, len(chosen) // 256))]
        train(
            agent,
            batch_at,
            held_batches,
            self.training,
            seed=self.seed,
            folder=context.folder,
            report=context.report,
            milestones=self.milestones,
        )
        assert agent.tasks == suite.tasks
        agent.save(context.folder)

    def _untrained(self, store: Store) -> Agent:
        suite = self.suite.build()
        torch.manual_seed(seed_of(self.seed, "weights"))
        agent = self.agent.build(suite.legend, suite.tasks)
        if self.encoder is not None:
            agent.encoder.load_state_dict(self.encoder.load(store).state_dict())
        if not agent.encoder.trained:
            agent.encoder.requires_grad_(False)
        if self.tokenizer is not None:
            agent.policy.get_submodule("tokenizer").load_state_dict(self.tokenizer.load(store).state_dict())
        return agent

    def _windows(self, store: Store, agent: Agent, *, held_out: bool) -> Windows:
        demos = read_demos(store, self.demonstrations)
        frames, row_of_frame = self._frames(store, demos, agent.encoder)
        return Windows(
            demos,
            ChunkShape(self.agent.horizon, len(agent.legend.action)),
            history=self.agent.history,
            stride=self.stride,
            gripper=agent.legend.gripper,
            held_out=held_out,
            frames=frames,
            row_of_frame=row_of_frame,
            crops=self.agent.encoder.crops if self.features else 1,
        )

    def _frames(
        self, store: Store, demos: Demos, encoder: Encoder
    ) -> tuple[Mapping[str, np.ndarray | Rows], np.ndarray | None]:
        """What the encoder reads of each frame, crop after crop, and which row of it belongs to a frame."""
        if not (self.features or self.drawings):
            return {name: getattr(demos, name) for name in encoder.reads if name != "stamp"}, None
        drawings = self.drawings or tuple(f.drawings for f in self.features)
        drawn = np.concatenate(drawn_frames(store, drawings))
        row_of_frame = np.full(len(demos.label), -1)
        row_of_frame[drawn] = np.arange(len(drawn))
        if self.drawings:
            return drawn_pictures(store, self.drawings), row_of_frame
        by_crop = zip(*(job.load(store) for job in self.features), strict=True)
        return {"features": Rows([part for crop in by_crop for part in crop])}, row_of_frame


def _standardise(agent: Agent, windows: Windows, device: str) -> None:
    """Fits the agent's scaling on training windows; features of an encoder that is still learning are left alone."""
    batch = windows.at(spread(len(windows), 4 * HELD_OUT_ROWS)).to(device)
    felt = batch.observation["proprioception"].float().flatten(0, 1)
    agent.standardise_proprioception.fit(felt)
    if agent.encoder.trained:
        return
    features = batch.observation.get("features")
    if features is None:
        frames = {name: batch.observation[name].flatten(0, 1) for name in agent.encoder.reads}
        features = agent.encoder.encode(frames)
    agent.standardise_features.fit(features.float().reshape(-1, agent.encoder.width))
