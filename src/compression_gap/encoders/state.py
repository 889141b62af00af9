"""The oracle: the simulator's privileged state, undistorted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.suites.base import Legend


class StateEncoder(Encoder):
    """Shows the privileged state as one vector, in the suite's units: what a perfect encoder would know."""

    reads = ("state",)
    vectors = 1
    trained = False

    def __init__(self, legend: Legend) -> None:
        super().__init__()
        self.width, self.units = len(legend.state), legend.state_scale

    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N 1 S"]:
        return frames["state"].float().unsqueeze(1)


@dataclass(frozen=True)
class State(EncoderSpec, kind="state"):
    """The true state, for the upper end of every ladder."""

    @property
    def sees(self) -> bool:
        return False

    def build(self, legend: Legend) -> StateEncoder:
        return StateEncoder(legend)
