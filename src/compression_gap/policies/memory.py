"""What a policy's transformer looks at: conditioning tokens, projected, placed and refined."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Memory(nn.Module):
    """Projection to the policy's width, position embedding, and a two-layer perceptron on every token alone, as in
    Diffusion Policy's transformer (Chi et al. 2023, arXiv 2303.04137, section III)."""

    def __init__(self, condition_width: int, condition_tokens: int, width: int, leading: int = 0) -> None:
        """`leading` tokens of the policy's own come before the conditioning tokens."""
        super().__init__()
        self.project = nn.Linear(condition_width, width)
        self.position = nn.Parameter(torch.randn(leading + condition_tokens, width) * 0.02)
        self.refine = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))

    def forward(
        self, condition: Float[Tensor, "B C F"], leading: Float[Tensor, "B E W"] | None = None
    ) -> Float[Tensor, "B M W"]:
        tokens = self.project(condition)
        if leading is not None:
            tokens = torch.cat([leading, tokens], dim=1)
        return self.refine(tokens + self.position)
