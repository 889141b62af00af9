"""Encoders and the measure of their quality, on a table of one coloured square."""

import math

import numpy as np
import pytest
import torch

from compression_gap.encoders.blind import Blind
from compression_gap.encoders.channel import Channel
from compression_gap.encoders.convnet import ConvNet, shifted
from compression_gap.encoders.random_conv import RandomConv
from compression_gap.encoders.state import State
from compression_gap.encoders.supervised import Supervised
from compression_gap.measures.pose_error import pose_errors, task_error
from compression_gap.suites.base import Legend

SIZE = 24
SMALL = {"channels": (4, 8), "blocks": 1, "keypoints": 4, "pooled": 2, "width": 16}


@pytest.fixture
def legend() -> Legend:
    return Legend(
        cameras=("top", "side"),
        image_size=SIZE,
        proprioception=("x mm",),
        state=("square x mm", "square y mm", "square cos 2 yaw", "square sin 2 yaw"),
        state_scale=(1.0, 1.0, 0.05, 0.05),
        action=("x",),
        action_scale=(1.0,),
        action_low=(-1.0,),
        action_high=(1.0,),
        gripper=(),
        control_hz=20.0,
        max_steps=10,
        protocols=("test",),
        tolerances_mm=(),
    )


def table(num: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Frames of a square of 4 pixels, 5 mm a pixel, seen by two cameras from the same place."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, SIZE - 4, (num, 2))
    picture = np.full((num, SIZE, SIZE, 3), 200, np.uint8)
    for row, (x, y) in enumerate(corner):
        picture[row, y : y + 4, x : x + 4] = (180, 20, 20)
    state = np.concatenate([5.0 * corner, np.tile([1.0, 0.0], (num, 1))], axis=1)
    stamp = np.stack([np.arange(num), np.zeros(num), np.zeros(num)], axis=1)
    return {
        "top": torch.from_numpy(picture),
        "side": torch.from_numpy(picture.copy()),
        "state": torch.from_numpy(state).float(),
        "stamp": torch.from_numpy(stamp).long(),
    }


SPECS = [State(), Blind(), Channel(sigma=3.0), ConvNet(**SMALL), Supervised(steps=5, **SMALL), RandomConv(**SMALL)]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_frame_is_seen_as_promised_and_alone(spec, legend):
    torch.manual_seed(0)
    encoder = spec.build(legend).eval()
    frames = {name: values for name, values in table(6).items() if name in encoder.reads}
    features = encoder.encode(frames)
    assert features.shape == (6, encoder.vectors, encoder.width)
    assert features.dtype == torch.float32
    assert features.requires_grad == encoder.trained
    alone = encoder.encode({name: values[2:3] for name, values in frames.items()})
    torch.testing.assert_close(features[2:3], alone, rtol=1e-4, atol=1e-5)


def test_state_is_the_state_and_blind_sees_nothing(legend):
    frames = table(5)
    assert torch.equal(State().build(legend).encode(frames)[:, 0], frames["state"])
    assert not Blind().build(legend).encode(frames).any()


def test_every_weight_of_a_convnet_learns(legend):
    torch.manual_seed(0)
    encoder = ConvNet(**SMALL, shift=2).build(legend).train()
    encoder.encode(table(4)).square().sum().backward()
    still = [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_convnet_has_the_parameters_that_arithmetic_says(legend):
    encoder = ConvNet(channels=(16, 32), blocks=2, keypoints=32, pooled=4, width=128).build(legend)
    stem = 3 * 9 * 16 + 16 + 2 * 16 + 16 * 9 * 32 + 32 + 2 * 32
    blocks = 2 * 2 * (32 * 9 * 32 + 32 + 2 * 32)
    read = 32 * 32 + 32 + (32 * (2 + 32) + 32 * 16) * 128 + 128
    assert sum(weight.numel() for weight in encoder.parameters()) == 2 * (stem + blocks + read)


def test_the_spatial_softmax_follows_what_moves(legend):
    torch.manual_seed(0)
    trunk = ConvNet(channels=(4,), blocks=0, keypoints=1, pooled=1).trunk(legend)
    with torch.no_grad():
        for weight in trunk.parameters():
            weight.zero_()
        convolution, norm, _ = trunk.stem[0]
        convolution.weight[0, 0, 1, 1] = 1.0  # red is bright
        norm.weight.fill_(1.0)
        trunk.heat.weight[0, 0] = 1.0
    picture = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    picture[0, 4, 20, 0] = picture[1, 18, 2, 0] = 255
    expected = torch.tensor([[2, 10], [9, 1]]) / 11 * 2 - 1  # row and column on the halved map
    seen = trunk(picture)
    torch.testing.assert_close(seen[:, :2], expected)
    brightness = math.sqrt(12 * 12 - 1)  # of one bright place among 144, in standard deviations
    torch.testing.assert_close(seen[:, 2:6], torch.tensor([[brightness, 0, 0, 0]] * 2), rtol=0.01, atol=0)


@pytest.mark.parametrize("kind", [ConvNet, Supervised, RandomConv], ids=lambda kind: kind.kind)
def test_a_shrunk_picture_is_the_mean_of_its_areas(kind, legend):
    large, small = kind(**SMALL, image_size=12), kind(**SMALL)
    legend_of_small = Legend(**{**vars(legend), "image_size": 12})
    torch.manual_seed(0)
    encoder, expected = large.build(legend).eval(), small.build(legend_of_small).eval()
    expected.load_state_dict(encoder.state_dict())
    quarter = {name: values[:, ::2, ::2] for name, values in table(6).items() if name in encoder.reads}
    fourfold = {name: values.repeat_interleave(2, 1).repeat_interleave(2, 2) for name, values in quarter.items()}
    torch.testing.assert_close(encoder.encode(fourfold), expected.encode(quarter))
    noise = {name: torch.randint(0, 64, values.shape, dtype=torch.uint8) * 4 for name, values in fourfold.items()}
    areas = {name: values.unflatten(2, (12, 2)).unflatten(1, (12, 2)).float() for name, values in noise.items()}
    means = {name: values.mean(dim=(2, 4)) for name, values in areas.items()}
    rounded = {name: values.round().to(torch.uint8) for name, values in means.items()}
    torch.testing.assert_close(encoder.encode(noise), expected.encode(rounded), rtol=0.05, atol=0.05)
    with pytest.raises(
        ValueError, match=f"{kind.kind}.image_size: pictures of 24 pixels are shrunk, not enlarged to 48"
    ):
        kind(image_size=48).build(legend)


def test_random_convolutions_are_a_supervised_encoder_before_it_learns(legend):
    spec, frames = RandomConv(**SMALL), table(4)
    encoder, learner = spec.build(legend), Supervised(**SMALL).build(legend)
    learner.load_state_dict({**learner.state_dict(), **encoder.state_dict()})
    assert torch.equal(encoder.encode(frames), learner.encode(frames))


def test_random_convolutions_follow_from_their_settings(legend):
    spec = RandomConv(**SMALL)
    torch.manual_seed(0)
    one, drawn = spec.build(legend).state_dict(), torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3)), "building it leaves the global generator alone"
    torch.manual_seed(1)
    assert all(torch.equal(tensor, one[name]) for name, tensor in spec.build(legend).state_dict().items())
    other = spec.replace(pooled=3).build(legend).state_dict()
    assert not torch.equal(other["trunks.0.stem.0.0.weight"], one["trunks.0.stem.0.0.weight"])


