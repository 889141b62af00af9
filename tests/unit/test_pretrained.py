"""Models of the transformers library as encoders: what they see is what that library makes of the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from compression_gap.agent import Agent, AgentSpec
from compression_gap.encoders.crop import cropped
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.policies.diffusion import Diffusion
from compression_gap.testing import check_encoder
from compression_gap.training import Training, train
from pictures import LEGEND, frames, windows

# leading tokens that are no patches, and whether the first of them is a class token
TOKENS = {
    "siglip": (0, False),
    "siglip2": (0, False),
    "dinov2": (1, True),
    "registers": (5, True),
    "clip": (1, True),
    "vit": (1, True),
    "swin": (0, False),
    "resnet": (0, False),
    "convnext": (0, False),
}


def theirs(folder: str, pictures: torch.Tensor, **options: Any) -> Any:
    """What transformers' own processor and model make of pictures; `options` are the model's."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, config=getattr(config, "vision_config", config)).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    with torch.no_grad():
        return model(**processor(images=list(pictures.numpy()), return_tensors="pt"), **options)


def patches_of(hidden: torch.Tensor, name: str) -> torch.Tensor:
    return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden[:, TOKENS[name][0] :]


@pytest.mark.parametrize("name", TOKENS)
def test_it_sees_what_transformers_makes_of_a_picture(name: str, tmp_path: Path):
    folder, seen = getattr(tiny_models, name)(tmp_path), frames()
    for number, camera in enumerate(LEGEND.cameras):
        hidden = theirs(folder, seen[camera]).last_hidden_state
        patches = patches_of(hidden, name)
        expected = {"mean": patches.mean(1, keepdim=True), "patches": patches}
        if TOKENS[name][1]:
            expected["class"] = hidden[:, :1]
        for pooling, vectors in expected.items():
            encoder = Pretrained(folder, pooling=pooling).build(LEGEND)
            assert (encoder.vectors, encoder.width) == (2 * vectors.shape[1], vectors.shape[2])
            ours = encoder.encode(seen).unflatten(1, (2, -1))[:, number]
            torch.testing.assert_close(ours, vectors, atol=1e-5, rtol=0)
    if not TOKENS[name][1]:
        with pytest.raises(ValueError, match="has no class token; choose pooling 'mean' or 'patches'"):
            Pretrained(folder, pooling="class").build(LEGEND)


@pytest.mark.parametrize("name", ["siglip", "registers", "resnet"])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_hidden_layer_is_the_one_that_transformers_numbers_so(name: str, layer: int, tmp_path: Path):
    folder, seen = getattr(tiny_models, name)(tmp_path), frames()
    hidden = theirs(folder, seen["top"], output_hidden_states=True).hidden_states[layer]
    expected = patches_of(hidden, name).mean(1)
    ours = Pretrained(folder, layer=layer).build(LEGEND).encode(seen)
    torch.testing.assert_close(ours[:, 0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["siglip", "clip", "dinov2", "vit", "convnext"])
def test_another_size_replaces_the_models_own_resizing_and_cutting(name: str, tmp_path: Path):
    import transformers

    folder, seen = getattr(tiny_models, name)(tmp_path), frames()
    own = Pretrained(folder).build(LEGEND).encode(seen)
    ours = Pretrained(folder, image_size=56).build(LEGEND).encode(seen)
    assert (ours - own).abs().max() > 0.01
    siglip = tiny_models.processed(tmp_path / "as SigLIP", "SiglipImageProcessor", size=tiny_models.square(56))
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    shown = transformers.AutoImageProcessor.from_pretrained(siglip, use_fast=False)(
        images=list(seen["top"].numpy()),
        return_tensors="pt",
        image_mean=processor.image_mean,
        image_std=processor.image_std,
    )
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, config=getattr(config, "vision_config", config)).eval()
    options = {"interpolate_pos_encoding": True} if name in ("siglip", "clip", "vit") else {}
    with torch.no_grad():
        hidden = model(**shown, **options).last_hidden_state
    torch.testing.assert_close(ours[:, 0], patches_of(hidden, name).mean(1), atol=1e-5, rtol=0)


