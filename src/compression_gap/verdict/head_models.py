"""Heads for several training seeds and amounts of data at once: every weight has a leading dimension R, the replica.

Replicas share no weight and no batch, so each learns as if it were alone; side by side they take little longer than
one.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

IMPOSSIBLE = -1e9  # the score of a value that a digit does not have


def weight(replicas: int, wide: int, out: int) -> nn.Parameter:
    """R matrices; rows of the input keep their size."""
    return nn.Parameter(torch.randn(replicas, wide, out) / math.sqrt(wide))


class Reading(nn.Module):
    """Features as a context: two layers, for each replica its own."""

    def __init__(self, replicas: int, features: int, width: int) -> None:
        super().__init__()
        self.first, self.second = weight(replicas, features, width), weight(replicas, width, width)
        self.offset = nn.Parameter(torch.zeros(replicas, 1, width))

    def forward(self, seen: Float[Tensor, "R B F"]) -> Float[Tensor, "R B W"]:
        return functional.silu(torch.baddbmm(self.offset, seen, self.first)) @ self.second


class ChunkHeads(nn.Module):
    """Regression: the chunk from the features, linearly and through a perceptron."""

    def __init__(self, replicas: int, features: int, values: int, width: int) -> None:
        super().__init__()
        self.read = Reading(replicas, features, width)
        self.straight = nn.Parameter(torch.zeros(replicas, features, values))
        self.write = nn.Parameter(torch.zeros(replicas, width, values))
        self.offset = nn.Parameter(torch.zeros(replicas, 1, values))

    def forward(self, seen: Float[Tensor, "R B F"]) -> Float[Tensor, "R B A"]:
        """Chunks, their T x D scaled values in a row."""
        linear = torch.baddbmm(self.offset, seen, self.straight)
        return torch.baddbmm(linear, functional.silu(self.read(seen)), self.write)

    def errors(self, seen: Float[Tensor, "R B F"], chunk: Float[Tensor, "R B A"]) -> Float[Tensor, "R B"]:
        """Mean squared error of every chunk's values."""
        return (self(seen) - chunk).square().mean(dim=2)


class CodeHeads(nn.Module):
    """Probabilities of codes, token by token and within a token digit by digit.

    The digits before are summed, each weighed by its place, and multiplied with what the features say. It starts from
    the digits' shares at every place.
    """

    share: Tensor
    corner: Tensor

    def __init__(self, replicas: int, features: int, levels: tuple[int, ...], length: int, width: int) -> None:
        super().__init__()
        self.levels, self.places, self.most = levels, length * len(levels), max(levels)
        self.read = Reading(replicas, features, width)
        self.digit = nn.Parameter(torch.randn(replicas, len(levels) * self.most, width))
        self.weigh = nn.Parameter(torch.randn(replicas, self.places, width))
        self.place = nn.Parameter(torch.randn(replicas, 1, self.places, width))
        self.mix, self.back = weight(replicas, width, 2 * width), weight(replicas, width, width)
        self.write = nn.Parameter(torch.zeros(replicas, len(levels), width, self.most))
        self.register_buffer("share", torch.zeros(replicas, self.places, self.most))
        first = torch.arange(replicas)[:, None] * len(levels) + torch.arange(len(levels)).repeat(length)
        self.register_buffer("corner", first * self.most, persistent=False)  # where a place's digit begins in the table

    def fit(self, replica: int, digit: Int[Tensor, "N L J"]) -> None:
        """Takes the digits' shares in a replica's own data, half a count added (Krichevsky & Trofimov 1981)."""
        self.share[replica] = IMPOSSIBLE
        for place, values in enumerate(digit.flatten(1).T):
            levels = self.levels[place % len(self.levels)]
            seen = torch.bincount(values[values >= 0], minlength=levels) + 0.5
            self.share[replica, place, :levels] = (seen / seen.sum()).log()

    def context(self, seen: Float[Tensor, "R B F"]) -> Float[Tensor, "R B W"]:
        """What the features say."""
        return self.read(seen)

    def told(self, digit: Int[Tensor, "R B P"], places: slice) -> Float[Tensor, "R B P W"]:
        """What digits at these places add to all places behind them; -1 adds something, which no longer counts."""
        table = self.digit.flatten(0, 1)
        rows = functional.embedding(digit.clamp(min=0) + self.corner[:, None, places], table)
        return rows * self.weigh[:, None, places] / math.sqrt(self.places)

    def logits(
        self, context: Float[Tensor, "R B W"], before: Float[Tensor, "R B P W"], places: slice
    ) -> Float[Tensor, "R B P _most"]:
        """Scores of the digits at these places, given the sum of what those before them add."""
        x = context[:, :, None] + before + self.place[:, :, places]
        x = functional.layer_norm(x, x.shape[-1:]).flatten(1, 2)
        value, gate = (x @ self.mix).chunk(2, dim=-1)
        x = (x + (value * functional.silu(gate)) @ self.back).unflatten(1, before.shape[1:3])
        kinds = len(self.levels)
        if places == slice(None):
            x = x.unflatten(2, (-1, kinds))  # [R, B, L, J, W]
            scores = torch.einsum("rbljw,rjwv->rbljv", x, self.write).flatten(2, 3)
        else:
            scores = torch.einsum("rbpw,rwv->rbpv", x, self.write[:, places.start % kinds])
        return scores + self.share[:, None, places]

    def nats(self, seen: Float[Tensor, "R B F"], digit: Int[Tensor, "R B P"]) -> Float[Tensor, "R B"]:
        """Code lengths; what stands behind the end is -1 and costs nothing."""
        told = self.told(digit, slice(None))
        before = functional.pad(told[:, :, :-1].cumsum(dim=2), (0, 0, 1, 0))
        logits = self.logits(self.context(seen), before, slice(None))
        each = functional.cross_entropy(logits.flatten(0, 2), digit.clamp(min=0).flatten(), reduction="none")
        return (each.view(digit.shape) * (digit >= 0)).sum(dim=2)

    @torch.no_grad()
    def greedy(self, seen: Float[Tensor, "R B F"]) -> Int[Tensor, "R B P"]:
        """The likeliest digits, one after the other."""
        context, digits = self.context(seen), []
        before = torch.zeros(*context.shape[:2], 1, context.shape[2], device=seen.device)
        for number in range(self.places):
            place = slice(number, number + 1)
            digits.append(self.logits(context, before, place).argmax(dim=3))
            before = before + self.told(digits[-1], place)
        return torch.cat(digits, dim=2)
