"""The paper's two encoders: ResNet-18 from random weights and a frozen SigLIP."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_models
from compression_gap.encoders.crop import cropped
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.encoders.resnet import ResNet18, SpatialSoftmax, residual_net
from compression_gap.suites.base import Legend
from compression_gap.suites.tabletop.suite import Tabletop

SMALL = {"crop": 24, "channels": (16, 32), "keypoints": 4}


@pytest.fixture
def legend() -> Legend:
    return Tabletop(image_size=32).build().legend


def frames(legend: Legend, num: int = 3) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    size = (num, legend.image_size, legend.image_size, 3)
    return {name: torch.from_numpy(rng.integers(256, size=size, dtype=np.uint8)) for name in legend.cameras}


def test_resnet_has_the_parameters_of_resnet_18():
    with torch.device("meta"):
        net = residual_net(ResNet18().channels)
    assert sum(p.numel() for p in net.parameters()) == 11_176_512
    assert sum(isinstance(module, torch.nn.Conv2d) for module in net.modules()) == 17 + 3


def test_resnet_halves_the_picture_five_times():
    maps = residual_net((16, 16, 16, 32))(torch.zeros(2, 3, 76, 76))
    assert maps.shape == (2, 32, 3, 3)


def test_keypoints_are_where_the_heat_is():
    head = SpatialSoftmax(2, 2)
    with torch.no_grad():
        head.heat.weight.copy_(100 * torch.eye(2)[..., None, None])
    maps = torch.zeros(1, 2, 3, 5)
    maps[0, 0, 0, 4] = maps[0, 1, 1, 1] = 1
    torch.testing.assert_close(head(maps), torch.tensor([[[-1, 1, 0, -0.5]]]))


def test_crops_are_random_in_training_and_central_otherwise(legend):
    pictures = frames(legend, 64)["top"]
    assert torch.equal(cropped(pictures, 24, anywhere=False), pictures[:, 4:28, 4:28])
    torch.manual_seed(0)
    crops = cropped(pictures, 24, anywhere=True)
    places = set()
    for crop, picture in zip(crops, pictures, strict=True):
        windows = picture.unfold(0, 24, 1).unfold(1, 24, 1).permute(0, 1, 3, 4, 2)  # [9, 9, 24, 24, 3]
        (place,) = (windows == crop).flatten(2).all(2).nonzero().tolist()
        places.add(tuple(place))
    assert len(places) > 32
    assert {0, 8} <= {row for row, _ in places} & {column for _, column in places}


def test_resnet_learns_everywhere_and_fits_a_small_batch(legend):
    torch.manual_seed(0)
    encoder, seen = ResNet18(**SMALL).build(legend).train(), frames(legend, 8)
    target = torch.rand(8, encoder.vectors, encoder.width) - 0.5
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    encoder.eval()  # one crop, so that there is one thing to fit
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (encoder.encode(seen) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_impossible_resnets_are_refused(legend):
    with pytest.raises(ValueError, match=r"crop: 76 pixels do not fit into pictures of 32"):
        ResNet18().build(legend)
    with pytest.raises(ValueError, match=r"multiples of 16.*\(24,\)"):
        ResNet18(channels=(24,))
    wrong = {name: pictures[:, 1:] for name, pictures in frames(legend).items()}
    with pytest.raises(ValueError, match=r"built for pictures \[N, 32, 32, 3\], got \[3, 31, 32, 3\]"):
        ResNet18(**SMALL).build(legend).encode(wrong)


def test_siglip_sees_what_transformers_makes_of_it(legend, tmp_path):
    from transformers import SiglipModel

    folder, seen = tiny_models.siglip(tmp_path), frames(legend)
    encoder = Pretrained(model=folder).build(legend)
    assert (encoder.vectors, encoder.width) == (2, 32)
    vision = SiglipModel.from_pretrained(folder).vision_model.eval()
    for number, camera in enumerate(encoder.reads):
        resized = [Image.fromarray(one).resize((28, 28), Image.Resampling.BICUBIC) for one in seen[camera].numpy()]
        pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255 * 2 - 1
        with torch.no_grad():
            expected = vision(pixel_values=pixels).last_hidden_state.mean(1)
        torch.testing.assert_close(encoder.encode(seen)[:, number], expected, atol=1e-5, rtol=0)


def test_dinov2_pools_patches_or_gives_its_class_token(legend, tmp_path):
    from transformers import BitImageProcessor, Dinov2Model

    folder, seen = tiny_models.dinov2(tmp_path), frames(legend)
    pixels = BitImageProcessor.from_pretrained(folder)(images=list(seen["top"].numpy()), return_tensors="pt")
    with torch.no_grad():
        tokens = Dinov2Model.from_pretrained(folder)(**pixels).last_hidden_state
    mean, of_class = (Pretrained(folder, pooling=pooling).build(legend).encode(seen) for pooling in ("mean", "class"))
    torch.testing.assert_close(mean[:, 0], tokens[:, 1:].mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(of_class[:, 0], tokens[:, 0], atol=1e-5, rtol=0)


def test_a_pretrained_model_stays_out_of_what_agents_save(legend, tmp_path):
    encoder = Pretrained(tiny_models.siglip(tmp_path)).build(legend)
    assert not encoder.state_dict()
    with pytest.raises(ValueError, match="has no class token; choose pooling 'mean'"):
        Pretrained(str(tmp_path), pooling="class").build(legend).encode(frames(legend))


def test_without_weights_the_message_says_what_to_fetch_and_where_to_put_it(legend, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    name = "google/siglip-so400m-patch14-224"
    with pytest.raises(FileNotFoundError) as caught:
        Pretrained().build(legend)
    for part in (
        f"hf download {name} config.json preprocessor_config.json model.safetensors",
        "cache",
        "Pretrained.model",
    ):
        assert part in str(caught.value)


def test_without_transformers_the_message_names_the_extra(legend, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'compression-gap\[vision\]'"):
        Pretrained().build(legend)
