"""What tokenizers are fitted to and measured on, be it a suite's demonstrations or somebody's dataset."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.pipeline.job import Job
from compression_gap.store import Store
from compression_gap.suites.base import Legend
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec


@dataclass(frozen=True)
class Part:
    """The chunks that a tokenizer was fitted to, or those of other demonstrations."""

    chunk: Float[np.ndarray, "N T D"]
    """In the units of the actions."""
    demonstration: Int[np.ndarray, " N"]
    """Which one each is of."""


class FittedTokenizer(Job):
    """A tokenizer that was fitted, and trained if it is learned. Jobs that measure it ask nothing else of it."""

    tokenizer: TokenizerSpec
    seed: int

    @property
    @abstractmethod
    def sources(self) -> tuple[Job, ...]:
        """The jobs whose results its chunks are read from."""

    @property
    @abstractmethod
    def actions(self) -> int:
        """Actions a chunk (T)."""

    @abstractmethod
    def load(self, store: Store) -> Tokenizer:
        """The tokenizer, frozen."""

    @abstractmethod
    def legend(self, store: Store) -> Legend:
        """What the numbers of an action mean."""

    @abstractmethod
    def part(self, store: Store, *, held_out: bool) -> Part:
        """What it was fitted to, or what it is measured on."""

    @abstractmethod
    def known(self, store: Store, *, held_out: bool) -> Float[Tensor, "N S"]:
        """What a model of its codes may be told of every chunk of a part; without columns where there is nothing."""
