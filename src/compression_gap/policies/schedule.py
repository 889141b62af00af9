"""The noise schedule of diffusion policies, and DDIM sampling along it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Prediction = Literal["epsilon", "sample"]
Predict = Callable[[Float[Tensor, "B T D"], Int[Tensor, " B"]], Float[Tensor, "B T D"]]


class Schedule(nn.Module):
    """The squared-cosine schedule (Nichol & Dhariwal 2021, arXiv 2102.09672, equation 17; `squaredcos_cap_v2`).

    A noisy chunk at step t is signal[t] * clean + spread[t] * noise, with signal^2 + spread^2 = 1.
    """

    signal: Tensor
    spread: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        angle = (np.arange(steps + 1) / steps + 0.008) / 1.008 * math.pi / 2
        beta = np.minimum(1 - np.cos(angle[1:]) ** 2 / np.cos(angle[:-1]) ** 2, 0.999)
        kept = np.cumprod(1 - beta)  # share of the clean chunk's variance
        for name, values in {"signal": np.sqrt(kept), "spread": np.sqrt(1 - kept)}.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def log_snr(self, step: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Natural logarithm of the signal-to-noise ratio of the given steps."""
        return 2 * (self.signal[step].log() - self.spread[step].log())

    def add_noise(
        self, clean: Float[Tensor, "B T D"], noise: Float[Tensor, "B T D"], step: Int[Tensor, " B"]
    ) -> Float[Tensor, "B T D"]:
        """The noisy chunks of the given steps."""
        return self.signal[step, None, None] * clean + self.spread[step, None, None] * noise

    def visited(self, count: int) -> list[int]:
        """The `count` training steps that DDIM visits, noisiest first, with the spacing `leading`: ..., 2k, k, 0."""
        return [i * (self.steps // count) for i in reversed(range(count))]

    def ddim(
        self, predict: Predict, noise: Float[Tensor, "B T D"], count: int, prediction: Prediction, clip: bool
    ) -> Float[Tensor, "B T D"]:
        """Clean chunks from pure noise in `count` deterministic steps (Song et al. 2021, arXiv 2010.02502, equation 12
        with sigma = 0). `clip` keeps every intermediate clean chunk within [-1, 1]."""
        noisy = noise
        steps = self.visited(count)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            predicted = predict(noisy, torch.full((len(noisy),), step, device=noisy.device))
            signal, spread = self.signal[step], self.spread[step]
            if prediction == "epsilon":
                clean, direction = (noisy - spread * predicted) / signal, predicted
            else:
                clean, direction = predicted, (noisy - signal * predicted) / spread
            if clip:
                clean = clean.clamp(-1, 1)
            if following is None:
                return clean
            noisy = self.signal[following] * clean + self.spread[following] * direction
        raise AssertionError("DDIM visits at least one step")
