"""The paper's four encoders: by its recipe, and alike but for their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from compression_gap.agent import AgentSpec
from compression_gap.config import to_json
from compression_gap.encoders.base import EncoderSpec
from compression_gap.encoders.paper import NAMES, literal, matched
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.encoders.resnet import ResNet18
from compression_gap.policies.diffusion import Diffusion
from compression_gap.training import Training, train
from pictures import LEGEND, frames, windows

TINY = {"SigLIP": tiny_models.siglip, "SigLIP 2": tiny_models.siglip2, "DINOv2": tiny_models.dinov2}
# how transformers' own processor is told to resize the whole picture to 224 pixels, bicubic
WHOLE: dict[str, dict[str, Any]] = {
    "SigLIP": {},
    "SigLIP 2": {"resample": 3},
    "DINOv2": {"size": {"height": 224, "width": 224}, "do_center_crop": False},
}


def tiny(name: str, spec: EncoderSpec, folder: Path) -> EncoderSpec:
    """The same encoder with a tiny model of the same class, which is trained on pictures of the same size."""
    if isinstance(spec, ResNet18):
        return spec.replace(channels=(16, 32), crop=24 if spec.crop else None)
    return spec.replace(model=TINY[name](folder, 224))


def test_the_literal_recipes_are_the_papers():
    assert literal("ResNet-18") == ResNet18(crop=76, channels=(64, 128, 256, 512), keypoints=32)
    assert literal("SigLIP") == Pretrained("google/siglip-so400m-patch14-224", "mean")
    assert literal("SigLIP 2") == Pretrained("google/siglip2-so400m-patch14-224", "mean", image_size=224)
    assert literal("DINOv2") == Pretrained("facebook/dinov2-large", "mean", image_size=224)
    assert [literal(name).trained for name in NAMES] == [True, False, False, False]
    # names under which results may be stored already
    assert [literal(name).digest for name in NAMES[:2]] == ["74fc4f4646c08cc2c72d", "806e8fa0375685a78206"]


@pytest.mark.parametrize("name", TINY)
def test_literal_features_are_those_of_the_models_own_processor_and_class(name: str, tmp_path: Path):
    import transformers

    spec, seen = tiny(name, literal(name), tmp_path), frames(2)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    model = transformers.AutoModel.from_pretrained(tmp_path, config=getattr(config, "vision_config", config)).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, use_fast=False)
    ours = spec.build(LEGEND).encode(seen)
    for number, camera in enumerate(LEGEND.cameras):
        with torch.no_grad():
            hidden = model(
                **processor(list(seen[camera].numpy()), return_tensors="pt", **WHOLE[name])
            ).last_hidden_state
        patches = hidden[:, -256:]
        torch.testing.assert_close(ours[:, number], patches.mean(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_version_of_every_literal_encoder_takes_two_steps(name: str, tmp_path: Path):
    torch.manual_seed(0)
    encoder = tiny(name, literal(name), tmp_path)
    spec = AgentSpec(encoder, Diffusion(width=16, layers=1, heads=2), None, horizon=4, history=2)
    agent, batch = spec.build(LEGEND, ["a task"]), windows(2, history=2, horizon=4)
    agent.policy.fit(batch.target)
    batch.target = agent.policy.targets(batch.target)
    before = {key: tensor.clone() for key, tensor in agent.state_dict().items()}
    training = Training(steps=2, batch=2, warmup=0)
    train(agent, lambda step: batch, [batch], training, seed=0, folder=tmp_path, report=lambda fraction, text: None)
    moved = {key for key, tensor in agent.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved == {key for key, weight in agent.named_parameters() if weight.requires_grad}
    assert any(key.startswith("encoder.") for key in moved) == (name == "ResNet-18")


@pytest.mark.parametrize("training", ["frozen", "trained"])
def test_matched_encoders_differ_in_nothing_but_their_weights(training: Any):
    settings = {"training": training, "pooling": "patches", "crop": 100, "image_size": 112}
    encoders = {name: matched(name, **settings) for name in NAMES}
    written = {name: to_json(spec) for name, spec in encoders.items()}
    for name in TINY:
        assert written[name] == {**written["SigLIP"], "model": literal(name).model}
    for spec in written.values():
        assert {**spec, **settings} == spec
    assert {spec.trained for spec in encoders.values()} == {training == "trained"}
    assert {(spec.crops, spec.stored) for spec in encoders.values()} == {(1, "float32")}


@pytest.mark.parametrize("name", NAMES)
def test_matched_encoders_are_frozen_and_give_one_vector_a_camera(name: str, tmp_path: Path):
    encoder = tiny(name, matched(name), tmp_path).build(LEGEND)
    assert (encoder.vectors, encoder.width, encoder.trained) == (len(LEGEND.cameras), 32, False)
    assert not encoder.train().encode(frames(1)).requires_grad


@pytest.mark.parametrize("preset", [literal, matched])
def test_an_unknown_name_is_answered_with_the_closest(preset: Any):
    with pytest.raises(ValueError, match=r"the paper has no encoder 'SigLIP2'; did you mean 'SigLIP 2'\?"):
        preset("SigLIP2")
