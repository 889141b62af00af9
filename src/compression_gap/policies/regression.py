"""Regression: one pass of the transformer gives the chunk, and its error is absolute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from compression_gap.policies.base import Decoding, Sampled
from compression_gap.policies.trunk import Trunk, TrunkSpec, of_size
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class Regression(TrunkSpec, kind="regression"):
    """L1 regression of the chunk, as ACT (arXiv 2304.13705) and OpenVLA-OFT (arXiv 2502.19645) do, with Diffusion's
    transformer."""

    @classmethod
    def sized(cls, size: Literal["S", "M", "L"]) -> Regression:
        """M and L of the paper, or S for one CPU core: gated, four actions a token."""
        return cls(**of_size(size))

    def build(
        self, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer | None
    ) -> RegressionPolicy:
        self.check(shape, tokenizer)
        return RegressionPolicy(self, shape, condition_width, condition_tokens)


class RegressionPolicy(Trunk):
    """A learned query for every action token; it tends to the median of what the demonstrations do."""

    def __init__(self, spec: Regression, shape: ChunkShape, condition_width: int, condition_tokens: int) -> None:
        super().__init__(spec, shape, condition_width, condition_tokens, noisy=False)

    def loss(self, condition: Float[Tensor, "B C F"], targets: Float[Tensor, "B T D"]) -> Loss:
        """Mean absolute error of the scaled actions."""
        error = functional.l1_loss(self.answer(condition), self.scaling(targets))
        return Loss(error, {"l1": error.detach()})

    @torch.no_grad()
    def sample(
        self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator], decoding: Decoding
    ) -> Sampled:
        """The one chunk that follows from the condition: it draws nothing."""
        return self.sampled(self.answer(condition))
