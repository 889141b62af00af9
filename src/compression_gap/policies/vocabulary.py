"""Ids in and out of a transformer; ids that are mixed-radix numbers share weights between equal digits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor, nn


class Table(nn.Module):
    """One vector for each of V ids.

    With `digits`, the vector is a term of the id's own plus one term for each of its digits (least significant first),
    so that ids which share a digit learn together.
    """

    members: Tensor

    def __init__(self, size: int, width: int, digits: tuple[int, ...] | None) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.randn(size, width) * 0.02)
        self.shared = nn.Parameter(torch.randn(sum(digits), width) * 0.02) if digits else None
        if digits:
            self.register_buffer("members", digit_members(digits), persistent=False)

    def forward(self) -> Float[Tensor, "V W"]:
        return self.own if self.shared is None else self.own + self.members @ self.shared


class Vocabulary(nn.Module):
    """Embeds ids and scores them; a softmax over the scores is an ordinary distribution over the V ids.

    With `ends`, the end of a code is scored as well, as id V.
    """

    def __init__(self, size: int, width: int, digits: tuple[int, ...] | None, *, ends: bool = False) -> None:
        super().__init__()
        self.read, self.write = Table(size, width, digits), Table(size, width, digits)
        self.end = nn.Parameter(torch.randn(1, width) * 0.02) if ends else None
        self.bias = nn.Parameter(torch.zeros(size + ends))

    def embed(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L W"]:
        """Vectors of ids."""
        return functional.embedding(ids, self.read())

    def logits(self, x: Float[Tensor, "B L W"]) -> Float[Tensor, "B L V"]:
        """Unnormalised log-probabilities of all ids, and of the end."""
        write = self.write() if self.end is None else torch.cat([self.write(), self.end])
        return functional.linear(x, write, self.bias)


def digit_members(digits: tuple[int, ...]) -> Float[Tensor, "V digits"]:
    """One-hot digits of every id side by side: 1 where the id has that value of that digit."""
    ids, radix, columns = torch.arange(math.prod(digits)), 1, []
    for levels in digits:
        columns.append(functional.one_hot(ids // radix % levels, levels))
        radix *= levels
    return torch.cat(columns, dim=1).float()
