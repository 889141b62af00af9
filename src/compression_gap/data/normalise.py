"""Scaling fitted on training data and carried with the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST_SPREAD = 1e-6  # a value that varies less than this is a constant: dividing by its spread would blow up noise


class Standardise(nn.Module):
    """To zero mean and unit variance, value by value.

    No value is divided by less than its `unit`, where one is known: what hardly varied in training is not blown up, so
    that a small surprise later stays a small number.
    """

    mean: Tensor
    std: Tensor
    unit: Tensor

    def __init__(self, width: int, unit: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("unit", torch.tensor(unit or [0.0] * width), persistent=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, values: Float[Tensor, "N W"]) -> None:
        """Takes mean and standard deviation from training values; constants without a unit keep a divisor of 1."""
        if not values.shape[1]:
            return
        std = values.double().std(dim=0, unbiased=False).maximum(self.unit)
        self.mean.copy_(values.double().mean(dim=0))
        self.std.copy_(torch.where(std > SMALLEST_SPREAD, std, torch.ones_like(std)))

    def forward(self, values: Float[Tensor, "*batch W"]) -> Float[Tensor, "*batch W"]:
        return (values - self.mean) / self.std
