"""The shared trunk: what may look at what, and that the cache changes nothing."""

import pytest
import torch

from compression_gap.transformer import Transformer, causal_mask


@pytest.fixture
def trunk() -> Transformer:
    torch.manual_seed(0)
    return Transformer(width=16, layers=3, heads=2, cross=True).eval()


def test_cache_equals_one_pass_over_all_positions(trunk: Transformer):
    x, memory = torch.randn(5, 7, 16), trunk.remember(torch.randn(5, 3, 16))
    whole = trunk(x, causal_mask(7), memory)
    cache = trunk.empty_cache()
    one_by_one = torch.cat([trunk(x[:, i : i + 1], memory=memory, cache=cache) for i in range(7)], dim=1)
    torch.testing.assert_close(one_by_one, whole, atol=1e-6, rtol=1e-5)


def test_later_positions_do_not_reach_earlier_ones(trunk: Transformer):
    x, memory = torch.randn(1, 6, 16), trunk.remember(torch.randn(1, 3, 16))
    changed = x.clone()
    changed[:, 4:] += torch.randn(1, 2, 16)  # a constant would vanish in the layer norms
    before, after = trunk(x, causal_mask(6), memory), trunk(changed, causal_mask(6), memory)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_every_position_sees_the_memory(trunk: Transformer):
    x, memory = torch.randn(1, 6, 16), torch.randn(1, 3, 16)
    changed = memory + torch.tensor([0.0, 0.0, 1.0])[:, None]
    difference = trunk(x, causal_mask(6), trunk.remember(memory)) - trunk(x, causal_mask(6), trunk.remember(changed))
    assert (difference.abs().amax(-1) > 1e-5).all()


def test_every_weight_gets_a_gradient(trunk: Transformer):
    trunk(torch.randn(2, 6, 16), causal_mask(6), trunk.remember(torch.randn(2, 3, 16))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for name, p in trunk.named_parameters())


@pytest.mark.parametrize("width", [48, 64, 256, 384])
def test_gated_perceptrons_have_as_many_weights_as_plain_ones(width: int):
    plain, gated = (Transformer(width, 1, 4, gated=kind) for kind in (False, True))
    count = [sum(p.numel() for p in module.parameters()) for module in (plain, gated)]
    assert count[1] == pytest.approx(count[0], rel=0.01)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"Attention\.heads: expected a divisor of its width 10, got 4"):
        Transformer(width=10, layers=1, heads=4)
