"""Aim: how far to the side the hand is when its fingers move.

A squared error of actions is an average over all that an arm does, most of it moving through the air, and hardly tells
what a task asks for: a hand that is in the right place when the gripper closes or opens. So, at the last look before
that, the way to the side (x and y) that a policy's chunk commands up to that step is held against the demonstration's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SIDEWAYS = ("x", "y")
LEAD = 4
"""Steps before the fingers move at which a look is taken, or the fewest above that at which a chunk begins: in so many
a hand goes most of the way that is left, so the chunk shows where it takes its goal to be."""


@dataclass(frozen=True)
class Looks:
    """M chunks, each beginning at the last look before a gripper's command changes."""

    row: Int[Tensor, " M"]
    """Numbers of the chunks."""
    step: Int[Tensor, " M"]
    """The first of the chunk's steps whose command is another one, from 1 on."""
    column: tuple[int, ...]
    """Which of a chunk's values move the hand to the side."""
    mm: tuple[float, ...]
    """How far these do, in millimetres, if they are 1."""

    def only(self, chosen: Bool[Tensor, " M"]) -> Looks:
        """Some of them."""
        return Looks(self.row[chosen], self.step[chosen], self.column, self.mm)

    def off(self, acted: Float[Tensor, "*R M T a"], wanted: Float[Tensor, "M T a"]) -> Float[Tensor, "*R M"]:
        """Distance in mm between the places over which the fingers move, if both begin at the same one."""
        before = torch.arange(wanted.shape[-2], device=wanted.device) < self.step[:, None]  # M T
        error = (acted - wanted)[..., list(self.column)].double() * torch.tensor(self.mm, device=wanted.device)
        return (error * before[..., None]).sum(dim=-2).norm(dim=-1)


def switches(command: Float[np.ndarray, "N G"], ends: Int[np.ndarray, " E"]) -> Int[np.ndarray, " S"]:
    """Steps of E demonstrations, laid end to end, at which one of G grippers is told something else than just before.

    A command counts as open or closed by the side of the middle of its range on which it lies.
    """
    closed = command > (command.min(axis=0) + command.max(axis=0)) / 2
    changed = np.zeros(len(command), dtype=bool)
    changed[1:] = (closed[1:] != closed[:-1]).any(axis=1)
    changed[ends[:-1]] = False  # the first step of the next demonstration
    return np.flatnonzero(changed)


def last_looks(
    start: Int[np.ndarray, " N"], first: Int[np.ndarray, " E"], switch: Int[np.ndarray, " S"], horizon: int
) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    """For every switch that a chunk looks ahead to: the number of the chunk, and at which of its steps it comes.

    Chunks of `horizon` steps begin at the ascending steps `start`, in demonstrations that begin at the steps `first`. A
    switch has the last chunk that begins at least 4 steps before it; none if that one ends too soon.
    """
    row = np.searchsorted(start, switch - min(LEAD, horizon - 1), side="right") - 1
    step = switch - start[row]
    known = (row >= 0) & (step > 0) & (step < horizon)
    next_first = np.append(first, np.iinfo(np.int64).max)[np.searchsorted(first, start[row], side="right")]
    known &= switch < next_first
    return row[known], step[known]
