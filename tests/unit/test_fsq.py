"""Finite scalar quantization: every code can be reached, is exact, and passes gradients."""

import itertools

import pytest
import torch

from compression_gap.tokenizers.fsq import Fsq


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3,), (4, 4), (7, 5, 5, 5, 5)])
def test_large_latents_reach_all_levels(levels: tuple[int, ...]):
    fsq = Fsq(levels)
    for d, count in enumerate(levels):
        latent = torch.zeros(2001, len(levels))
        latent[:, d] = torch.linspace(-20, 20, 2001)
        reached = fsq.quantize(latent)[:, d].unique()
        expected = (torch.arange(count) - count // 2) / (count // 2)
        torch.testing.assert_close(reached, expected)


def test_ids_are_mixed_radix_numbers_least_significant_digit_first():
    levels = (3, 4, 5)
    fsq = Fsq(levels)
    for a, b, c in itertools.product(*map(range, levels)):
        number = a + 3 * b + 12 * c
        assert fsq.to_digits(torch.tensor(number)).tolist() == [a, b, c]
        assert fsq.to_ids(fsq.to_points(torch.tensor(number))).item() == number


def test_zero_is_quantized_to_the_middle():
    assert torch.equal(Fsq((8, 5)).quantize(torch.zeros(1, 2)), torch.zeros(1, 2))


def test_gradient_is_that_of_the_bounded_latent():
    fsq = Fsq((5,))
    latent = torch.tensor([[0.4]], requires_grad=True)
    fsq.quantize(latent).backward()
    bounded = torch.tensor([[0.4]], requires_grad=True)
    (torch.tanh(bounded) * fsq.reach / 2).backward()
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad, bounded.grad)


def test_dithered_rows_lie_within_half_a_step_and_have_the_same_gradient():
    fsq = Fsq((8, 5))
    latent = torch.randn(4000, 3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.manual_seed(0)
    points = fsq.quantize(latent, dither=0.5)
    bounded = torch.tanh(latent + fsq.shift) * fsq.reach - fsq.offset
    assert ((points * fsq.middle - bounded).abs() <= 0.5 + 1e-5).all()
    rounded = (points - fsq.quantize(latent)).abs().amax(dim=(1, 2)) < 1e-6
    assert rounded.double().mean().item() == pytest.approx(0.5, abs=0.03)
    spread = (points * fsq.middle - bounded)[~rounded].std(dim=(0, 1))
    torch.testing.assert_close(spread, torch.full((2,), 12**-0.5), atol=0.01, rtol=0)  # of a uniform draw of width 1
    (gradient,) = torch.autograd.grad(points.sum(), latent)
    torch.testing.assert_close(gradient, torch.autograd.grad((bounded / fsq.middle).sum(), latent)[0])


@pytest.mark.parametrize("count", range(2, 65))
def test_every_number_of_levels_is_exact_and_in_use(count: int):
    """In each place of a code, where the other digits weigh more and less."""
    fsq = Fsq((3, count, 4))
    ids = torch.arange(fsq.codes)
    assert torch.equal(fsq.to_ids(fsq.to_points(ids)), ids)
    latent = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(count))
    points = fsq.quantize(latent)
    written = fsq.to_ids(points)
    torch.testing.assert_close(fsq.to_points(written), points)
    assert torch.equal(fsq.to_ids(fsq.to_points(written)), written)
    digits = fsq.to_digits(written)[:, 1]
    assert torch.equal(digits.unique(), torch.arange(count))
    assert digits[latent[:, 1].argsort()].diff().min() >= 0


def test_two_levels_are_symmetric_and_have_a_gradient():
    fsq = Fsq((2, 2))
    latent = torch.tensor([[-0.3, 0.2], [0.1, -2.0]], requires_grad=True)
    points = fsq.quantize(latent)
    assert points.tolist() == [[-1, 1], [1, -1]]
    points.sum().backward()
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad, (1 - latent.detach().tanh().square()) * (1 + 1e-3))


@pytest.mark.parametrize("levels", [(8, 1), (0,), ()])
def test_fewer_than_two_levels_are_refused(levels: tuple[int, ...]):
    with pytest.raises(ValueError, match="at least 2 levels"):
        Fsq(levels)
