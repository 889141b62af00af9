"""Jobs about tokenizers: training, and their rate and distortion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from compression_gap.data.demos import Demos
from compression_gap.data.windows import chunks_from, window_frames
from compression_gap.measures.attempts import read, write
from compression_gap.measures.distortion import distortion
from compression_gap.measures.entropy import held_out_marginals, nominal_bits, utilisation
from compression_gap.measures.token_bits import TokenModel
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.chunked import FittedTokenizer, Part
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
from compression_gap.suites.base import Legend, SuiteSpec
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec
from compression_gap.training import WEIGHTS, Training, save_tensors


@dataclass(frozen=True)
class TrainedTokenizer(FittedTokenizer, kind="trained_tokenizer", version=1):
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
        demos = read_demos(context.store, self.demonstrations)
        chunks, held = (torch.from_numpy(self.chunks(demos, held_out=part)) for part in (False, True))
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

    @property
    def suite(self) -> SuiteSpec:
        """With the tasks of its demonstrations."""
        return suite_of(self.demonstrations)

    @property
    def sources(self) -> tuple[Job, ...]:
        return self.demonstrations

    @property
    def actions(self) -> int:
        return self.horizon

    def legend(self, store: Store) -> Legend:
        return self.suite.build().legend

    def part(self, store: Store, *, held_out: bool) -> Part:
        demos = read_demos(store, self.demonstrations)
        frames = self._first_frames(demos, held_out=held_out)
        demonstration = np.searchsorted(demos.episodes["start"].to_numpy(), frames, side="right") - 1
        return Part(self.chunks(demos, held_out=held_out), demonstration)

    def known(self, store: Store, *, held_out: bool) -> Float[Tensor, "N S"]:
        """State, proprioception and task where each chunk begins."""
        demos = read_demos(store, self.demonstrations)
        frames = self._first_frames(demos, held_out=held_out)
        task = functional.one_hot(torch.from_numpy(demos.task[frames]), len(self.suite.build().tasks))
        columns = [torch.from_numpy(np.asarray(array[frames])) for array in (demos.state, demos.proprioception)]
        return torch.cat([*columns, task.float()], dim=1)

    def _first_frames(self, demos: Demos, *, held_out: bool) -> Int[np.ndarray, " N"]:
        return window_frames(demos, demos.rows(held_out=held_out), 1, self.stride)[:, 0]

    def chunks(self, demos: Demos, *, held_out: bool) -> Float[np.ndarray, "N T D"]:
        """What it is trained on, or measured on."""
        gripper = self.suite.build().legend.gripper
        return chunks_from(demos, demos.rows(held_out=held_out), self.horizon, self.stride, gripper)

    def load(self, store: Store) -> Tokenizer:
        """The trained tokenizer, frozen."""
        shape = ChunkShape(self.horizon, len(self.suite.build().legend.action))
        tokenizer = self.tokenizer.build(shape)
        tokenizer.load_state_dict(load_file(store.folder(self) / WEIGHTS))
        return tokenizer.requires_grad_(False).eval()


@dataclass(frozen=True)
class TokenBits(Job, kind="token_bits", version=4):
    """Rate and distortion of a tokenizer on held-out demonstrations, of those chunks that it can write and read; the
    others are counted as `lost`. Writes summary.json, and the probe with its loss curve."""

    resumable: ClassVar[bool] = True
    tokenizer: FittedTokenizer
    probe: Autoregressive
    training: Training

    @property
    def opens(self) -> tuple[Job, ...]:
        return self.tokenizer.sources

    @property
    def title(self) -> str:
        return f"bits of {self.tokenizer.title}"

    def cost(self) -> Cost:
        tokens = self.tokenizer.tokenizer.expected_tokens(self.tokenizer.actions)
        return Cost(self.training.steps * self.training.batch * self.probe.cost(tokens).row)

    def run(self, context: Context) -> None:
        chunks, held = (self.tokenizer.part(context.store, held_out=part).chunk for part in (False, True))
        tokenizer = self.tokenizer.load(context.store)
        model = self._untrained(tokenizer)
        written, held_written = (write(tokenizer, torch.from_numpy(some)) for some in (chunks, held))
        ids, held_ids = (model.ids(some.tokens) for some in (written, held_written))
        held_out = held_ids[spread(len(held_ids), HELD_OUT_ROWS)]
        learn(model, lambda rows: ids[rows], len(ids), held_out, self.training, self.tokenizer.seed, context)
        told = read(tokenizer, held_written.tokens)
        kept = told.valid.numpy()
        if not kept.any():
            raise ValueError(
                f"{self.tokenizer.tokenizer.kind} cannot read a single one of its codes of held-out chunks"
            )
        chunk, decoded = held[held_written.rows.numpy()][kept], told.chunk.numpy()[kept].astype(np.float64)
        nobody = np.zeros(len(held_ids), dtype=np.int64)  # an interval is not shown
        summary = {
            "nominal_bits": nominal_bits(tokenizer, held_written.tokens.length),
            "marginal_bits": held_out_marginals(ids.numpy(), held_ids.numpy(), nobody, tokenizer.vocab_size).value,
            "code_length_bits": model.bits(held_ids),
            "utilisation": utilisation(ids.numpy(), tokenizer.vocab_size),
            "chunks": len(held),
            "lost": len(held) - len(chunk),
            **distortion(chunk, decoded, self.tokenizer.legend(context.store)),
        }
        (context.folder / SUMMARY).write_text(json.dumps(summary))

    def load(self, store: Store) -> TokenModel:
        """The trained model of codes, frozen."""
        model = self._untrained(self.tokenizer.load(store))
        model.load_state_dict(load_file(store.folder(self) / WEIGHTS))
        return model.requires_grad_(False).eval()

    def _untrained(self, tokenizer: Tokenizer) -> TokenModel:
        torch.manual_seed(seed_of(self.tokenizer.seed, "probe"))
        return TokenModel(self.probe, tokenizer)
