"""A convolutional network that first learns to see the privileged state, and is then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from compression_gap.encoders.convnet import ConvolutionalSpec, FusedTrunks
from compression_gap.shapes import Loss
from compression_gap.suites.base import Legend

BEND = 3.0
"""Where the loss turns from squared to absolute, so that what is hidden does not drown what can be seen."""


@dataclass(frozen=True)
class Supervised(ConvolutionalSpec, kind="supervised"):
    """A network pretrained on frames of other episodes; its budget decides how well it sees."""

    blocks: int = 0
    """Residual blocks at the final resolution. Within a minute on one core, more steps do better than a block."""
    steps: int = 1200
    """Optimiser steps of pretraining."""

    @property
    def pretraining_steps(self) -> int:
        return self.steps

    def build(self, legend: Legend) -> SupervisedEncoder:
        return SupervisedEncoder(legend, self)


class SupervisedEncoder(FusedTrunks):
    """Fused trunks from whose vector the state is read linearly.

    Before training, `fit` takes the state's scale; `loss` is minimised with gradients, `encode` never makes any.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, legend: Legend, spec: Supervised) -> None:
        super().__init__(legend, spec)
        size = len(legend.state)
        self.head = nn.Linear(spec.width, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.register_buffer("scale", torch.tensor(legend.state_scale), persistent=False)

    def fit(self, state: Float[Tensor, "N S"]) -> None:
        """Takes mean and standard deviation of training states, in the suite's units; called once, before training."""
        self.mean.copy_(state.mean(dim=0))
        self.std.copy_(state.std(dim=0))

    def loss(self, frames: Mapping[str, Tensor]) -> Loss:
        """Huber's loss of the estimated state; `frames` holds all cameras and "state" [N, S].

        The unit of each value is the geometric mean of its millimetre (`Legend.state_scale`) and its standard
        deviation: in millimetres, yaws, which span few, are learned last; in standard deviations, places stay blurred.
        """
        error = self._estimate(self._features(frames)) - frames["state"]
        unit = (self.scale * self.std.maximum(self.scale)).sqrt()
        total = functional.smooth_l1_loss(error / unit, torch.zeros_like(error), beta=BEND)
        return Loss(total, {"mean absolute error mm": (error.detach() / self.scale).abs().mean()})

    @torch.no_grad()
    def estimate_state(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N S"]:
        return self._estimate(self._features(frames))

    def _estimate(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N S"]:
        return self.mean + self.std * self.head(features)
