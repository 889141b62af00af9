"""Jobs about tokenizers: training, and their rate and distortion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import load_file

from compression_gap.data.windows import chunks_from
from compression_gap.measures.distortion import distortion
from compression_gap.measures.entropy import sum_of_marginals, utilisation
from compression_gap.measures.replay import through_code
from compression_gap.measures.token_bits import TokenModel
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import (
    HELD_OUT_ROWS,
    SUMMARY,
    Demonstrations,
    read_demos,
    spread,
    suite_of,
)
from compression_gap.pipeline.jobs.learning import learn
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.seeds import seed_of
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec
from compression_gap.training import WEIGHTS, Training, save_tensors


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
        cost = self.tokenizer.cost(self.horizon)
        rows = self.training.steps * self.training.batch if self.training else 0
        return Cost(1 + rows * cost.row, disk_mb=cost.weights_mb, gpus=1)

    def run(self, context: Context) -> None:
        suite = suite_of(self.demonstrations).build()
        demos = read_demos(context.store, self.demonstrations)
        parts = (demos.rows(held_out=False), demos.rows(held_out=True))
        chunks, held = (
            torch.from_numpy(chunks_from(demos, rows, self.horizon, self.stride, suite.legend.gripper))
            for rows in parts
        )
        torch.manual_seed(seed_of(self.seed, "weights"))
        tokenizer = self.tokenizer.build(ChunkShape(self.horizon, chunks.shape[-1])).to(context.device)
        tokenizer.fit(chunks.to(context.device))
        if self.training is None:
            save_tensors(tokenizer.state_dict(), context.folder / WEIGHTS)
            return

        def take(rows: np.ndarray) -> torch.Tensor:
            return chunks[rows].to(context.device)

        held_out = held[spread(len(held), HELD_OUT_ROWS)].to(context.device)
        learn(tokenizer, take, len(chunks), held_out, self.training, self.seed, context)

    def load(self, store: Store) -> Tokenizer:
        """The trained tokenizer, frozen."""
        shape = ChunkShape(self.horizon, len(suite_of(self.demonstrations).build().legend.action))
        tokenizer = self.tokenizer.build(shape)
        tokenizer.load_state_dict(load_file(store.folder(self) / WEIGHTS))
        return tokenizer.requires_grad_(False).eval()


@dataclass(frozen=True)
class TokenBits(Job, kind="token_bits", version=2):
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
        legend = suite_of(self.tokenizer.demonstrations).build().legend
        demos = read_demos(context.store, self.tokenizer.demonstrations)
        horizon, stride = self.tokenizer.horizon, self.tokenizer.stride
        parts = (demos.rows(held_out=False), demos.rows(held_out=True))
        chunks, held = (chunks_from(demos, rows, horizon, stride, legend.gripper) for rows in parts)
        tokenizer = self.tokenizer.load(context.store)
        torch.manual_seed(seed_of(self.tokenizer.seed, "probe"))
        model = TokenModel(self.probe, tokenizer)
        ids, held_ids = (model.ids(tokenizer.encode(torch.from_numpy(c))) for c in (chunks, held))
        held_out = held_ids[spread(len(held_ids), HELD_OUT_ROWS)]
        learn(model, lambda rows: ids[rows], len(ids), held_out, self.training, self.tokenizer.seed, context)
        summary = {
            "nominal_bits": tokenizer.nominal_bits,
            "marginal_bits": sum_of_marginals(held_ids.numpy()),
            "code_length_bits": model.bits(held_ids),
            "utilisation": utilisation(ids.numpy(), tokenizer.vocab_size),
            "chunks": len(held),
            **distortion(held, through_code(tokenizer, held)[0], legend),
        }
        (context.folder / SUMMARY).write_text(json.dumps(summary))
