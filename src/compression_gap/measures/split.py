"""Which demonstrations measure, which choose when to stop, and which are learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from compression_gap.seeds import seed_of

TRAIN, VALIDATION, TEST = 0, 1, 2
EVERY = 7  # of seven demonstrations five are for training, one is for validation and one for testing


@dataclass(frozen=True)
class Split:
    """Chunks by demonstration: the same for everything that is compared."""

    demonstration: Int[Tensor, " N"]

    @property
    def part(self) -> Int[Tensor, " N"]:
        """TRAIN, VALIDATION or TEST of every chunk: by the rank of its demonstration."""
        _, rank = torch.unique(self.demonstration, return_inverse=True)
        return (rank % EVERY - (EVERY - 3)).clamp(min=TRAIN)

    @property
    def fewest(self) -> int:
        """Chunks of the smallest part."""
        return min(int((self.part == part).sum()) for part in (TRAIN, VALIDATION, TEST))

    def rows(self, part: int, fraction: float = 1.0) -> Int[Tensor, " M"]:
        """Row numbers of a part; of its demonstrations only a fraction, which a larger fraction contains."""
        rows = torch.nonzero(self.part == part).flatten()
        names = torch.unique(self.demonstration[rows]).tolist()
        order = sorted(names, key=lambda name: seed_of("learning curve", name))
        kept = torch.tensor(order[: math.ceil(fraction * len(order))], device=rows.device)
        return rows[torch.isin(self.demonstration[rows], kept)]
