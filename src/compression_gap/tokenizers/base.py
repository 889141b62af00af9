"""The contract of a tokenizer: action chunks as short sequences of whole numbers, and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from compression_gap.config import Spec
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.training import LearningCost

ARM = 7
"""Values of an action that plans count with: those of one arm and its gripper."""


@dataclass
class Tokens:
    """Codes of B chunks, padded to a common length L with zeros."""

    ids: Int[Tensor, "B L"]
    length: Int[Tensor, " B"]
    """How many ids of each row count; 0 where the tokenizer cannot write the chunk."""

    def well_formed(self, vocab_size: int, shortest: int, longest: int) -> Bool[Tensor, " B"]:
        """Which rows have a length in the given range and only ids below `vocab_size`."""
        counts = torch.arange(self.ids.shape[1], device=self.ids.device) < self.length[:, None]
        known = (self.ids >= 0) & (self.ids < vocab_size)
        return (known | ~counts).all(1) & (self.length >= shortest) & (self.length <= min(longest, self.ids.shape[1]))


@dataclass
class Decoded:
    """Chunks read back. A row that the code cannot decode is marked, never silently zero."""

    chunk: Float[Tensor, "B T D"]
    valid: Bool[Tensor, " B"]


class Tokenizer(nn.Module, ABC):
    """Writes a chunk of actions as whole numbers below `vocab_size` and reads it back.

    It owns its scaling, so actions are in the suite's units on both sides. `encode` and `decode` are deterministic and
    treat every row alone. In training mode only `loss` is called.
    """

    shape: ChunkShape
    max_tokens: int
    """The longest code (L). Like all sizes here it is known before `fit`, because policies are built for it."""
    vocab_size: int
    """Ids are 0 .. vocab_size - 1 (V)."""
    varies: bool = False
    """Whether codes have different lengths, so that a policy has to say where a code ends."""
    ordered: bool
    """Whether every prefix of a code decodes, coarse to fine."""
    digits: tuple[int, ...] | None
    """If an id is a mixed-radix number (FSQ): how many values each digit takes, least significant first. Heads and
    probes then predict digits. None: an id has no inner structure."""

    @property
    def nominal_bits(self) -> float:
        """Upper bound on the information in a code, in bits a chunk: max_tokens * log2 vocab_size.

        If `varies`, codes of all lengths from 1 on are counted, which adds less than a bit.
        """
        shorter = sum(self.vocab_size**-less for less in range(self.max_tokens)) if self.varies else 1.0
        return self.max_tokens * math.log2(self.vocab_size) + math.log2(shorter)

    @property
    def prefix_lengths(self) -> list[int]:
        """If `ordered`: the numbers of tokens from which it means to be read, ascending, up to the whole code. Others
        decode too, but it may never have learned what they say. None of a code without an order."""
        return list(range(1, self.max_tokens + 1)) if self.ordered and not self.varies else []

    @abstractmethod
    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        """Takes scales and other closed-form statistics from training chunks; called once, before any training."""

    @abstractmethod
    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens: ...

    @abstractmethod
    def decode(self, tokens: Tokens) -> Decoded:
        """Chunks in the suite's units. If `ordered`, `tokens.length` may be any prefix length from 1 on."""

    def following(self, ids: Int[Tensor, "B l"]) -> Bool[Tensor, "B {self.vocab_size}+1"]:
        """Which ids may come after the first l (0 .. max_tokens) ids of unfinished codes; in the last column, whether
        the code may end there.

        A policy that keeps to it writes codes that decode, as far as this tokenizer can tell from the ids alone. At
        least one column of a row is true if its ids were allowed. Here any id may come until the code is full, then
        only the end; if `varies`, the code may end after any id.
        """
        size, length = ids.shape
        may = torch.empty(size, self.vocab_size + 1, dtype=torch.bool, device=ids.device)
        may[:, :-1] = length < self.max_tokens
        may[:, -1] = length >= (1 if self.varies else self.max_tokens)
        return may

    def loss(self, chunk: Float[Tensor, "B T D"]) -> Loss:
        """Training loss of a learned tokenizer; closed-form ones (`TokenizerSpec.learned` false) have none."""
        raise NotImplementedError(f"{type(self).__name__} is not learned")


@dataclass(frozen=True)
class TokenizerSpec(Spec, family="tokenizers"):
    """Describes a tokenizer."""

    @property
    def learned(self) -> bool:
        """Whether it has weights to train."""
        return False

    @property
    def searches(self) -> bool:
        """Whether a code is searched for, so that writing one takes long: policies then share what was written."""
        return False

    @property
    def repeats(self) -> bool:
        """Whether what was read back is written by the same code again, for every chunk. Closed-form codes do so."""
        return not self.learned

    def expected_tokens(self, horizon: int) -> int:
        """About how many tokens policies have to predict for a chunk of that many actions: for planning, told without
        building it. One an action, where nothing better is known."""
        return horizon

    def cost(self, horizon: int) -> LearningCost:
        """What training it on chunks of that many actions takes; told without building it."""
        return LearningCost()

    def build(self, shape: ChunkShape) -> Tokenizer:
        """An untrained, unfitted tokenizer. Weights come from torch's global generator, which the caller has seeded."""
        raise NotImplementedError
