"""Aim: how far to the side the hand is when its fingers move.

A squared error of actions is an average over all that an arm does, most of it moving through the air, and hardly tells
what a task asks for: a hand that is in the right place when the gripper closes or opens. So, at the last look before
that, the way to the side (x and y) that a policy's chunk commands up to that step is held against the demonstration's.
Closing and opening are told apart: an encoder may see what is grasped and not where it goes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SIDEWAYS = ("x", "y")
KINDS = ("closes", "opens")
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


def gripper_switches(
    command: Float[np.ndarray, "N G"], ends: Int[np.ndarray, " E"]
) -> tuple[Int[np.ndarray, " S"], Bool[np.ndarray, " S"]]:
    """Steps of E demonstrations, laid end to end, at which one of G grippers is told something else than just before,
    and whether it closes there.

    A command is on one side or the other of the middle of its range. Which of them is closed nobody says: the one to
    which most demonstrations switch first, because whoever grasps begins with an open hand.
    """
    steps, closes = [], []
    for column in command.T:
        high = column > (column.min() + column.max()) / 2
        changed = np.zeros(len(column), dtype=bool)
        changed[1:] = high[1:] != high[:-1]
        changed[ends[:-1]] = False  # the first step of the next demonstration
        step = np.flatnonzero(changed)
        _, first = np.unique(np.searchsorted(ends, step, side="right"), return_index=True)
        to_high = 2 * high[step[first]].sum() >= len(first)
        steps.append(step)
        closes.append(high[step] == to_high)
    return np.concatenate(steps), np.concatenate(closes)


def last_looks(
    start: Int[np.ndarray, " N"], first: Int[np.ndarray, " E"], switch: Int[np.ndarray, " S"], horizon: int
) -> tuple[Int[np.ndarray, " S"], Int[np.ndarray, " S"]]:
    """For every switch: the number of the chunk that looks ahead to it, and at which of its steps it comes; 0 steps
    where there is none.

    Chunks of `horizon` steps begin at the ascending steps `start`, in demonstrations that begin at the steps `first`. A
    switch has the last chunk that begins at least 4 steps before it, unless that one ends too soon.
    """
    row = np.searchsorted(start, switch - min(LEAD, horizon - 1), side="right") - 1
    step = switch - start[row]
    following = np.append(first, np.iinfo(np.int64).max)[np.searchsorted(first, start[row], side="right")]
    known = (row >= 0) & (step > 0) & (step < horizon) & (switch < following)
    return row, np.where(known, step, 0)
