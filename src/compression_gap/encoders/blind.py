"""No picture at all: what proprioception and the task's name are worth alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.suites.base import Legend


class BlindEncoder(Encoder):
    """Shows one zero a frame. It reads the stamps only to know how many frames there are."""

    reads = ("stamp",)
    vectors = 1
    width = 1
    trained = False

    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N 1 1"]:
        stamp = frames["stamp"]
        return torch.zeros(len(stamp), 1, 1, device=stamp.device)


@dataclass(frozen=True)
class Blind(EncoderSpec, kind="blind"):
    """The control arm: a policy that beats it has used its eyes."""

    @property
    def sees(self) -> bool:
        return False

    def build(self, legend: Legend) -> BlindEncoder:
        return BlindEncoder()
