"""Every kind of job, in the order in which a cell needs them. Read this file to understand the program.

Demonstrations -> Drawings -> TrainedEncoder -> PoseError
       |              '-----------.- Features -.
       '-> TrainedTokenizer ------'------------+-> TrainedAgent -> Evaluation
                '-> Replay, TokenBits
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from compression_gap.agent import Agent, AgentSpec
from compression_gap.data.collect import collect
from compression_gap.data.demos import Demos
from compression_gap.data.windows import Windows, chunks_from, window_frames
from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.measures.distortion import distortion
from compression_gap.measures.entropy import sum_of_marginals, utilisation
from compression_gap.measures.pose_error import pose_errors, task_error
from compression_gap.measures.replay import ReplayDriver, through_code
from compression_gap.measures.token_bits import TokenModel
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.base import Decoding
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.seeds import seed_of
from compression_gap.shapes import Batch, ChunkShape
from compression_gap.store import Store
from compression_gap.suites.base import SuiteSpec
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec
from compression_gap.training import WEIGHTS, Training, train

EPISODES, SUMMARY = "episodes.parquet", "summary.json"
HELD_OUT_ROWS = 2048  # enough for a loss curve whose noise does not hide a trend
ENCODING_BATCH = 256  # fixed, because the last bits of a convolution depend on the batch size


@dataclass(frozen=True)
class Demonstrations(Job, kind="demonstrations", version=1):
    """Successful expert episodes of one task, simulated without pictures. Writes `Demos` and summary.json."""

    suite: SuiteSpec
    task: int
    first: int
    """Initial state of the first attempt, in the protocol "demonstrations"."""
    attempts: int

    @property
    def title(self) -> str:
        return f"demonstrations of task {self.task}"

    def cost(self) -> Cost:
        return Cost(self.attempts * self.suite.cost.episode, disk_mb=0.05 * self.attempts)

    def run(self, context: Context) -> None:
        suite = self.suite.build()
        batch = self.suite.batch
        demos, attempts = collect(suite, self.task, "demonstrations", self.first, self.attempts, batch, context.report)
        demos.save(context.folder)
        summary = {"attempts": attempts, "kept": demos.episodes.height, "frames": len(demos.label)}
        (context.folder / SUMMARY).write_text(json.dumps(summary))


@dataclass(frozen=True)
class Drawings(Job, kind="drawings", version=1):
    """Pictures of the frames that training windows look at. Writes frames.npy (their numbers) and one .npy a camera."""

    demonstrations: Demonstrations
    cameras: tuple[str, ...]
    history: int
    stride: int

    @property
    def title(self) -> str:
        return f"pictures of task {self.demonstrations.task}"

    def cost(self) -> Cost:
        pictures = self.demonstrations.attempts * 90 / self.stride * len(self.cameras)
        return Cost(pictures * self.demonstrations.suite.cost.picture, disk_mb=pictures * 0.0123)

    def run(self, context: Context) -> None:
        suite = self.demonstrations.suite.build()
        demos = Demos.load(context.store.folder(self.demonstrations))
        rows = np.arange(demos.episodes.height)
        frames = np.unique(window_frames(demos, rows, self.history, self.stride))
        np.save(context.folder / "frames.npy", frames)
        size = suite.legend.image_size
        for number, camera in enumerate(self.cameras):
            path = context.folder / f"{camera}.npy"
            pictures = _array_on_disk(path, np.uint8, (len(frames), size, size, 3))
            for first in range(0, len(frames), ENCODING_BATCH):
                chosen = frames[first : first + ENCODING_BATCH]
                pictures[first : first + len(chosen)] = suite.draw(
                    self.demonstrations.task, demos.scene[chosen], camera
                )
                context.report((number + first / len(frames)) / len(self.cameras), camera)
            pictures.flush()


@dataclass(frozen=True)
class TrainedEncoder(Job, kind="trained_encoder", version=1):
    """An encoder pretrained on frames of other episodes than the policy's. Writes weights and the loss curve."""

    resumable: ClassVar[bool] = True
    encoder: EncoderSpec
    drawings: tuple[Drawings, ...]
    training: Training
    seed: int = 0

    @property
    def title(self) -> str:
        return f"encoder {self.encoder.kind}, {self.training.steps} steps"

    def cost(self) -> Cost:
        return Cost(self.training.steps * self.training.batch * 3e-4, memory_mb=1500, gpus=1)

    def run(self, context: Context) -> None:
        suite = self.drawings[0].demonstrations.suite.build()
        frames = _frames(context.store, self.drawings, held_out=False)
        held = _frames(context.store, self.drawings, held_out=True)
        torch.manual_seed(seed_of(self.seed, "weights"))
        encoder = self.encoder.build(suite.legend).to(context.device)
        encoder.requires_grad_(True)
        encoder.fit(torch.from_numpy(frames["state"]))
        size, total = self.training.batch, len(frames["state"])

        def batch_at(step: int) -> dict[str, torch.Tensor]:
            chosen = np.random.default_rng([self.seed, step]).integers(total, size=size)
            return _tensors(frames, chosen, context.device)

        held_batches = [_tensors(held, np.arange(min(len(held["state"]), HELD_OUT_ROWS)), context.device)]
        train(
            encoder,
            batch_at,
            held_batches,
            self.training,
            seed=self.seed,
            folder=context.folder,
            report=context.report,
        )

    def load(self, store: Store) -> Encoder:
        """The trained encoder, frozen."""
        encoder = self.encoder.build(self.drawings[0].demonstrations.suite.build().legend)
        encoder.load_state_dict(load_file(store.folder(self) / WEIGHTS))
        return encoder.requires_grad_(False).eval()


