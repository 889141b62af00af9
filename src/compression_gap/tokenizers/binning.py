"""One token per action value: uniform bins, as in RT-1 and OpenVLA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Decoded, Tokenizer, TokenizerSpec, Tokens

TAILS = {"min-max": 0.0, "percentile": 0.01}


@dataclass(frozen=True)
class Binning(TokenizerSpec, kind="binning"):
    """Uniform bins for every value of a chunk (arXiv 2212.06817, 2406.09246): T * D tokens, nothing to train."""

    bins: int = 256
    """Bins a value."""
    range: Literal["min-max", "percentile"] = "min-max"
    """What the bins span: minimum to maximum, or 1st to 99th percentile; values outside go to the outermost bins."""

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"Binning.bins: expected at least 2, got {self.bins}")

    def build(self, shape: ChunkShape) -> BinningTokenizer:
        return BinningTokenizer(self, shape)


class BinningTokenizer(Tokenizer):
    """The bin of each value, action after action; reads back the middle of the bin."""

    ordered = False
    digits = None

    def __init__(self, spec: Binning, shape: ChunkShape) -> None:
        super().__init__()
        self.shape, self.max_tokens, self.vocab_size = shape, shape.horizon * shape.actions, spec.bins
        self.tail = TAILS[spec.range]
        self.scaling = ActionScaling(shape.actions)

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        self.scaling.fit(chunks, self.tail)

    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens:
        bins = ((self.scaling(chunk) + 1) / 2 * self.vocab_size).floor().long().clamp(0, self.vocab_size - 1)
        return Tokens(bins.flatten(1), torch.full((len(chunk),), self.max_tokens, device=chunk.device))

    def decode(self, tokens: Tokens) -> Decoded:
        """The middle of every bin. A row is valid if it has a token in the vocabulary for every value."""
        valid = tokens.well_formed(self.vocab_size, self.max_tokens, self.max_tokens)
        ids = functional.pad(tokens.ids, (0, max(0, self.max_tokens - tokens.ids.shape[1])))[:, : self.max_tokens]
        middle = (ids.clamp(0, self.vocab_size - 1) + 0.5) * 2 / self.vocab_size - 1
        scaled = middle.unflatten(1, (self.shape.horizon, self.shape.actions))
        return Decoded(self.scaling.inverse(scaled), valid)
