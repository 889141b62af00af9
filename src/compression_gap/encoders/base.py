"""The contract of an encoder: one frame at a time, seen as K vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compression_gap.config import Spec
from compression_gap.seeds import seed_of
from compression_gap.shapes import Loss
from compression_gap.suites.base import Legend


class Encoder(nn.Module, ABC):
    """Turns the observations of N frames into K vectors a frame. It knows neither history nor proprioception nor task;
    those live in the agent."""

    reads: tuple[str, ...]
    """Names of the observations it needs: cameras (UInt8 [N, height, width, 3]), "state" [N, S] or "stamp" [N, 2]."""
    vectors: int
    """Vectors a frame (K)."""
    width: int
    """Length of a vector (F)."""
    trained: bool
    """Whether its weights move with the policy's. A frozen encoder stays bit-identical through training."""
    units: tuple[float, ...] | None = None
    """The smallest change of each value of a vector that matters, where that is known."""
    noisy: bool = False
    """Whether two looks at the same frame differ (known-bits channels). Features of frozen encoders that are not noisy
    are computed once and stored."""

    @abstractmethod
    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N K F"]:
        """Features of N frames. Frozen encoders compute without gradients. A noisy encoder draws its noise from
        frames["stamp"] [N, 3] = (episode, step, epoch) alone, so equal stamps mean equal noise."""

    def look(self, frames: Mapping[str, Tensor], crop: int) -> Float[Tensor, "N K F"]:
        """Features of N frames through one of a frozen encoder's crops (`EncoderSpec.crops`). Crop 0 is the central one
        and equals `encode`; crops 1, 2, ... lie at places drawn from torch's global generator, which the caller seeds.

        Raises ValueError if it has no such crop.
        """
        if crop != 0:
            raise ValueError(f"{type(self).__name__} has one crop, the central one, number 0; got crop {crop}")
        return self.encode(frames)

    def loss(self, frames: Mapping[str, Tensor]) -> Loss:
        """Loss of an encoder that is pretrained (`EncoderSpec.pretraining_steps` > 0); others have none."""
        raise NotImplementedError(f"{type(self).__name__} is not pretrained")

    def fit(self, state: Float[Tensor, "N S"]) -> None:
        """Takes the scale of the privileged state before pretraining; others have nothing to fit."""
        raise NotImplementedError(f"{type(self).__name__} is not pretrained")

    def estimate_state(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N S"]:
        """The privileged state as a pretrained encoder sees it, in the suite's units; others have none."""
        raise NotImplementedError(f"{type(self).__name__} does not estimate the state")


@dataclass(frozen=True)
class EncoderCost:
    """What using an encoder takes on one core of a laptop: estimates for planning, never for results."""

    picture: float = 4e-4
    """Seconds to look at one picture; learning from it takes three times as long."""
    memory_mb: float = 1500.0
    """Of a job that uses it, its data aside."""
    vector_mb: float = 0.0006
    """Megabytes of a stored vector."""
    weights_mb: float = 1.0
    """Megabytes of what an agent saves of it."""


@dataclass(frozen=True)
class EncoderSpec(Spec, family="encoders"):
    """Describes an encoder."""

    @property
    def sees(self) -> bool:
        """Whether it reads pictures, of all the suite's cameras."""
        return True

    @property
    def trained(self) -> bool:
        """Whether its weights move with the policy's."""
        return False

    @property
    def pretraining_steps(self) -> int:
        """Optimiser steps of its own training on frames of other episodes; 0 for encoders that need none."""
        return 0

    @property
    def crops(self) -> int:
        """Crops of a frame whose features are stored, the central one among them; 1 for encoders that do not crop."""
        return 1

    @property
    def stored(self) -> Literal["float32", "bfloat16"]:
        """How features of a frozen encoder are kept."""
        return "float32"

    @property
    def cost(self) -> EncoderCost:
        """What using it takes; told without building it."""
        return EncoderCost()

    def build(self, legend: Legend) -> Encoder:
        """An encoder for a suite's observations. Weights come from torch's global generator, which the caller seeds;
        those of an encoder that never learns follow from the spec alone (`weights_of`)."""
        raise NotImplementedError


@contextmanager
def weights_of(spec: EncoderSpec) -> Iterator[None]:
    """Weights that are drawn inside follow from the spec alone, and torch's global generator is left as it was.

    For encoders that never learn: their features and the agents that use these are made apart, under other seeds.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(spec.digest, "weights"))
        yield


def check_pictures(pictures: Tensor, image_size: int) -> None:
    """Raises ValueError if these are not the pictures that an encoder was built for."""
    expected = f"the encoder was built for pictures [N, {image_size}, {image_size}, 3]"
    if pictures.shape[1:] == (3, image_size, image_size):
        raise ValueError(f"{expected}, got {list(pictures.shape)}: the channels stand last")
    if pictures.shape[1:] != (image_size, image_size, 3):
        raise ValueError(
            f"{expected}, got {list(pictures.shape)}: use the suite and image size that it was trained with"
        )
    if pictures.dtype != torch.uint8:
        raise ValueError(f"{expected} of whole numbers from 0 to 255 (uint8), got {pictures.dtype}")
