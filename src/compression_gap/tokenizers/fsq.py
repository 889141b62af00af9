"""Finite scalar quantization: bound every latent dimension, round it, and read the digits as one whole number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# The bound reaches this much past the outermost levels: without it tanh never gets there and they stay unused.
MARGIN = 1e-3
MOST_CODES = 2**62  # that whole numbers of 64 bits can count


class Fsq(nn.Module):
    """Quantizer with a fixed grid (Mentzer et al. 2023, arXiv 2309.15505, section 3.1 and appendix A.1).

    Dimension d takes `levels[d]` values: the whole numbers around 0, divided by levels[d] // 2, so they span [-1, 1]
    (an even number of levels has no +1). Two levels are -1 and 1, symmetric: centred like larger even numbers, the
    bound would be flat where the latents start, and all of them would fall into one code. A code is the mixed-radix
    number of the digits, least significant first.
    """

    size: Tensor
    middle: Tensor
    radix: Tensor
    reach: Tensor
    offset: Tensor
    shift: Tensor
    between: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"FSQ needs at least 2 levels in every dimension, got {tuple(levels)}")
        self.levels = tuple(levels)
        self.codes = math.prod(levels)
        if self.codes > MOST_CODES:
            raise ValueError(f"FSQ's ids are as many as the product of its levels: at most 2^62, got {tuple(levels)}")
        size = torch.tensor(levels)
        reach = (size - 1) * (1 + MARGIN) / 2
        two = size == 2
        between = two / 2  # two levels lie at -1/2 and 1/2
        offset = torch.where(two, 0, (1 - size % 2) / 2)  # another even number of levels is centred on -1/2
        constants = {
            "size": size,
            "middle": size // 2 - between,
            "radix": size.cumprod(0) // size,
            "reach": reach,
            "offset": offset,
            "shift": torch.atanh(offset / reach),
            "between": between,
        }
        for name, values in constants.items():
            self.register_buffer(name, values, persistent=False)

    def quantize(self, latent: Float[Tensor, "B *N d"], dither: float = 0.0) -> Float[Tensor, "B *N d"]:
        """The nearest grid point, with the gradient of the bounded latent (straight through the rounding).

        In the share `dither` of rows, drawn at random: instead of the nearest grid point, a uniform draw from within
        half a step, which is as far off as rounding is (Parker et al. 2024, arXiv 2411.19842).
        """
        bounded = torch.tanh(latent + self.shift) * self.reach - self.offset
        nearest = (bounded + self.between).round() - self.between
        if dither:
            rows = torch.rand(len(latent), *[1] * (latent.ndim - 1)) < dither
            noisy = bounded.detach() + (torch.rand(bounded.shape) - 0.5).to(bounded)
            nearest = torch.where(rows.to(bounded.device), noisy, nearest)
        return (bounded + (nearest - bounded).detach()) / self.middle

    def to_ids(self, points: Float[Tensor, "*B d"]) -> Int[Tensor, "*B"]:
        """Codes of grid points, 0 .. codes - 1."""
        digits = (points * self.middle + self.middle).round().long()
        return (digits * self.radix).sum(-1)

    def to_points(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B d"]:
        """Grid points of codes."""
        return (self.to_digits(ids) - self.middle) / self.middle

    def to_digits(self, ids: Int[Tensor, "*B"]) -> Int[Tensor, "*B d"]:
        """Digits of codes, digit d in 0 .. levels[d] - 1."""
        return ids.unsqueeze(-1) // self.radix % self.size
