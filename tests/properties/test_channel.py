"""The channel's noise is what its stamps say, and its bits are what the closed form says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from compression_gap.encoders.channel import channel_bits, stamp_noise

whole = some.integers(0, 2**62)


def stamps(episodes: int, steps: int, epochs: int = 1) -> torch.Tensor:
    """All combinations, [episodes * steps * epochs, 3]."""
    ranges = (torch.arange(episodes), torch.arange(steps), torch.arange(epochs))
    return torch.cartesian_prod(*ranges).reshape(-1, 3)


def test_noise_is_standard_normal():
    noise = stamp_noise(stamps(100, 100), 10).double().flatten()
    few = 5 / math.sqrt(len(noise))
    assert abs(noise.mean()) < few
    assert abs(noise.var() - 1) < few * math.sqrt(2)
    assert abs((noise**3).mean()) < few * math.sqrt(15)
    assert abs((noise**4).mean() - 3) < few * math.sqrt(96)
    inside = (noise.abs() < 0.6744897501960817).double().mean()
    assert abs(inside - 0.5) < few / 2


def test_noise_is_independent_between_coordinates_episodes_steps_and_epochs():
    noise = stamp_noise(stamps(40, 40, 40), 4).double().reshape(40, 40, 40, 4)
    few = 5 / math.sqrt(40**3)
    for axis in range(4):
        size = noise.shape[axis]
        for lag in (1, 2):
            a, b = noise.narrow(axis, 0, size - lag), noise.narrow(axis, lag, size - lag)
            assert abs((a * b).mean()) < few, (axis, lag)
            assert abs((a.square() * b.square()).mean() - 1) < 4 * few, (axis, lag)
    swapped = noise.transpose(0, 1)  # (episode, step) must not be mistaken for (step, episode)
    assert abs((noise * swapped).mean() - 1 / 40) < 2 * few


@given(some.lists(some.tuples(whole, whole, whole), min_size=1, max_size=40), some.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_equal_stamps_have_equal_noise_whoever_shares_the_batch(rows, width):
    stamp = torch.tensor(rows)
    noise = stamp_noise(stamp, width)
    assert torch.isfinite(noise).all()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stamp_noise(stamp[order], width), noise[order], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(stamp_noise(stamp[:1], width + 3)[:, :width], noise[:1], rtol=1e-6, atol=1e-7)


@given(whole, whole, whole, some.sampled_from([0, 1, 2]))
@settings(max_examples=30, deadline=None)
def test_another_stamp_is_another_noise(episode, step, epoch, which):
    stamp = torch.tensor([[episode, step, epoch]] * 2)
    stamp[1, which] += 1
    first, second = stamp_noise(stamp, 4)
    assert not torch.isclose(first, second).any()


@pytest.mark.parametrize("history", [1, 2])
def test_bits_agree_with_an_estimate_from_samples(history):
    sigma, scale = 2.0, torch.tensor([1.0, 0.05])
    spread = torch.tensor([30.0, 0.1])
    num = 20_000
    rng = np.random.default_rng(0)
    state = torch.from_numpy(rng.standard_normal((num, 2))) * spread
    looks = []
    for step in range(history):
        stamp = torch.stack([torch.arange(num), torch.full((num,), step), torch.zeros(num, dtype=torch.int64)], dim=1)
        looks.append(state + sigma * scale * stamp_noise(stamp, 2))
    bits = 0.0
    for value in range(2):
        seen = np.stack([look[:, value].numpy() for look in looks])
        joint = np.cov(np.vstack([state[:, value].numpy()[None], seen]))
        determinants = joint[0, 0] * np.linalg.det(joint[1:, 1:]) / np.linalg.det(joint)
        bits += 0.5 * math.log2(determinants)
    closed = channel_bits(spread.square(), sigma, scale, history)
    assert closed.item() == pytest.approx(bits, rel=0.01)


def test_a_second_look_is_worth_half_a_bit_a_coordinate_when_noise_is_small():
    variance, scale = torch.full((6,), 1e6), torch.ones(6)
    gain = channel_bits(variance, 0.1, scale, history=2) - channel_bits(variance, 0.1, scale, history=1)
    assert gain.item() == pytest.approx(3, abs=1e-6)


def test_constants_carry_no_bits_and_noiseless_coordinates_carry_endless_ones():
    assert channel_bits(torch.zeros(3), 0.0, torch.ones(3)).item() == 0
    assert channel_bits(torch.ones(1), 0.0, torch.ones(1)).item() == math.inf
