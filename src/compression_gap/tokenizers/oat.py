"""Ordered action tokenization: a register transformer writes the chunk as a few FSQ codes, coarse to fine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from compression_gap.config import added_later
from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Decoded, Tokenizer, TokenizerSpec, Tokens
from compression_gap.tokenizers.fsq import Fsq
from compression_gap.training import LearningCost
from compression_gap.transformer import Transformer, causal_mask

EXACT = 1e-8
"""Squared errors far below this count as none."""


@dataclass(frozen=True)
class Oat(TokenizerSpec, kind="oat"):
    """OAT (arXiv 2602.04215). The defaults are the paper's; `Oat.small()` trains on one CPU core."""

    tokens: int = 8
    """Tokens a chunk."""
    levels: tuple[int, ...] = (8, 5, 5, 5)
    """FSQ levels of a token, each at least 2; their product is the vocabulary."""
    width: int = 256
    """Width of both transformers."""
    head_width: int = 64
    """Width of an attention head; divides `width`."""
    encoder_layers: int = 2
    """Layers from actions to registers."""
    decoder_layers: int = 4
    """Layers from latents to actions."""
    dropout: float = 0.1
    """Dropout in both transformers."""
    balanced: bool = False
    """Train on the geometric mean of the errors at all prefix lengths, the whole code counting as much as all others.
    Not in the paper, whose plain mean is ruled by short prefixes: theirs are the large errors, and what the whole code
    could still express is learned late or never."""
    gated: bool = False
    """Gated perceptrons (SwiGLU) in both transformers: not in the paper, and better in few steps."""
    patch: int = 1
    """Consecutive actions that share a token of the transformers; more than 1 is not in the paper, and cheap. The last
    action is repeated to fill the last of them."""
    nested_dropout: bool = True
    """Whether training drops random tails of the code, which orders the tokens coarse to fine."""
    prefixes: Literal["powers", "all"] = added_later("powers")
    """Which lengths nested dropout keeps: the powers of two and the whole code, as in the paper, or every length. The
    first learns short prefixes better and leaves the lengths between untrained, where a further token can do harm."""
    drawn: Literal["evenly", "by_weight"] = added_later("evenly")
    """How often nested dropout keeps each length: all as often, as in the paper, or the whole code as often as all
    others together, as `balanced` weighs them. Evenly, what counts most is learned from the fewest chunks."""
    dither: float = added_later(0.0)
    """Share of chunks whose latents training leaves unrounded and adds uniform noise of one level's width to (Parker et
    al. 2024, arXiv 2411.19842): their gradients are those of what is computed, and not straight through a rounding."""

    search: int = added_later(0)
    """Passes over a code that was written: each digit in turn moves by a level where the code's prefixes then read the
    chunk back better, the whole code counting as much as all others. Not in the paper, whose encoder learns to guess a
    code in one go; a pass takes two decodings or more for every digit."""

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"Oat.tokens: expected at least 1, got {self.tokens}")
        if self.patch < 1:
            raise ValueError(f"Oat.patch: expected at least 1, got {self.patch}")
        if not 0.0 <= self.dither <= 1.0:
            raise ValueError(f"Oat.dither: expected a share from 0 to 1, got {self.dither}")
        if self.search < 0:
            raise ValueError(f"Oat.search: expected 0 or more passes, got {self.search}")
        if self.head_width < 1:
            raise ValueError(f"Oat.head_width: expected at least 1, got {self.head_width}")
        if self.width < 1 or self.width % self.head_width:
            raise ValueError(f"Oat.width: expected a multiple of head_width {self.head_width}, got {self.width}")

    @classmethod
    def small(cls) -> Oat:
        """The size for the built-in suite on one CPU core."""
        return cls(
            width=64, head_width=32, encoder_layers=1, decoder_layers=2, dropout=0.0, balanced=True, gated=True, patch=2
        )

    @property
    def learned(self) -> bool:
        return True

    @property
    def searches(self) -> bool:
        return self.search > 0

    def expected_tokens(self, horizon: int) -> int:
        return self.tokens

    def cost(self, horizon: int) -> LearningCost:
        positions = math.ceil(horizon / self.patch)
        return LearningCost.of_transformer(self.width, self.encoder_layers + self.decoder_layers, positions)

    def build(self, shape: ChunkShape) -> OatTokenizer:
        return OatTokenizer(self, shape)


