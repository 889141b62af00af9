"""What policies over continuous actions share: a transformer whose tokens are the actions, and their scaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from compression_gap.config import added_later
from compression_gap.policies.base import SIZES, Policy, PolicySpec, Sampled
from compression_gap.policies.memory import Memory
from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Tokenizer
from compression_gap.training import LearningCost
from compression_gap.transformer import Transformer, causal_mask, check_heads

Level = Float[Tensor, " B"] | Int[Tensor, " B"]


@dataclass(frozen=True)
class TrunkSpec(PolicySpec):
    """Settings of the transformer. The defaults are size M of the Compression Gap paper."""

    width: int = 256
    """Width of the transformer."""
    layers: int = 4
    """Layers of the transformer."""
    heads: int = 4
    """Attention heads; they divide the width."""
    dropout: float = 0.0
    """Dropout in the transformer."""
    gated: bool = False
    """Gated perceptrons (SwiGLU) instead of plain ones, more of them on the conditioning tokens: not in the papers, but
    what lets a small policy find the object that the task means, from few demonstrations and in few steps."""
    patch: int = 1
    """Consecutive actions that share a token of the transformer; more than 1 is not in the papers, and cheap."""
    octaves: int = added_later(0)
    """Sines and cosines of 1, 2, 4, ... times every conditioning value are seen besides (`policies.memory.with_waves`):
    not in the papers, for tasks in which much depends on small differences."""

    def __post_init__(self) -> None:
        check_heads(type(self).__name__, self.width, self.heads)
        if self.octaves < 0:
            raise ValueError(f"{type(self).__name__}.octaves: expected at least 0, got {self.octaves}")
        if self.patch < 1:
            raise ValueError(f"{type(self).__name__}.patch: expected at least 1, got {self.patch}")

    def cost(self, positions: int) -> LearningCost:
        return LearningCost.of_transformer(self.width, self.layers, positions)

    def check(self, shape: ChunkShape, tokenizer: Tokenizer | None) -> None:
        """Raises ValueError if there is a tokenizer, or the horizon is no multiple of `patch`."""
        if tokenizer is not None:
            raise ValueError(f"policy {self.kind!r} predicts actions, not codes: leave the cell's tokenizer out")
        if shape.horizon % self.patch:
            raise ValueError(
                f"{type(self).__name__}.patch: expected a divisor of the horizon {shape.horizon}, got {self.patch}"
            )


def of_size(size: Literal["S", "M", "L"]) -> dict[str, Any]:
    """Settings of M and L of the paper, or of S for one CPU core: gated, four actions a token."""
    width, layers, heads = SIZES[size]
    small = size == "S"
    return {"width": width, "layers": layers, "heads": heads, "gated": small, "patch": 4 if small else 1}


class Trunk(Policy):
    """Action tokens look at earlier ones and, across, at the conditioning tokens.

    They are noisy actions, and then the noise level is a further conditioning token; or they are learned queries.
    """

    mask: Tensor

    def __init__(
        self, spec: TrunkSpec, shape: ChunkShape, condition_width: int, condition_tokens: int, *, noisy: bool
    ) -> None:
        super().__init__()
        self.shape, self.width, self.patch = shape, spec.width, spec.patch
        self.scaling = ActionScaling(shape.actions)
        tokens = shape.horizon // spec.patch
        self.read_action = nn.Linear(spec.patch * shape.actions, spec.width) if noisy else None
        self.position = nn.Parameter(torch.randn(tokens, spec.width) * 0.02)
        self.memory = Memory(
            condition_width,
            condition_tokens,
            spec.width,
            gated=spec.gated,
            octaves=spec.octaves,
            leading=int(noisy),
        )
        self.transformer = Transformer(
            spec.width, spec.layers, spec.heads, dropout=spec.dropout, cross=True, gated=spec.gated
        )
        self.write_action = nn.Linear(spec.width, spec.patch * shape.actions)
        self.register_buffer("mask", causal_mask(tokens), persistent=False)

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        self.scaling.fit(chunks)

    def predict(
        self, noisy: Float[Tensor, "B T D"], level: Level, read: Float[Tensor, "B C _"]
    ) -> Float[Tensor, "B T D"]:
        """The network's output, in scaled units, for noisy scaled chunks and their noise levels, with what the memory
        has `read` of the condition."""
        assert self.read_action is not None, "this policy's tokens are queries"
        memory = self.memory.place(read, sinusoids(level, self.width)[:, None])
        return self._actions(self.read_action(noisy.unflatten(1, (-1, self.patch)).flatten(2)) + self.position, memory)

    def answer(self, condition: Float[Tensor, "B C F"]) -> Float[Tensor, "B T D"]:
        """The network's output, in scaled units, for the condition alone."""
        return self._actions(self.position.expand(len(condition), -1, -1), self.memory(condition))

    def _actions(self, tokens: Float[Tensor, "B N W"], memory: Float[Tensor, "B M W"]) -> Float[Tensor, "B T D"]:
        out = self.write_action(self.transformer(tokens, self.mask, self.transformer.remember(memory)))
        return out.unflatten(2, (self.patch, -1)).flatten(1, 2)

    def noise(self, generators: Sequence[torch.Generator], condition: Float[Tensor, "B C F"]) -> Float[Tensor, "B T D"]:
        """Gaussian noise, every row from its own generator."""
        shape = (self.shape.horizon, self.shape.actions)
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(condition)

    def sampled(self, scaled: Float[Tensor, "B T D"]) -> Sampled:
        """Scaled chunks in the suite's units, valid unless what was seen, or the network, was not finite."""
        valid = scaled.isfinite().flatten(1).all(1)
        return Sampled(self.scaling.inverse(scaled).where(valid[:, None, None], torch.nan), valid)


def sinusoids(level: Level, width: int) -> Float[Tensor, "B W"]:
    """Sines and cosines of the noise level at wavelengths from 2 pi to 20,000 pi."""
    frequency = torch.exp(torch.arange(width // 2, device=level.device) * (-math.log(10_000) / (width // 2 - 1)))
    angle = level[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