def test_stored_crops_lie_where_the_seed_says_and_the_first_in_the_centre(tmp_path: Path):
    folder, seen = tiny_models.siglip(tmp_path), frames()
    whole = Pretrained(folder).build(LEGEND.__class__(**{**vars(LEGEND), "image_size": 20}))
    encoder = Pretrained(folder, crop=20, crops=3).build(LEGEND)
    central = whole.encode({name: pictures[:, 6:26, 6:26] for name, pictures in seen.items()})
    assert torch.equal(encoder.encode(seen), central)
    assert torch.equal(encoder.look(seen, 0), central)
    torch.manual_seed(3)
    given = encoder.look(seen, 2)
    torch.manual_seed(3)
    expected = whole.encode({name: cropped(pictures, 20, anywhere=True) for name, pictures in seen.items()})
    assert torch.equal(given, expected)
    with pytest.raises(ValueError, match="there are the crops 0 to 2, got 3"):
        encoder.look(seen, 3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("siglip", {"training": "trained", "crop": 20}),
        ("resnet", {"training": "trained", "pooling": "patches"}),
        ("dinov2", {"crop": 20, "crops": 2, "stored": "bfloat16", "pooling": "class", "layer": 1}),
    ],
)
def test_the_contract_holds_with_other_settings(name: str, settings: dict[str, Any], tmp_path: Path):
    check_encoder(Pretrained(getattr(tiny_models, name)(tmp_path), **settings), LEGEND)


def test_a_model_that_is_trained_sees_random_crops_in_training_only(tmp_path: Path):
    encoder, seen = Pretrained(tiny_models.siglip(tmp_path), training="trained", crop=20).build(LEGEND), frames()
    torch.manual_seed(0)
    first = encoder.train().encode(seen)
    assert not torch.equal(encoder.encode(seen), first)
    torch.manual_seed(0)
    assert torch.equal(encoder.encode(seen), first)
    assert torch.equal(encoder.eval().encode(seen), encoder.encode(seen))


@pytest.mark.parametrize("name", ["siglip", "resnet"])
def test_a_model_that_is_trained_fits_a_small_batch(name: str, tmp_path: Path):
    torch.manual_seed(0)
    encoder, seen = Pretrained(getattr(tiny_models, name)(tmp_path), training="trained").build(LEGEND), frames(8)
    read = torch.nn.Linear(encoder.width, 4)
    target = torch.randn(8, 2, 4)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *read.parameters()], lr=1e-2)
    encoder.train()
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (read(encoder.encode(seen)) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def trained_for_two_steps(encoder: Pretrained, folder: Path) -> tuple[Agent, dict[str, torch.Tensor]]:
    """An agent after two optimiser steps, and all that its encoder's model held before."""
    torch.manual_seed(0)
    spec = AgentSpec(encoder, Diffusion(width=16, layers=1, heads=2), None, horizon=4, history=2)
    agent, batch = spec.build(LEGEND, ["a task"]), windows(4, history=2, horizon=4)
    agent.policy.fit(batch.target)
    batch.target = agent.policy.targets(batch.target)
    before = {name: tensor.clone() for name, tensor in agent.encoder._vision[0].state_dict().items()}
    training = Training(steps=2, batch=4, warmup=0, learning_rate=1e-2)
    train(agent, lambda step: batch, [batch], training, seed=0, folder=folder, report=lambda fraction, text: None)
    return agent, before


def test_a_frozen_model_stays_bit_identical_through_training_its_batch_norms_too(tmp_path: Path):
    agent, before = trained_for_two_steps(Pretrained(tiny_models.resnet(tmp_path / "model")), tmp_path)
    after = agent.encoder._vision[0].state_dict()
    assert sum("running_var" in name for name in before) == 6
    assert [name for name, tensor in after.items() if not torch.equal(tensor, before[name])] == []
    assert not agent.encoder.state_dict(), "agents do not save it again"


def test_a_trained_model_moves_except_for_the_statistics_of_its_batch_norms_and_is_saved(tmp_path: Path):
    spec = Pretrained(tiny_models.resnet(tmp_path / "model"), training="trained")
    agent, before = trained_for_two_steps(spec, tmp_path)
    after = agent.encoder._vision[0].state_dict()
    still = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    assert still == {name for name in before if "running_" in name or "num_batches" in name}
    agent.save(tmp_path)
    assert torch.equal(Agent.load(tmp_path).encoder.encode(frames()), agent.encoder.encode(frames()))


def test_other_settings_cost_what_they_must():
    default, patches = Pretrained().cost, Pretrained(pooling="patches", stored="bfloat16").cost
    assert patches.vector_mb == pytest.approx(128 * default.vector_mb, rel=0.01)
    assert Pretrained(image_size=112).cost.picture == default.picture / 4
    assert (default.weights_mb, Pretrained(training="trained").cost.weights_mb) == (0, 1700)