class OatTokenizer(Tokenizer):
    """Registers look at all actions and at earlier registers; a decoder reads the actions off any prefix of codes."""

    encoder_mask: Tensor
    decoder_mask: Tensor
    prefixes: Tensor
    weights: Tensor

    def __init__(self, spec: Oat, shape: ChunkShape) -> None:
        super().__init__()
        self.shape, self.max_tokens, self.patch = shape, spec.tokens, spec.patch
        self.patches = math.ceil(shape.horizon / spec.patch)
        self.fsq = Fsq(spec.levels)
        self.vocab_size, self.digits = self.fsq.codes, self.fsq.levels
        self.ordered, self.balanced = spec.nested_dropout, spec.balanced
        self.by_weight, self.dither, self.search = spec.drawn == "by_weight", spec.dither, spec.search
        self.scaling = ActionScaling(shape.actions)
        width, heads = spec.width, spec.width // spec.head_width

        self.read_action = nn.Linear(spec.patch * shape.actions, width)
        self.action_position = learned(self.patches, width)
        self.registers = learned(spec.tokens, width)
        self.encoder = Transformer(width, spec.encoder_layers, heads, dropout=spec.dropout, gated=spec.gated)
        self.write_latent = nn.Linear(width, len(spec.levels))

        self.read_latent = nn.Linear(len(spec.levels), width)
        self.mask_token = learned(1, width)
        self.latent_position = learned(spec.tokens, width)
        self.queries = learned(self.patches, width)
        self.decoder = Transformer(
            width, spec.decoder_layers, heads, dropout=spec.dropout, cross=True, gated=spec.gated
        )
        self.write_action = nn.Linear(width, spec.patch * shape.actions)

        self.register_buffer("encoder_mask", register_mask(self.patches, spec.tokens), persistent=False)
        self.register_buffer("decoder_mask", causal_mask(self.patches), persistent=False)
        lengths = prefix_lengths(spec.tokens, spec.prefixes)
        self.register_buffer("prefixes", torch.tensor(lengths), persistent=False)
        weights = [1.0] * (len(lengths) - 1) + [max(1.0, len(lengths) - 1.0)]
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    @property
    def prefix_lengths(self) -> list[int]:
        return self.prefixes.tolist() if self.ordered else []

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        self.scaling.fit(chunks)

    @torch.no_grad()
    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens:
        scaled = self.scaling(chunk)
        ids = self.fsq.to_ids(self.to_points(scaled))
        for _ in range(self.search):
            ids = self.searched(scaled, ids)
        return Tokens(ids, torch.full((len(ids),), self.max_tokens, device=ids.device))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Decoded:
        """Chunks from whole codes or, if ordered, from any prefix. A row with an id outside the vocabulary or an empty
        or over-long code is invalid."""
        valid = tokens.well_formed(self.vocab_size, 1 if self.ordered else self.max_tokens, self.max_tokens)
        ids = tokens.ids[:, : self.max_tokens].clamp(0, self.vocab_size - 1)
        ids = functional.pad(ids, (0, self.max_tokens - ids.shape[1]))
        scaled = self.to_actions(self.fsq.to_points(ids), tokens.length)
        return Decoded(self.scaling.inverse(scaled), valid)

    def searched(self, scaled: Float[Tensor, "B T D"], ids: Int[Tensor, "B L"]) -> Int[Tensor, "B L"]:
        """The codes after one pass of the search: coordinate descent over their digits."""
        for token in range(self.max_tokens):
            error = self.log_error(scaled, ids, token)
            for digit, (levels, radix) in enumerate(zip(self.fsq.levels, self.fsq.radix, strict=True)):
                for step in (-1, 1):
                    moved = ids.clone()
                    level = self.fsq.to_digits(ids[:, token])[:, digit] + step
                    moved[:, token] += torch.where((level >= 0) & (level < levels), step * radix, 0)
                    found = self.log_error(scaled, moved, token)
                    ids = torch.where((found < error)[:, None], moved, ids)
                    error = torch.minimum(found, error)
        return ids

    def log_error(self, scaled: Float[Tensor, "B T D"], ids: Int[Tensor, "B L"], token: int) -> Float[Tensor, " B"]:
        """Sum of the logarithms of each code's errors at the prefixes that hold `token`, weighted as in `balance`."""
        points, total = self.fsq.to_points(ids), torch.zeros(len(ids), device=ids.device)
        for length, weight in zip(self.prefixes.tolist(), self.weights.tolist(), strict=True):
            if length > token and (self.ordered or length == self.max_tokens):
                lengths = torch.full((len(ids),), length, device=ids.device)
                errors = (self.to_actions(points, lengths) - scaled).square().mean(dim=(1, 2))
                total += weight * (errors + EXACT).log()
        return total

    def loss(self, chunk: Float[Tensor, "B T D"]) -> Loss:
        """Mean squared error of the scaled actions, read off a random prefix of the code (nested dropout).

        If `balanced`, the weighted geometric mean of the errors at each prefix length.
        """
        scaled = self.scaling(chunk)
        points = self.to_points(scaled)
        length = torch.full((len(chunk),), self.max_tokens, device=chunk.device)
        if self.ordered and self.training:
            length = self.prefixes[self.draw(len(chunk)).to(chunk.device)]
        errors = (self.to_actions(points, length) - scaled).square().mean(dim=(1, 2))
        total = self.balance(errors, length) if self.balanced else errors.mean()
        return Loss(total, {"mse": errors.detach().mean()})

    def draw(self, chunks: int) -> Int[Tensor, " B"]:
        """Which of the prefix lengths nested dropout keeps of each chunk."""
        if self.by_weight:
            return torch.multinomial(self.weights.cpu(), chunks, replacement=True)
        return torch.randint(len(self.prefixes), (chunks,))

    def balance(self, errors: Float[Tensor, " B"], length: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """Geometric mean of the errors at the prefix lengths that occur; the whole code weighs as all others do."""
        occurring = [(k, weight) for k, weight in zip(self.prefixes, self.weights, strict=True) if (length == k).any()]
        logs = torch.stack([(errors[length == k].mean() + EXACT).log() for k, _ in occurring])
        weights = torch.stack([weight for _, weight in occurring])
        return (weights @ logs / weights.sum()).exp()

    def to_points(self, scaled: Float[Tensor, "B T D"]) -> Float[Tensor, "B L d"]:
        """Grid points of the registers, differentiable."""
        more = self.patches * self.patch - self.shape.horizon
        filled = torch.cat([scaled, scaled[:, -1:].expand(-1, more, -1)], dim=1) if more else scaled
        patches = filled.unflatten(1, (self.patches, self.patch)).flatten(2)
        actions = self.read_action(patches) + self.action_position
        both = torch.cat([actions, self.registers.expand(len(scaled), -1, -1)], dim=1)
        latents = self.write_latent(self.encoder(both, self.encoder_mask)[:, self.patches :])
        return self.fsq.quantize(latents, self.dither if self.training else 0.0)

    def to_actions(self, points: Float[Tensor, "B L d"], length: Int[Tensor, " B"]) -> Float[Tensor, "B T D"]:
        """Scaled actions from the first `length` grid points of each row, in a single pass."""
        kept = torch.arange(self.max_tokens, device=points.device) < length[:, None]  # [B, L]
        latents = torch.where(kept[..., None], self.read_latent(points), self.mask_token) + self.latent_position
        memory = self.decoder.remember(latents)
        out = self.write_action(self.decoder(self.queries.expand(len(points), -1, -1), self.decoder_mask, memory))
        return out.unflatten(2, (self.patch, -1)).flatten(1, 2)[:, : self.shape.horizon]


def learned(count: int, width: int) -> nn.Parameter:
    """`count` learnable vectors, large enough to be told apart beside projected actions from the first step on."""
    return nn.Parameter(torch.randn(count, width) * 0.2)


def register_mask(horizon: int, registers: int) -> Bool[Tensor, "N N"]:
    """True where position n may look at m: actions see all actions, a register also the registers up to itself."""
    mask = causal_mask(horizon + registers)
    mask[:horizon, :horizon] = True
    return mask


def prefix_lengths(tokens: int, which: Literal["powers", "all"]) -> list[int]:
    """The lengths that nested dropout keeps: every one, or the powers of two below `tokens`, and all of them."""
    if which == "all":
        return list(range(1, tokens + 1))
    return [*(2**i for i in range((tokens - 1).bit_length())), tokens]
