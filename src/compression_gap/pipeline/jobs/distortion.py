"""Jobs about distorted actions: how far noise and codes move held-out chunks, and what the task makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file

from compression_gap.data.demos import Demos
from compression_gap.data.windows import chunks_from
from compression_gap.measures.attempts import read, write
from compression_gap.measures.entropy import nominal_bits
from compression_gap.measures.noise import ChunkScale, coloured, executed_distortion, root, white, with_noise
from compression_gap.measures.open_loop import OpenLoopDriver
from compression_gap.measures.replay import NoisyReplayDriver
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import SUMMARY, Demonstrations, read_demos, spread, suite_of
from compression_gap.pipeline.jobs.judging import judge, tasks_of
from compression_gap.pipeline.jobs.tokenizer import TrainedTokenizer
from compression_gap.pipeline.jobs.tokenizer_quality import cuts
from compression_gap.rollout import Beginnings, Rollouts
from compression_gap.seeds import seed_of
from compression_gap.store import Store, write_json
from compression_gap.suites.base import Legend, SuiteSpec
from compression_gap.tokenizers.base import Tokens
from compression_gap.training import save_tensors

NOISE = "noise.safetensors"
ERRORS = 20_000  # chunks whose errors make a covariance: hundreds for each of its values


@dataclass(frozen=True)
class ChunkNoise(Job, kind="chunk_noise", version=1):
    """The shape of a noise on chunks, as large as their variance. Writes the square root of its covariance."""

    demonstrations: tuple[Demonstrations, ...]
    horizon: int
    stride: int
    tokenizer: TrainedTokenizer | None
    """Noise like the errors of this code, of the same demonstrations, on what it was fitted on; None: white."""

    @property
    def title(self) -> str:
        return f"noise like the errors of {self.tokenizer.title}" if self.tokenizer else "white noise"

    def run(self, context: Context) -> None:
        train, _, legend = self.chunks(context.store)
        scale = ChunkScale.of(train, legend)
        if self.tokenizer is None:
            covariance = white(scale, self.horizon)
        else:
            chunk, decoded = _coded(self.tokenizer, train[spread(len(train), ERRORS)], context.store)
            covariance = coloured(decoded - chunk, scale, legend)
        save_tensors({"root": torch.from_numpy(root(covariance))}, context.folder / NOISE)

    def chunks(self, store: Store) -> tuple[Float[np.ndarray, "N T D"], Float[np.ndarray, "M T D"], Legend]:
        """(fitted on, held out, what their numbers mean)."""
        return _chunks(store, self.demonstrations, self.horizon, self.stride)

    def load(self, store: Store) -> Float[np.ndarray, "n n"]:
        """What standard normals are multiplied with."""
        return load_file(store.folder(self) / NOISE)["root"].numpy()


@dataclass(frozen=True)
class NoiseDistortion(Job, kind="noise_distortion", version=1):
    """How far a noise moves held-out chunks, at several sizes. Writes summary.json."""

    noise: ChunkNoise
    shares: tuple[float, ...]
    """Squared errors before actions are clipped, in shares of the chunks' variance."""

    @property
    def opens(self) -> tuple[Job, ...]:
        return self.noise.demonstrations

    def run(self, context: Context) -> None:
        train, held, legend = self.noise.chunks(context.store)
        scale, factor = ChunkScale.of(train, legend), self.noise.load(context.store)
        normal = np.random.default_rng(seed_of("noise")).standard_normal((len(held), len(factor)))
        levels = [
            executed_distortion(held, with_noise(held, normal, factor, share, legend), scale, legend)
            for share in self.shares
        ]
        write_json(context.folder / SUMMARY, {"chunks": len(held), "levels": levels})


