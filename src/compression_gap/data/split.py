"""Which demonstrations probes learn from, stop by and are tested on: the same for everything that is compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from compression_gap.seeds import seed_of

TRAIN, VALIDATION, TEST = 0, 1, 2
EVERY = 7  # of seven demonstrations of a task five are for training, one is for validation and one for testing
FEWEST_DEMONSTRATIONS = 8
"""To test on, below which no interval over demonstrations is worth printing."""
MANY = 28  # demonstrations to test on; where a division has fewer, others are made and tested on in turn
ENOUGH = 3 * EVERY
"""Demonstrations below which there are too few for that, and for any verdict."""


def part_at(rank: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
    """TRAIN, VALIDATION or TEST for demonstrations with these numbers."""
    return np.maximum(rank % EVERY - (EVERY - 3), TRAIN)


def divisions(demonstrations: int) -> int:
    """How many divisions of so many demonstrations are made, so that enough are tested on: one of many, all seven of
    few, which test on nearly every one; and one of too few."""
    return min(EVERY, -(-MANY // (demonstrations // EVERY))) if demonstrations >= ENOUGH else 1


def turned(rank: Int[np.ndarray, " N"], turn: int) -> Int[np.ndarray, " N"]:
    """Other numbers for demonstrations that are numbered from 0 on, so that others are tested on: with each of seven
    turns others. Turned back with the negative turn."""
    return (rank + turn) % (rank.max() + 1)


def parts_of(task: Int[np.ndarray, " E"], fewest: int = FEWEST_DEMONSTRATIONS) -> Int[np.ndarray, " E"]:
    """TRAIN, VALIDATION or TEST for each demonstration: by its number within its task.

    Raises ValueError if there are fewer than `fewest` to validate or to test on.
    """
    rank = np.empty_like(task)
    for one in np.unique(task):
        rank[task == one] = np.arange((task == one).sum())
    part = part_at(rank)
    found = min((part == VALIDATION).sum(), (part == TEST).sum())
    if found < fewest:
        raise ValueError(
            f"bits need at least {fewest} demonstrations to test on, got {found} of {len(task)}: "
            f"of each task every {EVERY}th is kept for that, so more are needed"
        )
    return part


@dataclass(frozen=True)
class Split:
    """Chunks by demonstration."""

    demonstration: Int[Tensor, " N"]
    task: Int[Tensor, " N"] | None = None
    """Of every chunk: demonstrations are divided task by task. None: they are all of one."""

    @cached_property
    def part(self) -> Int[Tensor, " N"]:
        """TRAIN, VALIDATION or TEST of every chunk: by the number of its demonstration within its task."""
        names, first, place = np.unique(self.demonstration.cpu().numpy(), return_index=True, return_inverse=True)
        task = np.zeros(len(names), np.int64) if self.task is None else self.task.cpu().numpy()[first]
        return torch.from_numpy(parts_of(task, fewest=0)[place]).to(self.demonstration.device)

    @property
    def fewest(self) -> int:
        """Chunks of the smallest part."""
        return min(int((self.part == part).sum()) for part in (TRAIN, VALIDATION, TEST))

    def rows(self, part: int, fraction: float = 1.0) -> Int[Tensor, " M"]:
        """Row numbers of a part; of its demonstrations only a fraction, which a larger fraction contains."""
        rows = torch.nonzero(self.part == part).flatten()
        task = torch.zeros_like(rows) if self.task is None else self.task[rows]
        kept: list[int] = []
        for one in torch.unique(task).tolist():
            names = torch.unique(self.demonstration[rows[task == one]]).tolist()
            kept += sorted(names, key=lambda name: seed_of("learning curve", name))[: math.ceil(fraction * len(names))]
        return rows[torch.isin(self.demonstration[rows], torch.tensor(kept, device=rows.device))]
