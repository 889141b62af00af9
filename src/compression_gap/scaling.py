"""Actions in the suite's units to [-1, 1] and back: the scaling that tokenizers and policies own."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

CONSTANT = 1e-6  # a range this small, relative to the values, is rounding noise rather than signal


class ActionScaling(nn.Module):
    """Maps a range of each action value to [-1, 1].

    A value that was constant in the training chunks becomes 0, whatever it is later, and comes back as that constant.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.full((actions,), torch.nan))
        self.register_buffer("half_range", torch.full((actions,), torch.nan))

    def fit(self, chunks: Float[Tensor, "N T D"], tail: float = 0.0) -> None:
        """Takes the range between the quantiles `tail` and 1 - `tail` of each value; 0 is minimum to maximum.

        So it is for a value that changes in the tails alone: a pulse that is rare is not constant.

        Raises ValueError if a chunk holds numbers that are not finite.
        """
        values = chunks.reshape(-1, chunks.shape[-1]).double().cpu().numpy()
        if not np.isfinite(values).all():
            raise ValueError("the training chunks hold NaN or infinite actions; run the data through a check first")
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        rare = _constant(low, high)
        low, high = np.where(rare, values.min(axis=0), low), np.where(rare, values.max(axis=0), high)
        constant = _constant(low, high)
        self.centre.copy_(torch.from_numpy((low + high) / 2))
        self.half_range.copy_(torch.from_numpy(np.where(constant, 0, (high - low) / 2)))

    def forward(self, chunk: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Scaled actions; what lies outside the fitted range lies outside [-1, 1]."""
        self.check_fitted()
        varies = self.half_range > 0
        return torch.where(varies, (chunk - self.centre) / torch.where(varies, self.half_range, 1), 0)

    def inverse(self, scaled: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Actions in the suite's units."""
        self.check_fitted()
        return self.centre + scaled * self.half_range

    def check_fitted(self) -> None:
        if self.centre.isnan().any():
            raise ValueError("the action scaling is not fitted; call fit(training chunks) first")


def _constant(low: Float[np.ndarray, " D"], high: Float[np.ndarray, " D"]) -> Bool[np.ndarray, " D"]:
    """Which values do not change between these, but for rounding."""
    return high - low <= CONSTANT * np.maximum(1, np.maximum(abs(low), abs(high)))
