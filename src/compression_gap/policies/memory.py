"""What a policy's transformer looks at: conditioning tokens, projected, placed and refined, each on its own."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compression_gap.transformer import Gated

GATED_LAYERS = 3


class Memory(nn.Module):
    """Conditioning tokens at the policy's width.

    Plain, they and the policy's own tokens pass a two-layer perceptron, as in Diffusion Policy's transformer (Chi et
    al. 2023, arXiv 2303.04137, section III). Gated, they pass three residual gated layers of twice the width: there,
    before actions come in, is where the policy works out what the task asks for, and a few tokens are cheap.
    """

    def __init__(
        self, condition_width: int, condition_tokens: int, width: int, *, gated: bool, leading: int = 0
    ) -> None:
        """`leading` tokens of the policy's own come before the conditioning tokens."""
        super().__init__()
        inner = 2 * width if gated else width
        self.gated = gated
        self.project = nn.Linear(condition_width, inner)
        self.position = nn.Parameter(torch.randn(leading + condition_tokens, width) * 0.02)
        if gated:
            layers = (Residual(inner) for _ in range(GATED_LAYERS))
            self.refine = nn.Sequential(*layers, nn.LayerNorm(inner), nn.Linear(inner, width))
        else:
            self.refine = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))

    def forward(self, condition: Float[Tensor, "B C F"]) -> Float[Tensor, "B M W"]:
        return self.place(self.read(condition))

    def read(self, condition: Float[Tensor, "B C F"]) -> Float[Tensor, "B C _"]:
        """What follows from the condition alone: computed once, however many noise levels look at it."""
        tokens = self.project(condition)
        return self.refine(tokens) if self.gated else tokens

    def place(
        self, read: Float[Tensor, "B C _"], leading: Float[Tensor, "B E W"] | None = None
    ) -> Float[Tensor, "B M W"]:
        """The tokens that were read, after those of the policy's own, each with its position."""
        tokens = (read if leading is None else torch.cat([leading, read], dim=1)) + self.position
        return tokens if self.gated else self.refine(tokens)


class Residual(nn.Module):
    """A gated perceptron beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.LayerNorm(width), Gated(width))

    def forward(self, x: Float[Tensor, "B M W"]) -> Float[Tensor, "B M W"]:
        return x + self.change(x)
