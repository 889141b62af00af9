"""Binning: one token a value, and what does not fit is said."""

import pytest
import torch

from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.binning import Binning, BinningTokenizer


def fitted(spec: Binning, chunks: torch.Tensor) -> BinningTokenizer:
    tokenizer = spec.build(ChunkShape(chunks.shape[1], chunks.shape[2]))
    tokenizer.fit(chunks)
    return tokenizer


def test_the_paper_has_224_tokens_of_8_bits():
    tokenizer = Binning().build(ChunkShape(32, 7))
    assert (tokenizer.max_tokens, tokenizer.nominal_bits) == (224, 224 * 8)


def test_ids_are_bins_of_one_action_after_the_other():
    tokenizer = fitted(Binning(bins=4), torch.tensor([[[0.0, 0.0], [4.0, 8.0]]]))
    assert tokenizer.encode(torch.tensor([[[0.5, 7.9], [2.5, 2.5]]])).ids.tolist() == [[0, 3, 2, 1]]
    assert tokenizer.encode(torch.tensor([[[4.0, 99.0], [-9.0, 0.0]]])).ids.tolist() == [[3, 3, 0, 0]]


def test_percentile_bins_are_finer_in_the_middle():
    chunks = torch.randn(2000, 4, 1, generator=torch.Generator().manual_seed(0))
    chunks[0, 0, 0], chunks[1, 0, 0] = 100, -100
    typical = chunks[2:]
    error = {}
    for name in ("min-max", "percentile"):
        tokenizer = fitted(Binning(range=name), chunks)
        error[name] = (tokenizer.decode(tokenizer.encode(typical)).chunk - typical).abs().median()
    assert error["percentile"] < error["min-max"] / 10


def test_quantile_bins_hold_equally_many_and_read_back_their_mean():
    chunks = torch.randn(1000, 2, 2, generator=torch.Generator().manual_seed(0)).exp()
    tokenizer = fitted(Binning(bins=8, placement="quantile"), chunks)
    ids = tokenizer.encode(chunks).ids.unflatten(1, (2, 2))
    values, decoded = chunks.flatten(0, 1), tokenizer.decode(tokenizer.encode(chunks)).chunk.flatten(0, 1)
    for action in range(2):
        bins = ids[..., action].flatten()
        assert torch.bincount(bins).tolist() == pytest.approx([250] * 8, abs=1)
        torch.testing.assert_close(
            decoded[bins == 3, action], values[bins == 3, action].mean().expand(int((bins == 3).sum()))
        )


def test_quantile_bins_keep_values_that_are_few():
    arm = torch.linspace(-1, 1, 64)
    chunks = torch.stack([arm, arm.sign(), torch.full((64,), 0.3)], dim=1)[:, None]
    tokenizer = fitted(Binning(bins=16, placement="quantile"), chunks)
    decoded = tokenizer.decode(tokenizer.encode(chunks)).chunk
    assert torch.equal(decoded[..., 1:], chunks[..., 1:])
    assert (decoded[..., 0] - chunks[..., 0]).abs().max() < 0.1


def test_unfitted_quantile_bins_say_so():
    with pytest.raises(ValueError, match="not fitted"):
        Binning(placement="quantile").build(ChunkShape(2, 2)).encode(torch.zeros(1, 2, 2))


def test_incomplete_or_foreign_codes_are_invalid():
    tokenizer = fitted(Binning(bins=4), torch.randn(10, 2, 2))
    ids = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 3]])
    assert tokenizer.decode(Tokens(ids, torch.tensor([4, 4, 3]))).valid.tolist() == [True, False, False]
    assert tokenizer.decode(Tokens(ids[:, :3], torch.full((3,), 3))).valid.tolist() == [False, False, False]


def test_it_has_nothing_to_train():
    assert not Binning().learned
    with pytest.raises(NotImplementedError, match="not learned"):
        fitted(Binning(), torch.randn(10, 2, 2)).loss(torch.randn(1, 2, 2))


def test_one_bin_is_refused():
    with pytest.raises(ValueError, match="expected 2 to 65536, got 1"):
        Binning(bins=1)