@dataclass(frozen=True)
class CodeDistortion(Job, kind="code_distortion", version=3):
    """How far a code, and every prefix of an ordered one, moves held-out chunks. Writes summary.json."""

    tokenizer: TrainedTokenizer

    @property
    def opens(self) -> tuple[Job, ...]:
        return self.tokenizer.demonstrations

    @property
    def title(self) -> str:
        return f"distortion of {self.tokenizer.title}"

    def run(self, context: Context) -> None:
        job, tokenizer = self.tokenizer, self.tokenizer.load(context.store)
        train, held, legend = _chunks(context.store, job.demonstrations, job.horizon, job.stride)
        scale = ChunkScale.of(train, legend)
        written = write(tokenizer, torch.from_numpy(held))
        prefixes: list[dict[str, Any]] = []
        for cut in cuts(tokenizer) or [None]:
            length = written.tokens.length if cut is None else written.tokens.length.clamp(max=cut)
            told = read(tokenizer, Tokens(written.tokens.ids, length))
            kept = told.valid.numpy()
            if not kept.any():
                raise ValueError(f"{job.tokenizer.kind} cannot read a single one of its codes of held-out chunks")
            chunk, decoded = held[written.rows.numpy()][kept], told.chunk.numpy()[kept].astype(np.float64)
            nominal = nominal_bits(tokenizer, length) * (1 if cut is None else cut / tokenizer.max_tokens)
            rate = {"tokens": float(length.double().mean()), "nominal_bits": nominal}
            lost = {"chunks": len(held), "lost": len(held) - len(chunk)}
            prefixes.append({**rate, **executed_distortion(chunk.astype(np.float64), decoded, scale, legend), **lost})
        write_json(context.folder / SUMMARY, {"prefixes": prefixes})


@dataclass(frozen=True)
class NoisyReplay(Job, kind="noisy_replay", version=1):
    """The expert's chunks with noise on the arm, executed in closed loop. Writes episodes.parquet."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    suite: SuiteSpec
    noise: ChunkNoise
    share: float
    """Its squared error, in shares of the chunks' variance."""
    rollouts: Rollouts
    task: int | None = None
    """Only this task; None: all."""

    @property
    def title(self) -> str:
        return f"replay with {self.noise.title}, {100 * self.share:g} % of the variance"

    def cost(self) -> Cost:
        episodes = self.rollouts.episodes * len(tasks_of(self.suite, self.task))
        return Cost(2 + 3 * episodes * self.suite.cost.episode)

    def run(self, context: Context) -> None:
        suite = self.suite.build()
        driver = NoisyReplayDriver(suite, self.noise.horizon, self.noise.load(context.store), self.share)
        judge(driver, suite, self.suite, self.rollouts, self.task, context)


@dataclass(frozen=True)
class OpenLoop(Job, kind="open_loop", version=1):
    """The executed actions of demonstrations through a code, from where they began. Writes episodes.parquet."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    demonstrations: Demonstrations
    tokenizer: TrainedTokenizer | None
    """None: the actions as they are."""
    prefix: int | None
    """Chunks are read back from the first so many tokens of an ordered code; None: from the whole code."""
    horizon: int
    execute: int

    @property
    def opens(self) -> tuple[Job, ...]:
        return self.demonstrations.needs

    @property
    def title(self) -> str:
        tokens = "" if self.prefix is None else f"{self.prefix} tokens of "
        through = f" through {tokens}{self.tokenizer.title}" if self.tokenizer else ""
        return f"{self.demonstrations.title}, replayed{through}"

    def cost(self) -> Cost:
        return Cost(2 + self.demonstrations.cost().seconds)

    def run(self, context: Context) -> None:
        job, demos = self.demonstrations, Demos.load(context.store.folder(self.demonstrations))
        suite = job.suite.build()
        tokenizer = self.tokenizer.load(context.store) if self.tokenizer else None
        driver = OpenLoopDriver(demos, suite.legend, self.horizon, tokenizer, self.prefix)
        beginnings = Beginnings(demos.episodes["index"].to_list(), job.beginnings(context.store, suite, demos))
        rollouts = Rollouts(job.numbered_as, demos.episodes.height, self.execute)
        judge(driver, suite, job.suite, rollouts, job.task, context, beginnings)


def _chunks(
    store: Store, demonstrations: tuple[Demonstrations, ...], horizon: int, stride: int
) -> tuple[Float[np.ndarray, "N T D"], Float[np.ndarray, "M T D"], Legend]:
    demos, legend = read_demos(store, demonstrations), suite_of(demonstrations).build().legend
    train, held = (
        chunks_from(demos, demos.rows(held_out=part), horizon, stride, legend.gripper) for part in (False, True)
    )
    return train, held, legend


def _coded(
    job: TrainedTokenizer, chunks: Float[np.ndarray, "N T D"], store: Store
) -> tuple[Float[np.ndarray, "M T D"], Float[np.ndarray, "M T D"]]:
    """The chunks that the code can write and read, and as it gives them back."""
    tokenizer = job.load(store)
    written = write(tokenizer, torch.from_numpy(chunks))
    told = read(tokenizer, written.tokens)
    kept = told.valid.numpy()
    chunk = chunks[written.rows.numpy()][kept].astype(np.float64)
    return chunk, told.chunk.numpy()[kept].astype(np.float64)
