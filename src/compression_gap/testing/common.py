"""What the checks of several families share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compression_gap.config import Spec, from_json, to_json
from compression_gap.shapes import ChunkShape, Loss

Part = TypeVar("Part", bound=nn.Module)
TOLERANCE = 1e-4  # batches of other sizes round differently in the last bits


def check_spec(spec: Spec) -> None:
    """A spec is hashable, survives JSON and is found under its kind."""
    assert hash(spec) == hash(spec.replace()), "a spec is a frozen dataclass of hashable fields (tuples, not lists)"
    assert from_json(to_json(spec)) == spec, "a spec written as JSON reads back as the same spec"


def seeded(build: Callable[[], Part], seed: int = 0) -> Part:
    """A part whose weights follow from the seed."""
    torch.manual_seed(seed)
    return build()


def check_weights_follow_the_seed(build: Callable[[], nn.Module]) -> None:
    """Building draws from torch's global generator and from nothing else."""
    one, two = seeded(build).state_dict(), seeded(build).state_dict()
    assert one.keys() == two.keys(), "building twice gives the same state dict entries"
    different = [name for name in one if not same(one[name], two[name])]
    assert not different, f"weights come from torch's global generator alone; these differ under one seed: {different}"


def check_loss(loss: Loss, module: nn.Module) -> None:
    """A loss is a finite number with gradients and detached parts."""
    assert loss.total.numel() == 1, f"a loss is one number, got {loss.total}"
    assert loss.total.isfinite(), f"a loss is finite, got {loss.total}"
    attached = [name for name, part in loss.parts.items() if part.requires_grad]
    assert not attached, f"a loss's parts are detached; these are not: {attached}"
    module.zero_grad()
    loss.total.backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in module.parameters()), "the loss moves some weight"
    infinite = [n for n, p in module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert not infinite, f"gradients are finite; these are not: {infinite}"
    module.zero_grad()


def same(one: Tensor, two: Tensor) -> bool:
    """Equal to the last bit; NaN equals NaN."""
    return torch.equal(one.nan_to_num(), two.nan_to_num()) and torch.equal(one.isnan(), two.isnan())


def close(one: Tensor, two: Tensor) -> bool:
    """Equal up to rounding; NaN equals NaN."""
    return one.shape == two.shape and torch.allclose(one, two, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True)


def smooth_chunks(number: int, shape: ChunkShape) -> Float[Tensor, "N T D"]:
    """Random walks of different speeds and ranges, always the same."""
    generator = torch.Generator().manual_seed(number)
    steps = torch.randn(number, shape.horizon, shape.actions, generator=generator)
    speed = torch.rand(number, 1, shape.actions, generator=generator)
    return (steps * speed).cumsum(1) + torch.arange(shape.actions)
