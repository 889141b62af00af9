"""Ids in and out of a transformer; ids that are mixed-radix numbers share weights between equal digits."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Vocabulary(nn.Module):
    """Embeds V ids and scores them.

    With `digits`, the embedding and the logit of an id are a term of its own plus one term for each of its digits, so
    that codes which share a digit learn together; a softmax over the V sums is an ordinary distribution over ids.
    """

    members: Tensor

    def __init__(self, size: int, width: int, digits: tuple[int, ...] | None) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(size, width) * 0.02)
        self.scores = nn.Linear(width, size)
        nn.init.normal_(self.scores.weight, std=0.02)
        nn.init.zeros_(self.scores.bias)
        self.has_digits = digits is not None
        if digits is not None:
            self.register_buffer("members", digit_members(digits), persistent=False)
            self.digit_embedding = nn.Parameter(torch.randn(sum(digits), width) * 0.02)
            self.digit_scores = nn.Linear(width, sum(digits), bias=False)
            nn.init.normal_(self.digit_scores.weight, std=0.02)

    def embed(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L W"]:
        """Vectors of ids."""
        vectors = self.embedding[ids]
        return vectors + self.members[ids] @ self.digit_embedding if self.has_digits else vectors

    def logits(self, x: Float[Tensor, "B L W"]) -> Float[Tensor, "B L V"]:
        """Unnormalised log-probabilities of all ids."""
        logits = self.scores(x)
        return logits + self.digit_scores(x) @ self.members.T if self.has_digits else logits


def digit_members(digits: tuple[int, ...]) -> Float[Tensor, "V digits"]:
    """One-hot digits of every id side by side: 1 where the id has that value of that digit, least significant first."""
    ids, radix, columns = torch.arange(math.prod(digits)), 1, []
    for levels in digits:
        columns.append(nn.functional.one_hot(ids // radix % levels, levels))
        radix *= levels
    return torch.cat(columns, dim=1).float()