@dataclass(frozen=True)
class PoseError(Job, kind="pose_error", version=1):
    """How far off a pretrained encoder sees objects, on held-out frames: mean error in mm and degrees by object, and of
    the object that the task names where tasks are named after objects. Writes summary.json."""

    encoder: TrainedEncoder

    def run(self, context: Context) -> None:
        suite = self.encoder.drawings[0].demonstrations.suite.build()
        frames = _frames(context.store, self.encoder.drawings, held_out=True)
        encoder = self.encoder.load(context.store).to(context.device)
        seen = []
        with torch.no_grad():
            for first in range(0, len(frames["state"]), ENCODING_BATCH):
                rows = np.arange(first, min(first + ENCODING_BATCH, len(frames["state"])))
                seen.append(encoder.estimate_state(_tensors(frames, rows, context.device)).cpu().numpy())
        errors = pose_errors(np.concatenate(seen), frames["state"], suite.legend)
        if all(task in errors for task in suite.tasks):  # the tasks are named after what they are about
            errors["task"] = task_error(errors, frames["task"], suite.tasks)
        summary = {
            name: {"mm": float(error.lateral_mm.mean()), "degrees": float(error.yaw_degrees.mean())}
            for name, error in errors.items()
        }
        (context.folder / SUMMARY).write_text(json.dumps(summary))


@dataclass(frozen=True)
class Features(Job, kind="features", version=1):
    """What a frozen encoder makes of the drawn frames. Writes features.npy Float32 [M, K, F], rows as the drawings'."""

    encoder: EncoderSpec
    trained: TrainedEncoder | None
    drawings: Drawings

    def cost(self) -> Cost:
        return Cost(self.drawings.cost().disk_mb * 0.03, disk_mb=self.drawings.cost().disk_mb * 0.05, gpus=1)

    def run(self, context: Context) -> None:
        folder = context.store.folder(self.drawings)
        frames = np.load(folder / "frames.npy")
        pictures = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in self.drawings.cameras}
        encoder = encoder_of(context.store, self.encoder, self.trained, self.drawings.demonstrations.suite)
        encoder = encoder.to(context.device)
        shape = (len(frames), encoder.vectors, encoder.width)
        out = _array_on_disk(context.folder / "features.npy", np.float32, shape)
        with torch.no_grad():
            for first in range(0, len(frames), ENCODING_BATCH):
                rows = np.arange(first, min(first + ENCODING_BATCH, len(frames)))
                out[rows] = encoder.encode(_tensors(pictures, rows, context.device)).float().cpu().numpy()
                context.report(first / len(frames), "")
        out.flush()


