"""Diffusion Policy: a transformer that removes noise from action chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from compression_gap.policies.base import Decoding, Sampled
from compression_gap.policies.schedule import Prediction, Schedule
from compression_gap.policies.trunk import Trunk, TrunkSpec, of_size
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Tokenizer
from compression_gap.training import LearningCost


@dataclass(frozen=True)
class Diffusion(TrunkSpec, kind="diffusion", version=2):
    """Diffusion Policy with a transformer (arXiv 2303.04137). The defaults are size M of the Compression Gap paper."""

    prediction: Prediction = "epsilon"
    """What the network predicts: the noise, or the clean chunk ("sample"), which trains in far fewer steps."""
    train_steps: int = 100
    """Steps of the noise schedule (squaredcos_cap_v2)."""
    inference_steps: int = 10
    """DDIM steps of a sample, spaced `leading`."""
    clip_sample: bool = True
    """Whether DDIM keeps the clean chunk within [-1, 1] at every step."""
    noise_draws: int = 1
    """Noise levels drawn for every chunk of a training batch: they share the work of the encoder and of the memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.inference_steps <= self.train_steps:  # a single one would visit the end of the noise alone
            raise ValueError(
                f"Diffusion.inference_steps: expected 2 to train_steps = {self.train_steps}, got {self.inference_steps}"
            )
        if self.noise_draws < 1:
            raise ValueError(f"Diffusion.noise_draws: expected at least 1, got {self.noise_draws}")

    @classmethod
    def sized(cls, size: Literal["S", "M", "L"]) -> Diffusion:
        """M and L of the paper, or S for one CPU core: gated, four actions a token, predicting the clean chunk."""
        return cls(prediction="sample" if size == "S" else "epsilon", **of_size(size))

    def cost(self, positions: int) -> LearningCost:
        return LearningCost.of_transformer(self.width, self.layers, self.noise_draws * positions)

    def build(
        self, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer | None
    ) -> DiffusionPolicy:
        self.check(shape, tokenizer)
        return DiffusionPolicy(self, shape, condition_width, condition_tokens)


class DiffusionPolicy(Trunk):
    """Predicts the noise, or the clean scaled chunk, at steps 0 .. train_steps - 1."""

    def __init__(self, spec: Diffusion, shape: ChunkShape, condition_width: int, condition_tokens: int) -> None:
        super().__init__(spec, shape, condition_width, condition_tokens, noisy=True)
        self.spec = spec
        self.schedule = Schedule(spec.train_steps)

    def loss(self, condition: Float[Tensor, "B C F"], targets: Float[Tensor, "B T D"]) -> Loss:
        """Mean squared error of the prediction at random noise levels (arXiv 2006.11239, equation 14)."""
        draws = self.spec.noise_draws
        clean, read = self.scaling(targets).repeat(draws, 1, 1), self.memory.read(condition).repeat(draws, 1, 1)
        step = torch.randint(self.spec.train_steps, (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        predicted = self.predict(self.schedule.add_noise(clean, noise, step), step, read)
        error = functional.mse_loss(predicted, noise if self.spec.prediction == "epsilon" else clean)
        return Loss(error, {f"{self.spec.prediction}_mse": error.detach()})

    @torch.no_grad()
    def sample(
        self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator], decoding: Decoding
    ) -> Sampled:
        """Chunks by DDIM from noise of each row's generator; `decoding` makes no difference here."""
        read = self.memory.read(condition)
        scaled = self.schedule.ddim(
            lambda noisy, step: self.predict(noisy, step, read),
            self.noise(generators, condition),
            self.spec.inference_steps,
            self.spec.prediction,
            self.spec.clip_sample,
        )
        return self.sampled(scaled)
