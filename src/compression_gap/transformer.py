"""The transformer trunk that policies, tokenizers and probes share: pre-norm blocks with optional cross-attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass
class Cache:
    """Keys and values of the positions seen so far, one pair a layer, each [B, heads, positions, width / heads]."""

    layers: list[tuple[Tensor, Tensor] | None]


class Attention(nn.Module):
    """Multi-head attention; keys and values come from `memory`, or from `x` itself."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        check_heads("Attention", width, heads)
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, memory: Float[Tensor, "B M W"]) -> tuple[Tensor, Tensor]:
        """Keys and values of a memory, each [B, heads, M, W / heads]; computed once where the memory stays the same."""
        keys, values = rearrange(self.key_value(memory), "b m (two h w) -> two b h m w", two=2, h=self.heads)
        return keys, values

    def forward(
        self, x: Float[Tensor, "B N W"], keys: Tensor, values: Tensor, mask: Bool[Tensor, "N M"] | None = None
    ) -> Float[Tensor, "B N W"]:
        """Attention of x to the given keys and values; `mask` is true where a position may look."""
        query = rearrange(self.query(x), "b n (h w) -> b h n w", h=self.heads)
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask, dropout_p=dropout)
        return self.out(rearrange(mixed, "b h n w -> b n (h w)"))


class Gated(nn.Module):
    """A perceptron whose hidden units are products (SwiGLU, Shazeer 2020, arXiv 2002.05202), with as many weights as a
    plain one that is four times wider inside.

    Products are what geometry asks for (turn one yaw by another, look where the task points): from the same
    demonstrations it learns them sooner and better than a plain perceptron.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, 2 * (8 * width // 3))
        self.out = nn.Linear(8 * width // 3, width)

    def forward(self, x: Float[Tensor, "*B W"]) -> Float[Tensor, "*B W"]:
        value, gate = self.hidden(x).chunk(2, dim=-1)
        return self.out(value * functional.silu(gate))


class Block(nn.Module):
    """Self-attention, cross-attention to a memory where there is one, and a perceptron on every position alone."""

    def __init__(self, width: int, heads: int, dropout: float, cross: bool, gated: bool) -> None:
        super().__init__()
        self.norm_self, self.self_attention = nn.LayerNorm(width), Attention(width, heads, dropout)
        if cross:
            self.norm_cross, self.cross_attention = nn.LayerNorm(width), Attention(width, heads, dropout)
        self.norm_mlp = nn.LayerNorm(width)
        if gated:
            self.mlp = Gated(width)
        else:
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B N W"],
        mask: Bool[Tensor, "N M"] | None,
        memory: tuple[Tensor, Tensor] | None,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "B N W"], tuple[Tensor, Tensor]]:
        """The block's output and its keys and values, those of `past` positions included."""
        normed = self.norm_self(x)
        keys, values = self.self_attention.keys_values(normed)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        x = x + self.dropout(self.self_attention(normed, keys, values, mask))
        if memory is not None:
            x = x + self.dropout(self.cross_attention(self.norm_cross(x), *memory))
        return x + self.dropout(self.mlp(self.norm_mlp(x))), (keys, values)


class Transformer(nn.Module):
    """A stack of blocks with a final norm."""

    def __init__(
        self, width: int, layers: int, heads: int, *, dropout: float = 0.0, cross: bool = False, gated: bool = False
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(width, heads, dropout, cross, gated) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def remember(self, memory: Float[Tensor, "B M W"]) -> list[tuple[Tensor, Tensor]]:
        """Each layer's keys and values of the memory, for calls that look at the same memory again and again."""
        return [block.cross_attention.keys_values(memory) for block in self.blocks]  # type: ignore[union-attr]

    def forward(
        self,
        x: Float[Tensor, "B N W"],
        mask: Bool[Tensor, "N M"] | None = None,
        memory: list[tuple[Tensor, Tensor]] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B N W"]:
        """The stack's output. A `cache` holds the positions before x and takes those of x in."""
        for i, block in enumerate(self.blocks):
            past = cache.layers[i] if cache else None
            x, present = block(x, mask, memory[i] if memory else None, past)
            if cache:
                cache.layers[i] = present
        return self.norm(x)

    def empty_cache(self) -> Cache:
        """A cache that has seen no position yet."""
        return Cache([None] * len(self.blocks))


def causal_mask(length: int, device: torch.device | None = None) -> Bool[Tensor, "N N"]:
    """True where position n may look at position m: m <= n."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def check_heads(kind: str, width: int, heads: int) -> None:
    """Raises ValueError if attention heads do not divide the width of the `kind` of part that has them."""
    if heads < 1 or width < 1 or width % heads:
        raise ValueError(f"{kind}.heads: expected a divisor of its width {width}, got {heads}")
