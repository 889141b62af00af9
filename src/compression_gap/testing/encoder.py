"""The contract of an encoder as a check."""

from __future__ import annotations

import torch
from torch import Tensor

from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.suites.base import Legend
from compression_gap.testing.common import (
    check_loss,
    check_spec,
    check_weights_follow_the_seed,
    close,
    same,
    seeded,
)

FRAMES = 6


def check_encoder(spec: EncoderSpec, legend: Legend) -> None:
    """Raises AssertionError with the broken clause if the encoder does not keep the contract of `encoders.base`."""
    check_spec(spec)
    check_weights_follow_the_seed(lambda: spec.build(legend))
    encoder, frames = seeded(lambda: spec.build(legend)).eval(), _frames(legend)
    _check_description(spec, encoder, legend)
    features = _check_features(encoder, frames)
    _check_crops(spec, encoder, frames, features)
    if encoder.noisy:
        _check_noise(encoder, frames, features)
    if encoder.trained:
        encoder.train()
        encoder.encode(frames).square().sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in encoder.parameters()), (
            "a trained encoder gets gradients"
        )
        encoder.eval()
    else:
        _check_frozen(encoder, frames, features)
    fresh = seeded(lambda: spec.build(legend), seed=1).eval()
    fresh.load_state_dict(encoder.state_dict())
    assert same(fresh.encode(frames), features), "the state dict holds all that features depend on"
    if spec.pretraining_steps:
        _check_pretraining(encoder, frames, legend)


def _frames(legend: Legend) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (FRAMES, legend.image_size, legend.image_size, 3)
    frames = {name: torch.randint(256, size, generator=generator, dtype=torch.uint8) for name in legend.cameras}
    frames["state"] = torch.randn(FRAMES, len(legend.state), generator=generator)
    frames["proprioception"] = torch.randn(FRAMES, len(legend.proprioception), generator=generator)
    frames["stamp"] = torch.tensor([[episode, step, 0] for episode in range(2) for step in range(FRAMES // 2)])
    return frames


def _check_description(spec: EncoderSpec, encoder: Encoder, legend: Legend) -> None:
    known = {*legend.cameras, "state", "proprioception", "stamp"}
    assert encoder.reads, "an encoder reads at least one observation, if only to count the frames"
    assert set(encoder.reads) <= known, f"an encoder reads some of {sorted(known)}, got {encoder.reads}"
    cameras = set(encoder.reads) & set(legend.cameras)
    assert spec.sees == bool(cameras), f"a spec `sees` exactly if its encoder reads cameras, it reads {encoder.reads}"
    assert spec.trained == encoder.trained, "the spec knows whether the encoder is trained"
    assert not (encoder.trained and spec.pretraining_steps), (
        "an encoder is pretrained or trained with the policy, not both"
    )


def _check_features(encoder: Encoder, frames: dict[str, Tensor]) -> Tensor:
    needed = {name: frames[name] for name in encoder.reads}
    features = encoder.encode(needed).detach()
    shape = (FRAMES, encoder.vectors, encoder.width)
    assert features.shape == shape, f"features are [N, vectors, width] = {shape}, got {tuple(features.shape)}"
    assert features.is_floating_point(), f"features are floats, got {features.dtype}"
    assert features.isfinite().all(), "features are finite"
    assert same(encoder.encode(needed).detach(), features), "equal frames (and stamps), equal features"
    alone = encoder.encode({name: values[2:3] for name, values in needed.items()}).detach()
    assert close(alone, features[2:3]), "features of a frame do not depend on the other frames"
    return features


def _check_crops(spec: EncoderSpec, encoder: Encoder, frames: dict[str, Tensor], features: Tensor) -> None:
    assert spec.crops >= 1, f"a frame has at least the central crop, got {spec.crops}"
    assert spec.crops == 1 or not (encoder.trained or encoder.noisy), (
        "only encoders whose features are stored have several crops"
    )
    assert spec.stored in ("float32", "bfloat16"), f"features are stored as float32 or bfloat16, not {spec.stored!r}"
    assert same(encoder.look(frames, 0).detach(), features), "crop 0 is the central one and equals encode"
    for crop in range(1, spec.crops):
        torch.manual_seed(crop)
        one = encoder.look(frames, crop)
        torch.manual_seed(crop)
        assert same(one, encoder.look(frames, crop)), "places of crops come from torch's global generator alone"
        assert one.shape == features.shape, f"crop {crop} has the shape {tuple(features.shape)}, got {tuple(one.shape)}"
        assert not same(one, features), "crops 1, 2, ... lie elsewhere than the central one"
    try:
        encoder.look(frames, spec.crops)
    except ValueError:
        return
    raise AssertionError(f"a crop that does not exist is refused: number {spec.crops} of {spec.crops}")


def _check_noise(encoder: Encoder, frames: dict[str, Tensor], features: Tensor) -> None:
    assert "stamp" in encoder.reads, "a noisy encoder reads the stamp, its only source of noise"
    torch.manual_seed(5)
    assert same(encoder.encode(frames), features), "equal stamps, equal noise, whatever the global generator"
    for place, name in enumerate(("episode", "step", "epoch")):
        later = frames["stamp"].clone()
        later[:, place] += 100
        other = encoder.encode({**frames, "stamp": later})
        assert not (other == features).flatten(1).all(1).any(), f"another {name}, other noise"


def _check_frozen(encoder: Encoder, frames: dict[str, Tensor], features: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.train()
    seen = encoder.encode(frames)
    assert not seen.requires_grad, "a frozen encoder computes without gradients"
    head = torch.nn.Linear(encoder.width, 1)
    weights = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.SGD(weights, lr=1.0)
    head(seen).sum().backward()
    optimiser.step()
    encoder.eval()
    changed = [name for name, tensor in encoder.state_dict().items() if not same(tensor, before[name])]
    assert not changed, f"a frozen encoder stays bit-identical through training; these changed: {changed}"
    assert same(encoder.encode(frames), features), (
        "features of a frozen encoder are the same in training mode and after"
    )


def _check_pretraining(encoder: Encoder, frames: dict[str, Tensor], legend: Legend) -> None:
    encoder.fit(frames["state"])
    estimate = encoder.estimate_state(frames)
    shape = (FRAMES, len(legend.state))
    assert estimate.shape == shape, f"estimate_state gives [N, S] = {shape}, got {tuple(estimate.shape)}"
    encoder.train()
    check_loss(encoder.loss(frames), encoder)
    encoder.eval()
