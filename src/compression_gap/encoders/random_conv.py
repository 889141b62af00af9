"""A convolutional network that never learns anything: what the shape of a network is worth without training."""

from __future__ import annotations

from dataclasses import dataclass

from compression_gap.encoders.base import weights_of
from compression_gap.encoders.convnet import ConvolutionalSpec, FusedTrunks
from compression_gap.suites.base import Legend


@dataclass(frozen=True)
class RandomConv(ConvolutionalSpec, kind="random_conv", version=1):
    """The control arm of `Supervised`: the same network with random weights, frozen. Its weights follow from these
    settings, so that all seeds of a grid see alike."""

    blocks: int = 0
    """Residual blocks at the final resolution, as `Supervised` has."""

    def build(self, legend: Legend) -> FusedTrunks:
        with weights_of(self):
            return FusedTrunks(legend, self)