@dataclass(frozen=True)
class TrainedTokenizer(Job, kind="trained_tokenizer", version=1):
    """A tokenizer fitted, and trained if it is learned, on the demonstrations' chunks. Writes its weights."""

    resumable: ClassVar[bool] = True
    tokenizer: TokenizerSpec
    demonstrations: tuple[Demonstrations, ...]
    horizon: int
    stride: int
    training: Training | None
    seed: int

    @property
    def title(self) -> str:
        return f"tokenizer {self.tokenizer.kind}, seed {self.seed}"

    def cost(self) -> Cost:
        steps = self.training.steps * self.training.batch if self.training else 0
        return Cost(1 + steps * 3e-4, gpus=1)

    def run(self, context: Context) -> None:
        suite = self.demonstrations[0].suite.build()
        demos = _demos(context.store, self.demonstrations)
        parts = (demos.rows(held_out=False), demos.rows(held_out=True))
        chunks, held = (
            torch.from_numpy(chunks_from(demos, rows, self.horizon, self.stride, suite.legend.gripper))
            for rows in parts
        )
        torch.manual_seed(seed_of(self.seed, "weights"))
        tokenizer = self.tokenizer.build(ChunkShape(self.horizon, chunks.shape[-1])).to(context.device)
        tokenizer.fit(chunks.to(context.device))
        if self.training is None:
            save_file(tokenizer.state_dict(), context.folder / WEIGHTS)
            return
        size = self.training.batch

        def batch_at(step: int) -> torch.Tensor:
            chosen = np.random.default_rng([self.seed, step]).integers(len(chunks), size=size)
            return chunks[chosen].to(context.device)

        held_batches = [held[_spread(len(held), HELD_OUT_ROWS)].to(context.device)]
        train(
            tokenizer,
            batch_at,
            held_batches,
            self.training,
            seed=self.seed,
            folder=context.folder,
            report=context.report,
        )

    def load(self, store: Store) -> Tokenizer:
        """The trained tokenizer, frozen."""
        shape = ChunkShape(self.horizon, len(self.demonstrations[0].suite.build().legend.action))
        tokenizer = self.tokenizer.build(shape)
        tokenizer.load_state_dict(load_file(store.folder(self) / WEIGHTS))
        return tokenizer.requires_grad_(False).eval()


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
    def title(self) -> str:
        return f"agent {self.agent.policy.kind} on {self.agent.encoder.kind}, seed {self.seed}"

    def cost(self) -> Cost:
        rows = self.training.steps * self.training.batch
        return Cost(rows * (3e-4 if not self.drawings else 2e-3), memory_mb=1500, disk_mb=2, gpus=1)

    def run(self, context: Context) -> None:
        suite = self.demonstrations[0].suite.build()
        agent = self._untrained(context.store).to(context.device)
        windows, held = (self._windows(context.store, agent, held_out=part) for part in (False, True))
        agent.policy.fit(windows.chunks.to(context.device))
        _standardise(agent, windows, context.device)
        size = self.training.batch

        def batch_at(step: int) -> Batch:
            return windows.training_batch(step, size, self.seed).to(context.device)

        chosen = _spread(len(held), HELD_OUT_ROWS)
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
        suite = self.demonstrations[0].suite.build()
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
        demos = _demos(store, self.demonstrations)
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
        )

    def _frames(self, store: Store, demos: Demos, encoder: Encoder) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """What the encoder reads of each frame, and which row of it belongs to a frame."""
        if not (self.features or self.drawings):
            return {name: getattr(demos, name) for name in encoder.reads if name != "stamp"}, None
        drawings = self.drawings or tuple(f.drawings for f in self.features)
        lengths = [len(np.load(store.folder(d) / "label.npy", mmap_mode="r")) for d in self.demonstrations]
        offsets = np.cumsum([0, *lengths[:-1]])
        numbers = [np.load(store.folder(d) / "frames.npy") + n for d, n in zip(drawings, offsets, strict=True)]
        drawn = np.concatenate(numbers)
        row_of_frame = np.full(len(demos.label), -1)
        row_of_frame[drawn] = np.arange(len(drawn))
        if self.features:
            parts = [np.load(store.folder(f) / "features.npy") for f in self.features]
            return {"features": np.concatenate(parts)}, row_of_frame
        pictures = {
            camera: np.concatenate([np.load(store.folder(d) / f"{camera}.npy") for d in drawings])
            for camera in drawings[0].cameras
        }
        return pictures, row_of_frame


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
        suite = self.agent.demonstrations[0].suite
        return Cost(2 + self.rollouts.episodes * suite.num_tasks * suite.cost.rollout)

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


