"""Flow matching: a transformer that carries noise to action chunks along straight lines, in a few Euler steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from compression_gap.policies.base import Decoding, Sampled
from compression_gap.policies.trunk import Trunk, TrunkSpec, of_size
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Tokenizer
from compression_gap.training import LearningCost

LEVELS = 1000  # what time 0 .. 1 is to the sinusoids, whose wavelengths suit steps of a noise schedule


@dataclass(frozen=True)
class Flow(TrunkSpec, kind="flow", version=2):
    """Flow matching along straight lines (arXiv 2210.02747, 2209.03003), with Diffusion's transformer."""

    inference_steps: int = 10
    """Euler steps of a sample."""
    noise_draws: int = 1
    """Noise levels drawn for every chunk of a training batch: they share the work of the encoder and of the memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inference_steps < 1:
            raise ValueError(f"Flow.inference_steps: expected at least 1, got {self.inference_steps}")
        if self.noise_draws < 1:
            raise ValueError(f"Flow.noise_draws: expected at least 1, got {self.noise_draws}")

    @classmethod
    def sized(cls, size: Literal["S", "M", "L"]) -> Flow:
        """M and L of the paper, or S for one CPU core: gated, four actions a token."""
        return cls(**of_size(size))

    def cost(self, positions: int) -> LearningCost:
        return LearningCost.of_transformer(self.width, self.layers, self.noise_draws * positions)

    def build(
        self, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer | None
    ) -> FlowPolicy:
        self.check(shape, tokenizer)
        return FlowPolicy(self, shape, condition_width, condition_tokens)


class FlowPolicy(Trunk):
    """Predicts the clean scaled chunk from (1 - t) * noise + t * clean, at times t from 0 to 1.

    The clean chunk tells the velocity, (clean - noisy) / (1 - t), and learning it takes far fewer steps than learning
    the velocity itself, most of which is noise.
    """

    def __init__(self, spec: Flow, shape: ChunkShape, condition_width: int, condition_tokens: int) -> None:
        super().__init__(spec, shape, condition_width, condition_tokens, noisy=True)
        self.spec = spec

    def loss(self, condition: Float[Tensor, "B C F"], targets: Float[Tensor, "B T D"]) -> Loss:
        """Mean squared error of the clean scaled chunk at random times, the noisy ones more often: 1 - t is drawn from
        Beta(1.5, 1), as in pi0 (arXiv 2410.24164, appendix B)."""
        draws = self.spec.noise_draws
        clean, read = self.scaling(targets).repeat(draws, 1, 1), self.memory.read(condition).repeat(draws, 1, 1)
        time = 1 - torch.rand(len(clean), device=clean.device) ** (1 / 1.5)
        noisy = torch.lerp(torch.randn_like(clean), clean, time[:, None, None])
        error = functional.mse_loss(self.predict(noisy, time * LEVELS, read), clean)
        return Loss(error, {"clean_mse": error.detach()})

    @torch.no_grad()
    def sample(
        self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator], decoding: Decoding
    ) -> Sampled:
        """Chunks by Euler's method from noise of each row's generator; `decoding` makes no difference here."""
        scaled, steps = self.noise(generators, condition), self.spec.inference_steps
        read = self.memory.read(condition)
        for step in range(steps):
            level = torch.full((len(scaled),), step / steps * LEVELS, device=scaled.device)
            clean = self.predict(scaled, level, read)
            scaled = torch.lerp(scaled, clean, 1 / (steps - step))  # the velocity's share of the time that is left
        return self.sampled(scaled)
