"""Action scaling: the fitted range becomes [-1, 1]; constants survive; mistakes are named."""

import pytest
import torch

from compression_gap.data.normalise import Standardise
from compression_gap.scaling import ActionScaling


def test_extremes_of_the_training_chunks_become_minus_one_and_one():
    chunks = torch.randn(50, 4, 3) * torch.tensor([0.1, 5.0, 300.0]) + 7
    scaling = ActionScaling(3)
    scaling.fit(chunks)
    scaled = scaling(chunks)
    torch.testing.assert_close(scaled.amin((0, 1)), torch.full((3,), -1.0))
    torch.testing.assert_close(scaled.amax((0, 1)), torch.full((3,), 1.0))
    torch.testing.assert_close(scaling.inverse(scaled), chunks, atol=1e-4, rtol=1e-5)


def test_a_constant_value_becomes_zero_and_comes_back():
    chunks = torch.randn(50, 4, 2)
    chunks[..., 1] = 0.3
    scaling = ActionScaling(2)
    scaling.fit(chunks)
    assert (scaling(chunks + 1)[..., 1] == 0).all()
    assert torch.equal(scaling.inverse(scaling(chunks))[..., 1], chunks[..., 1])


def test_tails_are_left_outside_the_range():
    scaling = ActionScaling(1)
    scaling.fit(torch.arange(101.0).reshape(101, 1, 1), tail=0.1)
    assert scaling.inverse(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1)).flatten().tolist() == [10, 90]


def test_a_rare_pulse_is_not_a_constant():
    chunks = torch.zeros(1000, 4, 2)
    chunks[..., 0] = torch.linspace(-1, 1, 4000).view(1000, 4)
    chunks[7, 2, 1] = 3.0  # in one step of four thousand
    scaling = ActionScaling(2)
    scaling.fit(chunks, tail=0.01)
    torch.testing.assert_close(scaling.inverse(scaling(chunks)), chunks)
    assert scaling(chunks)[7, 2, 1] == 1
    assert 1 < scaling(chunks)[..., 0].max() < 1.1


def test_an_unfitted_scaling_says_so():
    with pytest.raises(ValueError, match="call fit"):
        ActionScaling(2)(torch.zeros(1, 4, 2))


def test_nan_in_the_training_chunks_is_refused():
    chunks = torch.zeros(3, 4, 2)
    chunks[1, 2, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        ActionScaling(2).fit(chunks)


def test_standardised_training_values_have_mean_0_and_spread_1_and_constants_stay_finite():
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    scale = Standardise(2)
    scale.fit(values)
    assert scale(values).tolist() == [[-1, 0], [1, 0]]


def test_what_hardly_varied_is_divided_by_its_unit_and_not_blown_up():
    values = torch.tensor([[100.0, 0.5000], [140.0, 0.5001]])
    scale = Standardise(2, (1.0, 0.02))
    scale.fit(values)
    assert scale.std.tolist() == pytest.approx([20.0, 0.02])
    surprise = scale(torch.tensor([[120.0, 0.52]]))
    assert surprise[0].tolist() == pytest.approx([0.0, 1.0], abs=0.01)
    assert set(scale.state_dict()) == {"mean", "std"}, "units belong to the encoder, not to the weights"
