"""Residual vector quantization of a whole chunk, as in VQ-BeT: each code says what the codes before left open."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor, nn

from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Decoded, Tokenizer, TokenizerSpec, Tokens
from compression_gap.training import LearningCost


@dataclass(frozen=True)
class Rvq(TokenizerSpec, kind="rvq", version=1):
    """The residual VQ-VAE of VQ-BeT (arXiv 2403.03181). Its sizes are the paper's; `Rvq.small()` trains on one CPU
    core. The continuous offset that VQ-BeT adds is its policy's, not the code's.

    The codebooks are trained by gradient rather than by moving averages, so that all that training changes are weights.
    """

    groups: int = 2
    """Codes a chunk, each of the residual of those before."""
    codes: int = 16
    """Vectors in each group's codebook."""
    latent: int = 512
    """Width of the vectors."""
    width: int = 128
    """Width of the perceptrons from chunk to latent and back."""
    commitment: float = 1.0
    """Weight of the quantization error in the loss. The paper has 5 with moving averages; with trained codebooks that
    pulls all latents into one vector."""

    def __post_init__(self) -> None:
        for name, least in (("groups", 1), ("codes", 2), ("latent", 1), ("width", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"Rvq.{name}: expected at least {least}, got {getattr(self, name)}")

    @classmethod
    def small(cls) -> Rvq:
        """The size for the built-in suite on one CPU core."""
        return cls(latent=32, width=128)

    @property
    def learned(self) -> bool:
        return True

    def expected_tokens(self, horizon: int) -> int:
        return self.groups

    def cost(self, horizon: int) -> LearningCost:
        weights = 2 * self.width * (8 * horizon + self.width + self.latent) + self.groups * self.codes * self.latent
        return LearningCost(2e-5 + 1e-9 * weights, weights * 4e-6)

    def build(self, shape: ChunkShape) -> RvqTokenizer:
        return RvqTokenizer(self, shape)


class RvqTokenizer(Tokenizer):
    """See `Rvq`. Ids are places in the codebook of their group."""

    ordered = False
    digits = None

    def __init__(self, spec: Rvq, shape: ChunkShape) -> None:
        super().__init__()
        self.shape, self.max_tokens, self.vocab_size = shape, spec.groups, spec.codes
        self.commitment = spec.commitment
        self.scaling = ActionScaling(shape.actions)
        size = shape.horizon * shape.actions
        self.encoder = perceptron(size, spec.width, spec.latent)
        self.codebooks = nn.Parameter(torch.randn(spec.groups, spec.codes, spec.latent) * 0.1)
        self.decoder = perceptron(spec.latent, spec.width, size)

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        self.scaling.fit(chunks)

    @torch.no_grad()
    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens:
        ids = torch.stack([ids for ids, _ in self.quantize(self.to_latent(self.scaling(chunk)))], dim=1)
        return Tokens(ids, torch.full((len(ids),), self.max_tokens, device=ids.device))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Decoded:
        """Chunks from whole codes. A row with an id outside the codebook or too few or too many is invalid."""
        valid = tokens.well_formed(self.vocab_size, self.max_tokens, self.max_tokens)
        ids = tokens.ids[:, : self.max_tokens].clamp(0, self.vocab_size - 1)
        ids = functional.pad(ids, (0, self.max_tokens - ids.shape[1]))
        latent = self.codebooks[torch.arange(self.max_tokens, device=ids.device), ids].sum(1)
        return Decoded(self.scaling.inverse(self.to_actions(latent)), valid)

    def loss(self, chunk: Float[Tensor, "B T D"]) -> Loss:
        """Mean absolute error of the scaled actions, and what the codes leave of the latents.

        Vectors that no chunk of the batch chose are drawn to those chunks that their codebook serves worst, so that
        none stays dead.
        """
        scaled = self.scaling(chunk)
        latent = self.to_latent(scaled)
        chosen = torch.zeros_like(latent)
        left = torch.zeros((), device=chunk.device)
        for book, (ids, residual) in zip(self.codebooks, self.quantize(latent), strict=True):
            left = left + functional.mse_loss(book[ids], residual.detach()) + revival(book, ids, residual.detach())
            chosen = chosen + book[ids]
        left = left + functional.mse_loss(latent, chosen.detach())
        error = self.to_actions(latent + (chosen - latent).detach()) - scaled
        parts = {"mse": error.detach().square().mean(), "left": left.detach()}
        return Loss(error.abs().mean() + self.commitment * left, parts)

    def quantize(self, latent: Float[Tensor, "B d"]) -> list[tuple[Int[Tensor, " B"], Float[Tensor, "B d"]]]:
        """Of every group: the nearest vectors, and the residuals that they stand for."""
        steps, residual = [], latent
        for book in self.codebooks:
            ids = distances(residual, book).argmin(1)
            steps.append((ids, residual))
            residual = residual - book[ids]
        return steps

    def to_latent(self, scaled: Float[Tensor, "B T D"]) -> Float[Tensor, "B d"]:
        """What is quantized."""
        return self.encoder(scaled.flatten(1))

    def to_actions(self, latent: Float[Tensor, "B d"]) -> Float[Tensor, "B T D"]:
        """Scaled actions."""
        return self.decoder(latent).unflatten(1, (self.shape.horizon, self.shape.actions))


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    hidden = [nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU()]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))


def distances(points: Float[Tensor, "B d"], book: Float[Tensor, "V d"]) -> Float[Tensor, "B V"]:
    """Squared distances from points to the vectors of a codebook, up to a constant of each point."""
    return book.square().sum(1) - 2 * points @ book.T


def revival(book: Float[Tensor, "V d"], ids: Int[Tensor, " B"], residual: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
    """Squared distance from each vector that `ids` lack to one of the residuals that are served worst."""
    dead = (torch.bincount(ids, minlength=len(book)) == 0).nonzero().flatten()
    worst = (residual - book.detach()[ids]).square().sum(1).argsort(descending=True, stable=True)
    count = min(len(dead), len(worst))
    return (book[dead[:count]] - residual[worst[:count]]).square().mean(1).sum() / len(book)
