"""A Gaussian channel about the true state: an encoder whose information is known in bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.suites.base import Legend


class ChannelEncoder(Encoder):
    """Shows state + sigma * state_scale * normal noise, in the suite's units.

    The noise belongs to the moment of observation: it follows from (episode, step, epoch) and the coordinate alone.
    """

    reads = ("state", "stamp")
    vectors = 1
    trained = False
    noisy = True
    noise: Tensor

    def __init__(self, legend: Legend, sigma: float) -> None:
        super().__init__()
        self.width, self.units = len(legend.state), legend.state_scale
        self.register_buffer("noise", sigma * torch.tensor(legend.state_scale), persistent=False)

    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N 1 S"]:
        state = frames["state"].float()
        return (state + self.noise * stamp_noise(frames["stamp"], self.width)).unsqueeze(1)


@dataclass(frozen=True)
class Channel(EncoderSpec, kind="channel"):
    """The true state through white Gaussian noise; sigma 0 equals `State`."""

    sigma: float = 5.0
    """Standard deviation of the noise of one look, in millimetres of pose error (see `Legend.state_scale`)."""

    def __post_init__(self) -> None:
        if not (self.sigma >= 0 and math.isfinite(self.sigma)):
            raise ValueError(f"Channel.sigma is a standard deviation in mm, at least 0 and finite; got {self.sigma}")

    @property
    def sees(self) -> bool:
        return False

    def build(self, legend: Legend) -> ChannelEncoder:
        return ChannelEncoder(legend, self.sigma)


def channel_bits(
    state_variance: Float[Tensor, " S"], sigma: float, scale: Float[Tensor, " S"], history: int = 1
) -> Float[Tensor, ""]:
    """Mutual information in bits between a Gaussian state and `history` looks at it through the channel.

    `state_variance` is in squared units of the state, whose coordinates are independent and stand still between looks;
    `scale` is `Legend.state_scale`. The mean of H looks is a sufficient statistic with noise variance divided by H,
    so the parallel Gaussian channels add up to 1/2 sum_s log2(1 + H variance_s / (sigma scale_s)^2)
    (Cover & Thomas 2006, section 9.4). Infinite where a varying coordinate has no noise.
    """
    signal_to_noise = history * state_variance.double() / (sigma * scale.double()).square()
    known = torch.where(state_variance > 0, signal_to_noise, 0.0)
    return 0.5 * torch.log2(1 + known).sum()


def stamp_noise(stamp: Int[Tensor, "N 3"], width: int) -> Float[Tensor, "N width"]:
    """Standard normal numbers that depend on nothing but a row's (episode, step, epoch) and the column.

    Two chained hashes a number, turned into a normal one by Box and Muller (1958).
    """
    key = torch.zeros(len(stamp), 1, dtype=torch.int64, device=stamp.device)
    for part in stamp.long().unbind(1):
        key = _mix(key + part.unsqueeze(1))
    counter = torch.arange(2 * width, device=stamp.device)
    uniform = (_shift(_mix(key + _mix(counter)), 11) + 0.5) * 2.0**-53
    radius, angle = uniform[:, 0::2], uniform[:, 1::2]
    return (torch.sqrt(-2 * torch.log(radius)) * torch.cos(2 * math.pi * angle)).float()


def _mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """One step of splitmix64 (Steele, Lea and Flood 2014) on wrapping 64-bit integers."""
    x = x + (0x9E3779B97F4A7C15 - 2**64)
    x = (x ^ _shift(x, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ _shift(x, 27)) * (0x94D049BB133111EB - 2**64)
    return x ^ _shift(x, 31)


def _shift(x: Int[Tensor, "*shape"], places: int) -> Int[Tensor, "*shape"]:
    """Right shift that brings in zeros: torch's own repeats the sign."""
    return (x >> places) & ((1 << (64 - places)) - 1)
