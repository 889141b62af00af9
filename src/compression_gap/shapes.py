"""Shape letters and the small records that travel between parts.

B batch, H observation history, T actions a chunk, D action dimensions, L tokens a chunk, V vocabulary, F feature width,
K vectors a frame, C conditioning tokens, E environments side by side, N frames or windows, S state, P proprioception.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class ChunkShape:
    """Size of an action chunk."""

    horizon: int
    """Actions a chunk (T)."""
    actions: int
    """Values an action (D)."""


@dataclass
class Loss:
    """What a training step minimises, and what people look at beside it."""

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]
    """Named components in natural units, for the loss curves; detached."""


@dataclass
class Batch:
    """Windows of demonstrations: the last H frames, and what is to be predicted of the T actions after the newest."""

    observation: dict[str, Tensor]
    """By name, [B, H, ...]: what the agent sees. A frozen encoder's stored features are "features" [B, H, K, F]."""
    task: Int[Tensor, " B"]
    target: Tensor
    """What the policy's loss asks for (`Policy.targets`), [B, ...]: the chunk of T actions, or its code."""

    def to(self, device: torch.device | str) -> Batch:
        """The same windows on another device."""
        observation = {name: tensor.to(device) for name, tensor in self.observation.items()}
        return Batch(observation, self.task.to(device), self.target.to(device))
