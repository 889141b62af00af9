"""Our FSQ against vector-quantize-pytorch's, which follows the same paper."""

import pytest
import torch
from vector_quantize_pytorch import FSQ

from compression_gap.tokenizers.fsq import Fsq


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 8, 6, 5), (7, 5, 5, 5, 5), (3, 4)])
def test_points_codes_and_gradients(levels: tuple[int, ...]):
    torch.manual_seed(0)
    ours, theirs = Fsq(levels), FSQ(list(levels))
    mine = (torch.randn(3, 500, len(levels)) * 3).requires_grad_()
    other = mine.detach().clone().requires_grad_()
    points = ours.quantize(mine)
    expected, ids = theirs(other)
    torch.testing.assert_close(points, expected)
    assert torch.equal(ours.to_ids(points), ids.long())
    torch.testing.assert_close(ours.to_points(ids.long()), theirs.indices_to_codes(ids))
    points.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(mine.grad, other.grad)
