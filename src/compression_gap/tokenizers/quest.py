"""QueST: causal convolutions and a causal transformer over time write every few actions as one FSQ code."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Decoded, Tokenizer, TokenizerSpec, Tokens
from compression_gap.tokenizers.fsq import Fsq
from compression_gap.training import LearningCost
from compression_gap.transformer import Transformer, causal_mask


@dataclass(frozen=True)
class Quest(TokenizerSpec, kind="quest", version=1):
    """QueST (arXiv 2407.15840). The defaults are the paper's; `Quest.small()` trains on one CPU core.

    A chunk of T actions has T / downsample tokens, rounded up; the last action is repeated to fill the last.
    """

    levels: tuple[int, ...] = (8, 5, 5, 5)
    """FSQ levels of a token; their product is the vocabulary."""
    downsample: int = 4
    """Actions a token, a power of two: each of its factors is a convolution of stride 2."""
    width: int = 256
    """Width of the convolutions and of both transformers."""
    head_width: int = 64
    """Width of an attention head; divides `width`."""
    kernel: int = 5
    """Actions that a convolution sees: the newest and those before."""
    encoder_layers: int = 2
    """Layers over the downsampled actions."""
    decoder_layers: int = 4
    """Layers from tokens to actions."""
    dropout: float = 0.1
    """Dropout in both transformers."""

    def __post_init__(self) -> None:
        if self.downsample < 1 or self.downsample & (self.downsample - 1):
            raise ValueError(f"Quest.downsample: expected a power of two, got {self.downsample}")
        if self.kernel < 1:
            raise ValueError(f"Quest.kernel: expected at least 1, got {self.kernel}")
        if self.head_width < 1:
            raise ValueError(f"Quest.head_width: expected at least 1, got {self.head_width}")
        if self.width < 1 or self.width % self.head_width:
            raise ValueError(f"Quest.width: expected a multiple of head_width {self.head_width}, got {self.width}")

    @classmethod
    def small(cls) -> Quest:
        """The size for the built-in suite on one CPU core."""
        return cls(width=64, head_width=32, encoder_layers=1, decoder_layers=2, dropout=0.0)

    @property
    def learned(self) -> bool:
        return True

    def expected_tokens(self, horizon: int) -> int:
        return math.ceil(horizon / self.downsample)

    def cost(self, horizon: int) -> LearningCost:
        return LearningCost.of_transformer(self.width, self.encoder_layers + self.decoder_layers, horizon)

    def build(self, shape: ChunkShape) -> QuestTokenizer:
        return QuestTokenizer(self, shape)


class QuestTokenizer(Tokenizer):
    """A token knows its own actions and those before; the decoder's actions look at all tokens and earlier actions."""

    ordered = False
    encoder_mask: Tensor
    decoder_mask: Tensor

    def __init__(self, spec: Quest, shape: ChunkShape) -> None:
        super().__init__()
        self.shape, self.max_tokens = shape, math.ceil(shape.horizon / spec.downsample)
        self.fill = self.max_tokens * spec.downsample - shape.horizon
        self.fsq = Fsq(spec.levels)
        self.vocab_size, self.digits = self.fsq.codes, self.fsq.levels
        self.scaling = ActionScaling(shape.actions)
        width, heads = spec.width, spec.width // spec.head_width

        self.read_action = nn.Linear(shape.actions, width)
        self.convolutions = nn.ModuleList(
            Causal(width, spec.kernel, stride=2) for _ in range(spec.downsample.bit_length() - 1)
        )
        self.token_position = nn.Parameter(torch.randn(self.max_tokens, width) * 0.02)
        self.encoder = Transformer(width, spec.encoder_layers, heads, dropout=spec.dropout)
        self.write_latent = nn.Linear(width, len(spec.levels))

        self.read_latent = nn.Linear(len(spec.levels), width)
        self.latent_position = nn.Parameter(torch.randn(self.max_tokens, width) * 0.2)
        self.queries = nn.Parameter(torch.randn(shape.horizon, width) * 0.2)
        self.decoder = Transformer(width, spec.decoder_layers, heads, dropout=spec.dropout, cross=True)
        self.write_action = nn.Linear(width, shape.actions)

        self.register_buffer("encoder_mask", causal_mask(self.max_tokens), persistent=False)
        self.register_buffer("decoder_mask", causal_mask(shape.horizon), persistent=False)

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        self.scaling.fit(chunks)

    @torch.no_grad()
    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens:
        ids = self.fsq.to_ids(self.to_points(self.scaling(chunk)))
        return Tokens(ids, torch.full((len(ids),), self.max_tokens, device=ids.device))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Decoded:
        """Chunks from whole codes. A row with an id outside the vocabulary or too few or too many is invalid."""
        valid = tokens.well_formed(self.vocab_size, self.max_tokens, self.max_tokens)
        ids = tokens.ids[:, : self.max_tokens].clamp(0, self.vocab_size - 1)
        ids = functional.pad(ids, (0, self.max_tokens - ids.shape[1]))
        return Decoded(self.scaling.inverse(self.to_actions(self.fsq.to_points(ids))), valid)

    def loss(self, chunk: Float[Tensor, "B T D"]) -> Loss:
        """Mean absolute error of the scaled actions, as in the paper."""
        scaled = self.scaling(chunk)
        error = self.to_actions(self.to_points(scaled)) - scaled
        return Loss(error.abs().mean(), {"mse": error.detach().square().mean()})

    def to_points(self, scaled: Float[Tensor, "B T D"]) -> Float[Tensor, "B L d"]:
        """Grid points of the tokens, differentiable."""
        filled = torch.cat([scaled, scaled[:, -1:].expand(-1, self.fill, -1)], dim=1)
        x = self.read_action(filled)
        for convolution in self.convolutions:
            x = convolution(x)
        return self.fsq.quantize(self.write_latent(self.encoder(x + self.token_position, self.encoder_mask)))

    def to_actions(self, points: Float[Tensor, "B L d"]) -> Float[Tensor, "B T D"]:
        """Scaled actions of grid points, in a single pass."""
        memory = self.decoder.remember(self.read_latent(points) + self.latent_position)
        return self.write_action(self.decoder(self.queries.expand(len(points), -1, -1), self.decoder_mask, memory))


class Causal(nn.Module):
    """A convolution over time that sees no later action, with what it skips added: the mean of each stride's steps."""

    def __init__(self, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv1d(width, width, kernel, stride)
        self.before, self.stride = kernel - stride, stride

    def forward(self, x: Float[Tensor, "B T W"]) -> Float[Tensor, "B t W"]:
        """One vector for every `stride` steps."""
        seen = functional.pad(self.norm(x).transpose(1, 2), (self.before, 0))
        skipped = x.unflatten(1, (-1, self.stride)).mean(2)
        return skipped + functional.gelu(self.convolution(seen)).transpose(1, 2)