@dataclass(frozen=True)
class TokenBits(Job, kind="token_bits", version=1):
    """Rate and distortion of a tokenizer on held-out demonstrations. Writes summary.json and the probe's loss curve."""

    resumable: ClassVar[bool] = True
    tokenizer: TrainedTokenizer
    probe: Autoregressive
    training: Training

    @property
    def title(self) -> str:
        return f"bits of {self.tokenizer.title}"

    def cost(self) -> Cost:
        return Cost(self.training.steps * self.training.batch * 3e-4)

    def run(self, context: Context) -> None:
        legend = self.tokenizer.demonstrations[0].suite.build().legend
        demos = _demos(context.store, self.tokenizer.demonstrations)
        horizon, stride = self.tokenizer.horizon, self.tokenizer.stride
        parts = (demos.rows(held_out=False), demos.rows(held_out=True))
        chunks, held = (chunks_from(demos, rows, horizon, stride, legend.gripper) for rows in parts)
        tokenizer = self.tokenizer.load(context.store)
        ids, held_ids = (tokenizer.encode(torch.from_numpy(c)).ids for c in (chunks, held))
        torch.manual_seed(seed_of(self.tokenizer.seed, "probe"))
        model = TokenModel(self.probe, tokenizer)
        size = self.training.batch

        def batch_at(step: int) -> torch.Tensor:
            return ids[np.random.default_rng([self.tokenizer.seed, step]).integers(len(ids), size=size)]

        held_batches = [held_ids[_spread(len(held_ids), HELD_OUT_ROWS)]]
        train(
            model,
            batch_at,
            held_batches,
            self.training,
            seed=self.tokenizer.seed,
            folder=context.folder,
            report=context.report,
        )
        summary = {
            "nominal_bits": tokenizer.nominal_bits,
            "marginal_bits": sum_of_marginals(held_ids.numpy()),
            "code_length_bits": model.bits(held_ids),
            "utilisation": utilisation(ids.numpy(), tokenizer.vocab_size),
            "chunks": len(held),
            **distortion(held, through_code(tokenizer, held)[0], legend),
        }
        (context.folder / SUMMARY).write_text(json.dumps(summary))


def encoder_of(store: Store, spec: EncoderSpec, trained: TrainedEncoder | None, suite: SuiteSpec) -> Encoder:
    """A frozen encoder: pretrained by a job, or as it is built."""
    if trained is not None:
        return trained.load(store)
    torch.manual_seed(seed_of(spec.digest, "weights"))
    return spec.build(suite.build().legend).requires_grad_(False).eval()


def _demos(store: Store, jobs: tuple[Demonstrations, ...]) -> Demos:
    return Demos.join([Demos.load(store.folder(job)) for job in jobs])


def _frames(store: Store, drawings: tuple[Drawings, ...], *, held_out: bool) -> dict[str, np.ndarray]:
    """Pictures, privileged state and task of the drawn frames of training or held-out episodes."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*drawings[0].cameras, "state", "task")}
    for job in drawings:
        demos = Demos.load(store.folder(job.demonstrations))
        numbers = np.load(store.folder(job) / "frames.npy")
        spans = [demos.episodes.row(row, named=True) for row in demos.rows(held_out=held_out)]
        wanted = np.concatenate([np.arange(s["start"], s["start"] + s["length"]) for s in spans] or [np.zeros(0, int)])
        rows = np.flatnonzero(np.isin(numbers, wanted))
        for camera in job.cameras:
            columns[camera].append(np.load(store.folder(job) / f"{camera}.npy", mmap_mode="r")[rows])
        columns["state"].append(demos.state[numbers[rows]])
        columns["task"].append(demos.task[numbers[rows]])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _tensors(frames: dict[str, np.ndarray], rows: np.ndarray, device: str) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(array[rows])).to(device) for name, array in frames.items()}


def _array_on_disk(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """An .npy file to be filled. Its space is taken at once: writing to a map on a full disk would kill the process."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _spread(length: int, most: int) -> np.ndarray:
    """At most `most` row numbers, evenly spread."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(np.int64))


def _standardise(agent: Agent, windows: Windows, device: str) -> None:
    """Fits the agent's scaling on training windows; features of an encoder that is still learning are left alone."""
    batch = windows.at(_spread(len(windows), 4 * HELD_OUT_ROWS)).to(device)
    felt = batch.observation["proprioception"].float().flatten(0, 1)
    agent.standardise_proprioception.fit(felt)
    if agent.encoder.trained:
        return
    features = batch.observation.get("features")
    if features is None:
        frames = {name: batch.observation[name].flatten(0, 1) for name in agent.encoder.reads}
        features = agent.encoder.encode(frames)
    agent.standardise_features.fit(features.float().reshape(-1, agent.encoder.width))