def test_shifts_move_pictures_in_training_only(legend):
    encoder = ConvNet(**SMALL, shift=2).build(legend)
    frames = table(8)
    torch.manual_seed(1)
    first = encoder.train().encode(frames)
    again = encoder.encode(frames)
    torch.manual_seed(1)
    assert torch.equal(first, encoder.encode(frames))
    assert not torch.equal(first, again)
    assert torch.equal(encoder.eval().encode(frames), encoder.encode(frames))


def test_a_shift_is_a_crop_of_the_edge_padded_picture():
    torch.manual_seed(0)
    pictures = torch.randint(0, 256, (40, 7, 9, 3), dtype=torch.uint8)
    moved = shifted(pictures, 2)
    padded = np.pad(pictures.numpy(), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    offsets = set()
    for row in range(40):
        crops = {(y, x): padded[row, y : y + 7, x : x + 9] for y in range(5) for x in range(5)}
        found = [offset for offset, crop in crops.items() if np.array_equal(crop, moved[row].numpy())]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) > 12


def test_supervision_learns_to_see_and_freezes(legend):
    torch.manual_seed(0)
    spec = Supervised(steps=150, **SMALL)
    encoder = spec.build(legend).train()
    assert (spec.pretraining_steps, encoder.trained) == (150, False)
    frames = table(32)
    encoder.fit(frames["state"])
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=5e-3)
    before = encoder.loss(frames).total.item()
    for _ in range(spec.steps):
        optimiser.zero_grad()
        encoder.loss(frames).total.backward()
        optimiser.step()
    after = encoder.eval().loss(frames)
    assert after.total.item() < before / 20
    estimate = encoder.estimate_state(frames)
    in_mm = ((estimate - frames["state"]) / torch.tensor(legend.state_scale)).abs().mean()
    torch.testing.assert_close(after.parts["mean absolute error mm"], in_mm)
    assert pose_errors(estimate.numpy(), frames["state"].numpy(), legend)["square"].lateral_mm.mean() < 8
    weights = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert not encoder.train().encode(frames).requires_grad
    assert all(torch.equal(tensor, weights[name]) for name, tensor in encoder.state_dict().items())


