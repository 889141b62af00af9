"""Our FSQ and residual VQ against vector-quantize-pytorch's, which follow the same papers."""

import pytest
import torch
from vector_quantize_pytorch import FSQ, ResidualVQ

from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.fsq import Fsq
from compression_gap.tokenizers.rvq import Rvq


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 8, 6, 5), (7, 5, 5, 5, 5), (3, 4), (64, 33, 10, 9)])
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


def test_residual_codes_and_their_sum():
    torch.manual_seed(0)
    tokenizer = Rvq(groups=3, codes=8, latent=4, width=16).build(ChunkShape(4, 2)).eval()
    chunks = torch.randn(200, 4, 2)
    tokenizer.fit(chunks)
    theirs = ResidualVQ(dim=4, num_quantizers=3, codebook_size=8).eval()
    for layer, book in zip(theirs.layers, tokenizer.codebooks, strict=True):
        layer._codebook.embed.data.copy_(book.detach()[None])
    latent = tokenizer.to_latent(tokenizer.scaling(chunks))
    summed, ids, _ = theirs(latent[:, None])
    code = tokenizer.encode(chunks)
    assert torch.equal(code.ids, ids[:, 0])
    expected = tokenizer.scaling.inverse(tokenizer.to_actions(summed[:, 0]))
    torch.testing.assert_close(tokenizer.decode(Tokens(code.ids, code.length)).chunk, expected.detach())
