"""One token per action value: bins of equal width, as in RT-1 and OpenVLA, or of equal counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.config import added_later
from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import ARM, Decoded, Tokenizer, TokenizerSpec, Tokens

TAILS = {"min-max": 0.0, "percentile": 0.01}

MOST_BINS = 65_536  # finer than float32 tells two actions of a range apart; a policy has an output for each


@dataclass(frozen=True)
class Binning(TokenizerSpec, kind="binning", version=2):
    """Bins for every value of a chunk (arXiv 2212.06817, 2406.09246): T * D tokens, nothing to train."""

    bins: int = 256
    """Bins a value."""
    range: Literal["min-max", "percentile"] = "min-max"
    """What the bins span: minimum to maximum, or 1st to 99th percentile; values outside go to the outermost bins."""
    placement: Literal["uniform", "quantile"] = added_later("uniform")
    """Bins of equal width, read back as their middle; or, of each action value, bins with as many training values each,
    read back as the mean of these."""

    def __post_init__(self) -> None:
        if not 2 <= self.bins <= MOST_BINS:
            raise ValueError(f"Binning.bins: expected 2 to {MOST_BINS}, got {self.bins}")

    def expected_tokens(self, horizon: int) -> int:
        return ARM * horizon

    def build(self, shape: ChunkShape) -> BinningTokenizer:
        return BinningTokenizer(self, shape) if self.placement == "uniform" else QuantileTokenizer(self, shape)


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
        bins = self.to_bins(chunk).flatten(1)
        return Tokens(bins, torch.full((len(chunk),), self.max_tokens, device=chunk.device))

    def decode(self, tokens: Tokens) -> Decoded:
        """What stands for every bin. A row is valid if it has a token in the vocabulary for every value."""
        valid = tokens.well_formed(self.vocab_size, self.max_tokens, self.max_tokens)
        ids = functional.pad(tokens.ids, (0, max(0, self.max_tokens - tokens.ids.shape[1])))[:, : self.max_tokens]
        bins = ids.clamp(0, self.vocab_size - 1).unflatten(1, (self.shape.horizon, self.shape.actions))
        return Decoded(self.to_values(bins), valid)

    def to_bins(self, chunk: Float[Tensor, "B T D"]) -> Int[Tensor, "B T D"]:
        """The bin of each value."""
        return ((self.scaling(chunk) + 1) / 2 * self.vocab_size).floor().long().clamp(0, self.vocab_size - 1)

    def to_values(self, bins: Int[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The middle of each bin."""
        return self.scaling.inverse((bins + 0.5) * 2 / self.vocab_size - 1)


class QuantileTokenizer(BinningTokenizer):
    """The same with bins of equal counts; reads back the mean of the training values in the bin.

    Edges are training values and belong to the bin above, so only bins between equal edges hold none, and no value
    falls into these.
    """

    edges: Tensor
    means: Tensor

    def __init__(self, spec: Binning, shape: ChunkShape) -> None:
        super().__init__(spec, shape)
        self.register_buffer("edges", torch.full((shape.actions, spec.bins + 1), torch.nan))
        self.register_buffer("means", torch.full((shape.actions, spec.bins), torch.nan))

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        super().fit(chunks)
        shares = np.linspace(self.tail, 1 - self.tail, self.vocab_size + 1)
        edges = np.quantile(chunks.flatten(0, 1).cpu().numpy(), shares, axis=0, method="higher").T
        self.edges.copy_(torch.from_numpy(edges))
        bins, values = self.to_bins(chunks).flatten(0, 1).T, chunks.flatten(0, 1).T.double()
        zeros = torch.zeros(self.means.shape, dtype=torch.float64, device=chunks.device)
        counts = zeros.scatter_add(1, bins, torch.ones_like(values))
        means = torch.where(counts > 0, zeros.scatter_add(1, bins, values) / counts, self.edges[:, :-1].double())
        below = self.edges[:, 1:-1].nextafter(torch.tensor(-torch.inf, device=chunks.device))
        self.means.copy_(means)
        self.means[:, :-1] = torch.minimum(self.means[:, :-1], below)  # a mean can round to the edge above

    def to_bins(self, chunk: Float[Tensor, "B T D"]) -> Int[Tensor, "B T D"]:
        """The bin of each value."""
        self.scaling.check_fitted()
        values = chunk.clamp(self.edges[:, 0], self.edges[:, -1]).flatten(0, 1).T.contiguous()
        return torch.searchsorted(self.edges[:, 1:-1].contiguous(), values, right=True).T.view(chunk.shape)

    def to_values(self, bins: Int[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The mean of each bin."""
        self.scaling.check_fitted()
        return self.means.T.gather(0, bins.flatten(0, 1)).view(bins.shape)
