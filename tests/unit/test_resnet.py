"""ResNet-18 from random weights: its size, what it is shown, and what is read from it."""

import pytest
import torch

from compression_gap.encoders.crop import cropped
from compression_gap.encoders.resnet import ResNet18, SpatialSoftmax, residual_net
from compression_gap.encoders.vision import resized
from pictures import LEGEND, frames

SMALL = {"crop": 24, "channels": (16, 32), "keypoints": 4}


def test_it_has_the_parameters_of_resnet_18_for_each_camera_or_for_all():
    legend = LEGEND.__class__(**{**vars(LEGEND), "image_size": 128})
    with torch.device("meta"):
        each, shared = (ResNet18(shared=shared).build(legend) for shared in (False, True))
    for encoder, nets in ((each, 2), (shared, 1)):
        assert sum(p.numel() for p in encoder.nets.parameters()) == nets * 11_176_512
        assert sum(isinstance(module, torch.nn.Conv2d) for module in encoder.nets.modules()) == nets * (17 + 3)
        assert sum(p.numel() for p in encoder.heads.parameters()) == 2 * 512 * 32


def test_it_is_the_resnet_of_transformers_but_for_the_norm():
    from transformers import ResNetConfig, ResNetModel

    channels = (16, 32, 32)
    config = ResNetConfig(embedding_size=16, hidden_sizes=[*channels], depths=[2, 2, 2], layer_type="basic")
    theirs, (stem, *blocks) = ResNetModel(config), residual_net(channels)
    for module in list(theirs.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                setattr(module, name, torch.nn.GroupNorm(child.num_features // 16, child.num_features))
    layers = [layer for stage in theirs.encoder.stages for layer in stage.layers]
    pairs = [(theirs.embedder, stem)]
    for layer, block in zip(layers, blocks, strict=True):
        pairs += [(layer.layer, block.change), (layer.shortcut, block.shortcut)]
    for their, our in pairs:
        for one, two in zip(their.parameters(), our.parameters(), strict=True):
            one.data.copy_(two.data)
    pixels = torch.randn(2, 3, 76, 76, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = theirs(pixels).last_hidden_state
        torch.testing.assert_close(torch.nn.Sequential(stem, *blocks)(pixels), maps)
    assert maps.shape == (2, 32, 5, 5)


def test_it_halves_the_picture_five_times():
    maps = residual_net((16, 16, 16, 32))(torch.zeros(2, 3, 76, 76))
    assert maps.shape == (2, 32, 3, 3)


def test_keypoints_are_where_the_heat_is():
    head = SpatialSoftmax(2, 2)
    with torch.no_grad():
        head.heat.weight.copy_(100 * torch.eye(2)[..., None, None])
    maps = torch.zeros(1, 2, 3, 5)
    maps[0, 0, 0, 4] = maps[0, 1, 1, 1] = 1
    torch.testing.assert_close(head(maps), torch.tensor([[[-1, 1, 0, -0.5]]]))


def test_crops_are_random_in_training_and_central_otherwise():
    pictures = frames(64)["top"]
    encoder = ResNet18(**SMALL).build(LEGEND)
    central = pictures[:, 4:28, 4:28]
    assert torch.equal(cropped(pictures, 24, anywhere=False), central)
    assert torch.equal(encoder.eval().shown(pictures), central.permute(0, 3, 1, 2) / 127.5 - 1)
    frozen = ResNet18(**SMALL, training="frozen").build(LEGEND)
    assert torch.equal(frozen.train().shown(pictures), encoder.shown(pictures))
    torch.manual_seed(0)
    crops = cropped(pictures, 24, anywhere=True)
    torch.manual_seed(0)
    assert torch.equal(encoder.train().shown(pictures), crops.permute(0, 3, 1, 2) / 127.5 - 1)
    places = set()
    for crop, picture in zip(crops, pictures, strict=True):
        inside = picture.unfold(0, 24, 1).unfold(1, 24, 1).permute(0, 1, 3, 4, 2)  # [9, 9, 24, 24, 3]
        (place,) = (inside == crop).flatten(2).all(2).nonzero().tolist()
        places.add(tuple(place))
    assert len(places) > 32
    assert {0, 8} <= {row for row, _ in places} & {column for _, column in places}


def test_a_resized_crop_is_what_pretrained_models_are_shown_up_to_rounding():
    pictures = 64 + frames()["top"] // 2  # so that overshooting is not cut off on the way
    shown = ResNet18(**SMALL | {"image_size": 40}, training="frozen").build(LEGEND).shown(pictures)
    theirs = torch.stack([torch.tensor(resized(one.numpy(), 40)) for one in pictures[:, 4:28, 4:28]])
    error = (shown - (theirs.permute(0, 3, 1, 2) / 127.5 - 1)).abs().max()
    assert error < 2 / 127.5


def test_the_mean_and_the_patches_are_of_the_same_maps():
    seen, spec = frames(), ResNet18(**SMALL, training="frozen", image_size=40)
    mean, patches = (spec.replace(pooling=pooling).build(LEGEND) for pooling in ("mean", "patches"))
    mean.nets.load_state_dict(patches.nets.state_dict())
    assert (mean.vectors, mean.width, patches.vectors, patches.width) == (2, 32, 2 * 5 * 5, 32)
    each = patches.encode(seen).unflatten(1, (2, 25))
    torch.testing.assert_close(mean.encode(seen), each.mean(dim=2))
    with torch.no_grad():
        maps = patches.nets[1](patches.shown(seen["wrist"]))
    torch.testing.assert_close(each[:, 1, 7], maps[:, :, 1, 2])


def test_cameras_that_share_a_net_are_seen_alike_up_to_their_keypoints():
    spec, one = ResNet18(**SMALL, pooling="mean"), frames()["top"]
    for shared in (True, False):
        top, wrist = spec.replace(shared=shared).build(LEGEND).eval().encode({"top": one, "wrist": one}).unbind(1)
        assert torch.equal(top, wrist) == shared
    keypoints = ResNet18(**SMALL, shared=True).build(LEGEND).eval().encode({"top": one, "wrist": one})
    assert not torch.equal(keypoints[:, 0], keypoints[:, 1])


@pytest.mark.parametrize("shared", [False, True])
def test_it_learns_everywhere_and_fits_a_small_batch(shared: bool):
    torch.manual_seed(0)
    encoder, seen = ResNet18(**SMALL, shared=shared).build(LEGEND).train(), frames(8)
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


def test_random_weights_that_never_learn_follow_from_the_settings():
    spec, seen = ResNet18(**SMALL, training="frozen"), frames()
    torch.manual_seed(0)
    one = spec.build(LEGEND).encode(seen)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3)), "building it leaves the global generator alone"
    assert torch.equal(spec.build(LEGEND).encode(seen), one)
    assert not one.requires_grad
    assert not torch.equal(
        spec.replace(keypoints=5).build(LEGEND).nets[0][0][0].weight, spec.build(LEGEND).nets[0][0][0].weight
    )


def test_impossible_resnets_are_refused():
    with pytest.raises(ValueError, match=r"crop: 76 pixels do not fit into pictures of 32"):
        ResNet18().build(LEGEND)
    with pytest.raises(ValueError, match=r"multiples of 16.*\(24,\)"):
        ResNet18(channels=(24,))
    with pytest.raises(ValueError, match=r"image_size is at least 1"):
        ResNet18(image_size=0)
    encoder = ResNet18(**SMALL).build(LEGEND)
    wrong = {name: pictures[:, 1:] for name, pictures in frames().items()}
    with pytest.raises(ValueError, match=r"built for pictures \[N, 32, 32, 3\], got \[3, 31, 32, 3\]"):
        encoder.encode(wrong)
    with pytest.raises(ValueError, match=r"got \[3, 3, 32, 32\]: the channels stand last"):
        encoder.encode({name: pictures.permute(0, 3, 1, 2) for name, pictures in frames().items()})
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 255 \(uint8\), got torch.float32"):
        encoder.encode({name: pictures / 255 for name, pictures in frames().items()})
    with pytest.raises(ValueError, match="one crop, the central one, number 0; got crop 1"):
        encoder.look(frames(), 1)
