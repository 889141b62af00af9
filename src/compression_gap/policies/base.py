"""The contract of a policy: a distribution over action chunks given conditioning tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from compression_gap.config import Spec
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Tokenizer, Tokens
from compression_gap.training import LearningCost

SIZES = {  # width, layers, heads; M and L are the Compression Gap paper's, S is for one CPU core
    "S": (64, 2, 2),
    "M": (256, 4, 4),
    "L": (384, 6, 6),
}

Decoding = Literal["greedy", "sampled"]


@dataclass
class Sampled:
    """Chunks that a policy drew, in the suite's units.

    A row whose code could not be decoded is marked invalid, and its chunk is NaN: nobody takes it for an action.
    """

    chunk: Float[Tensor, "B T D"]
    valid: Bool[Tensor, " B"]


class Policy(nn.Module, ABC):
    """A distribution over action chunks. It owns its action scaling: chunks are in the suite's units on both sides."""

    shape: ChunkShape

    @abstractmethod
    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        """Takes action scales from training chunks; called once, before training."""

    def targets(self, chunk: Float[Tensor, "N T D"], code: Tokens | None = None) -> Tensor:
        """What `loss` learns to predict, [N, ...]: computed once for all chunks, after `fit`. Here the chunks.

        `code` are the chunks' codes, if policies that differ in nothing else share them; None: to be written.
        """
        return chunk

    @abstractmethod
    def loss(self, condition: Float[Tensor, "B C F"], targets: Tensor) -> Loss:
        """Training loss. It draws from torch's global generator, which the training loop seeds every step."""

    @abstractmethod
    def sample(
        self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator], decoding: Decoding
    ) -> Sampled:
        """One chunk a row. Each row draws from its own generator, so results do not depend on who shares the batch.

        "sampled" draws as the spec says; "greedy" takes the most probable code and draws nothing (but where the spec
        says that a code which cannot be decoded is drawn anew). Policies without codes treat both alike.
        """


@dataclass(frozen=True)
class PolicySpec(Spec, family="policies"):
    """Describes a policy."""

    @property
    def discrete(self) -> bool:
        """Whether it predicts the codes of a tokenizer."""
        return False

    def cost(self, positions: int) -> LearningCost:
        """What training it takes, where it predicts that many actions of a chunk or, if it is discrete, about that many
        tokens; told without building it."""
        return LearningCost()

    def build(
        self, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer | None
    ) -> Policy:
        """An untrained policy over `condition_tokens` (C) conditioning tokens of width `condition_width` (F).

        `tokenizer` is trained and frozen, and None for continuous policies. Weights come from torch's global generator.
        Raises ValueError if a discrete policy gets no tokenizer, or a continuous one gets one.
        """
        raise NotImplementedError
