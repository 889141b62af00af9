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
        self,
        condition_width: int,
        condition_tokens: int,
        width: int,
        *,
        gated: bool,
        octaves: int = 0,
        leading: int = 0,
    ) -> None:
        """`leading` tokens of the policy's own come before the conditioning tokens."""
        super().__init__()
        inner = 2 * width if gated else width
        self.gated, self.octaves = gated, octaves
        self.project = nn.Linear((1 + 2 * octaves) * condition_width, inner)
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
        tokens = self.project(with_waves(condition, self.octaves))
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


def with_waves(values: Float[Tensor, "*B F"], octaves: int) -> Float[Tensor, "*B _"]:
    """The values, and sine and cosine of 1, 2, 4, ... times each (Tancik et al. 2020, arXiv 2006.10739, section 6.1).

    Where objects stand differs by a tenth of what values span while things are carried about; a network that is given
    waves learns such small differences sooner.
    """
    turned = [wave(values * 2.0**octave) for octave in range(octaves) for wave in (torch.sin, torch.cos)]
    return torch.cat([values, *turned], dim=-1) if turned else values
