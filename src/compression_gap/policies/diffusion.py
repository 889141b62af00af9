"""Diffusion Policy: a transformer that removes noise from action chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor, nn

from compression_gap.policies.base import SIZES, Decoding, Policy, PolicySpec, Sampled
from compression_gap.policies.memory import Memory
from compression_gap.policies.schedule import Prediction, Schedule
from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Tokenizer
from compression_gap.training import LearningCost
from compression_gap.transformer import Transformer, causal_mask


@dataclass(frozen=True)
class Diffusion(PolicySpec, kind="diffusion"):
    """Diffusion Policy with a transformer (arXiv 2303.04137). The defaults are size M of the Compression Gap paper."""

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
    prediction: Prediction = "epsilon"
    """What the network predicts: the noise, or the clean chunk ("sample"), which trains in far fewer steps."""
    train_steps: int = 100
    """Steps of the noise schedule (squaredcos_cap_v2)."""
    inference_steps: int = 10
    """DDIM steps of a sample, spaced `leading`."""
    clip_sample: bool = True
    """Whether DDIM keeps the clean chunk within [-1, 1] at every step."""
    noise_draws: int = 1
    """Noise levels drawn for every chunk of a training batch: more of them share the work of the encoder."""

    def __post_init__(self) -> None:
        if not 1 <= self.inference_steps <= self.train_steps:
            raise ValueError(
                f"Diffusion.inference_steps: expected 1 to train_steps = {self.train_steps}, got {self.inference_steps}"
            )
        if self.patch < 1:
            raise ValueError(f"Diffusion.patch: expected at least 1, got {self.patch}")
        if self.noise_draws < 1:
            raise ValueError(f"Diffusion.noise_draws: expected at least 1, got {self.noise_draws}")

    @classmethod
    def sized(cls, size: Literal["S", "M", "L"]) -> Diffusion:
        """M and L of the paper, or S for one CPU core: gated, four actions a token, predicting the clean chunk."""
        width, layers, heads = SIZES[size]
        if size != "S":
            return cls(width=width, layers=layers, heads=heads)
        return cls(width=width, layers=layers, heads=heads, gated=True, patch=4, prediction="sample")

    def cost(self, horizon: int) -> LearningCost:
        return LearningCost.of_transformer(self.width, self.layers, self.noise_draws * horizon)

    def build(
        self, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer | None
    ) -> DiffusionPolicy:
        if tokenizer is not None:
            raise ValueError("policy 'diffusion' predicts actions, not codes: leave the cell's tokenizer out")
        if shape.horizon % self.patch:
            raise ValueError(f"Diffusion.patch: expected a divisor of the horizon {shape.horizon}, got {self.patch}")
        return DiffusionPolicy(self, shape, condition_width, condition_tokens)


class DiffusionPolicy(Policy):
    """Action tokens look at earlier ones and, across, at the noise level and the conditioning tokens."""

    mask: Tensor

    def __init__(self, spec: Diffusion, shape: ChunkShape, condition_width: int, condition_tokens: int) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        self.scaling = ActionScaling(shape.actions)
        self.schedule = Schedule(spec.train_steps)
        tokens = shape.horizon // spec.patch
        self.read_action = nn.Linear(spec.patch * shape.actions, spec.width)
        self.position = nn.Parameter(torch.randn(tokens, spec.width) * 0.02)
        self.memory = Memory(condition_width, condition_tokens, spec.width, gated=spec.gated, leading=1)
        self.transformer = Transformer(
            spec.width, spec.layers, spec.heads, dropout=spec.dropout, cross=True, gated=spec.gated
        )
        self.write_action = nn.Linear(spec.width, spec.patch * shape.actions)
        self.register_buffer("mask", causal_mask(tokens), persistent=False)

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        self.scaling.fit(chunks)

    def predict(
        self, noisy: Float[Tensor, "B T D"], step: Int[Tensor, " B"], condition: Float[Tensor, "B C F"]
    ) -> Float[Tensor, "B T D"]:
        """The noise, or the clean scaled chunk, in noisy scaled chunks at steps 0 .. train_steps - 1."""
        memory = self.memory(condition, sinusoids(step, self.spec.width)[:, None])
        actions = self.read_action(noisy.unflatten(1, (-1, self.spec.patch)).flatten(2)) + self.position
        out = self.write_action(self.transformer(actions, self.mask, self.transformer.remember(memory)))
        return out.unflatten(2, (self.spec.patch, -1)).flatten(1, 2)

    def loss(self, condition: Float[Tensor, "B C F"], targets: Float[Tensor, "B T D"]) -> Loss:
        """Mean squared error of the prediction at random noise levels (arXiv 2006.11239, equation 14)."""
        draws = self.spec.noise_draws
        clean, condition = self.scaling(targets).repeat(draws, 1, 1), condition.repeat(draws, 1, 1)
        step = torch.randint(self.spec.train_steps, (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        predicted = self.predict(self.schedule.add_noise(clean, noise, step), step, condition)
        error = functional.mse_loss(predicted, noise if self.spec.prediction == "epsilon" else clean)
        return Loss(error, {f"{self.spec.prediction}_mse": error.detach()})

    @torch.no_grad()
    def sample(
        self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator], decoding: Decoding
    ) -> Sampled:
        """Chunks by DDIM from noise of each row's generator; `decoding` makes no difference here."""
        shape = (self.shape.horizon, self.shape.actions)
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(condition)
        scaled = self.schedule.ddim(
            lambda noisy, step: self.predict(noisy, step, condition),
            noise,
            self.spec.inference_steps,
            self.spec.prediction,
            self.spec.clip_sample,
        )
        return Sampled(self.scaling.inverse(scaled), torch.ones(len(scaled), dtype=torch.bool, device=scaled.device))


def sinusoids(step: Int[Tensor, " B"], width: int) -> Float[Tensor, "B W"]:
    """Sines and cosines of the step at wavelengths from 2 pi to 20,000 pi."""
    frequency = torch.exp(torch.arange(width // 2, device=step.device) * (-math.log(10_000) / (width // 2 - 1)))
    angle = step[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