def test_an_untrained_estimate_is_near_the_mean_of_the_training_states(legend):
    torch.manual_seed(0)
    encoder = Supervised(**SMALL).build(legend).eval()
    frames = table(64)
    encoder.fit(frames["state"])
    distance = (encoder.estimate_state(frames)[:, :2] - frames["state"][:, :2].mean(dim=0)).abs()
    assert (distance < 2 * frames["state"][:, :2].std(dim=0)).all()
    constant = encoder.estimate_state(frames)[:, 2:]
    torch.testing.assert_close(constant, frames["state"][:, 2:])


@pytest.mark.parametrize("spec", [ConvNet(**SMALL), Supervised(**SMALL)], ids=lambda spec: spec.kind)
def test_pictures_of_another_size_are_refused(spec, legend):
    frames = table(2)
    frames["top"] = frames["top"][:, 1:]
    with pytest.raises(ValueError, match=r"built for pictures \[N, 24, 24, 3\], got \[2, 23, 24, 3\]"):
        spec.build(legend).encode(frames)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 4.*\(16, 30\)"):
        ConvNet(channels=(16, 30))
    with pytest.raises(ValueError, match=r"random_conv\.image_size is at least 1"):
        RandomConv(image_size=0)
    with pytest.raises(ValueError, match=r"Channel.sigma.*-1"):
        Channel(sigma=-1.0)


def test_encoders_that_are_not_pretrained_say_so(legend):
    with pytest.raises(NotImplementedError, match="StateEncoder is not pretrained"):
        State().build(legend).loss(table(1))


def test_pose_errors_are_distances_and_turns(legend):
    yaw = np.radians([80.0, 10.0, 0.0])
    truth = np.stack([np.zeros(3), np.zeros(3), np.cos(2 * yaw), np.sin(2 * yaw)], axis=1)
    seen = np.radians([-85.0, 25.0, 0.0])
    estimate = np.stack([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0], 0.5 * np.cos(2 * seen), 0.5 * np.sin(2 * seen)], axis=1)
    error = pose_errors(estimate, truth, legend)["square"]
    np.testing.assert_allclose(error.lateral_mm, [5, 0, 1])
    np.testing.assert_allclose(error.yaw_degrees, [15, 15, 0], atol=1e-6)


def test_the_task_chooses_whose_error_counts(legend):
    state = ("a x mm", "a y mm", "b x mm", "b y mm")
    two = Legend(**{**vars(legend), "state": state, "state_scale": (1.0,) * 4})
    estimate = np.array([[1.0, 0, 5, 0], [2.0, 0, 6, 0], [3.0, 0, 7, 0]])
    errors = pose_errors(estimate, np.zeros((3, 4)), two)
    chosen = task_error(errors, np.array([0, 1, 0]), objects=(("a",), ("b",)))
    np.testing.assert_allclose(chosen.lateral_mm, [1, 6, 3])
    assert np.isnan(chosen.yaw_degrees).all()
    nameless = Legend(**{**vars(legend), "state": ("joint 1",), "state_scale": (1.0,)})
    with pytest.raises(ValueError, match=r"'<object> x mm'.*joint 1"):
        pose_errors(estimate[:, :1], estimate[:, :1], nameless)
