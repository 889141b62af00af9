"""What an encoder costs on this machine, measured while one waits: for people to look at, never a result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression_gap.agent import AgentSpec
from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.policies.diffusion import Diffusion
from compression_gap.shapes import Batch
from compression_gap.suites.base import Suite

PICTURES, WINDOWS = 32, 64


@dataclass(frozen=True)
class EncoderCosts:
    """Of one encoder, here and now."""

    parameters: int
    pictures_per_second: float | None
    """None for encoders that look at none."""
    training_step_seconds: float
    """Of a small Diffusion that is trained on its features, 64 windows of one frame."""


def encoder_costs(spec: EncoderSpec, encoder: Encoder, suite: Suite, horizon: int) -> EncoderCosts:
    """Looks at noise, and trains for a few steps on it."""
    speed = None
    if spec.sees:
        size = (PICTURES, suite.legend.image_size, suite.legend.image_size, 3)
        pictures = {camera: torch.randint(256, size, dtype=torch.uint8) for camera in suite.legend.cameras}
        speed = PICTURES * len(pictures) / _fastest(lambda: encoder.encode(pictures), 2)
    return EncoderCosts(_parameters(encoder), speed, _step(spec, encoder, suite, horizon))


def _parameters(encoder: Encoder) -> int:
    """Those too of models that an encoder keeps out of its state dict, in tuples."""
    kept = [item for value in vars(encoder).values() if isinstance(value, tuple) for item in value]
    modules = [encoder, *(item for item in kept if isinstance(item, nn.Module))]
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _step(spec: EncoderSpec, encoder: Encoder, suite: Suite, horizon: int) -> float:
    legend = suite.legend
    agent = AgentSpec(spec, Diffusion.sized("S"), None, horizon, history=1).build(legend, suite.tasks)
    chunk = torch.randn(WINDOWS, horizon, len(legend.action))
    agent.policy.fit(chunk)
    seen: dict[str, Tensor] = {
        "features": torch.randn(WINDOWS, 1, encoder.vectors, encoder.width),
        "proprioception": torch.randn(WINDOWS, 1, len(legend.proprioception)),
    }
    batch = Batch(seen, torch.zeros(WINDOWS, dtype=torch.int64), agent.policy.targets(chunk))
    optimiser = torch.optim.AdamW(agent.policy.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        agent.loss(batch).total.backward()
        optimiser.step()

    return _fastest(step, 3)


def _fastest(run: Callable[[], object], times: int) -> float:
    """Seconds of the fastest call, after one that warms up."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
