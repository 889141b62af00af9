"""Tokenizers that fail now and then, corrupted codes, and errors in the units of the task."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from compression_gap.measures import attempts
from compression_gap.measures.attempts import read, write
from compression_gap.measures.distortion import distortion, tails
from compression_gap.measures.robustness import sensitivity_mm, undecodable
from compression_gap.shapes import ChunkShape
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.base import Decoded, Tokenizer, Tokens
from compression_gap.tokenizers.binning import Binning, BinningTokenizer
from trimmed import Trimmed

LEGEND = Tabletop().build().legend
SHAPE = ChunkShape(horizon=4, actions=7)


def fitted(tokenizer: Tokenizer) -> Tokenizer:
    """On chunks that fill [-1, 1]."""
    tokenizer.fit(torch.linspace(-1, 1, 40)[:, None, None].expand(40, *dataclasses.astuple(tokenizer.shape)))
    return tokenizer


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Moody(BinningTokenizer):
    """Raises where the first action is above 0.5, and cannot read a code that begins with id 0."""

    def encode(self, chunk: Tensor) -> Tokens:
        if (chunk[:, 0, 0] > 0.5).any():
            raise ArithmeticError("too high for me")
        return super().encode(chunk)

    def decode(self, tokens: Tokens) -> Decoded:
        if (tokens.ids[:, 0] == 0).any():
            raise LookupError("what is 0?")
        return super().decode(tokens)


def test_what_cannot_be_written_is_told_apart_from_what_can():
    tokenizer = fitted(Moody(Binning(bins=4), SHAPE))
    chunk = torch.tensor([0.0, 0.9, -0.9, 0.1, 0.8, 0.2])[:, None, None].expand(6, 4, 7)
    written = write(tokenizer, chunk)
    assert written.rows.tolist() == [0, 2, 3, 5]
    assert written.failure == "2 chunks raise an error, the first of them number 1: ArithmeticError: too high for me"
    assert written.tokens.ids[:, 0].tolist() == [2, 0, 2, 2]
    told = read(tokenizer, written.tokens)
    assert told.valid.tolist() == [True, False, True, True]
    assert told.failure == "1 codes raise an error, the first of them number 1: LookupError: what is 0?"
    torch.testing.assert_close(told.chunk[2, 0], torch.full((7,), 0.25))
    assert told.chunk[1].isnan().all()


def test_a_code_without_a_token_is_no_code():
    class Wordless(BinningTokenizer):
        def encode(self, chunk: Tensor) -> Tokens:
            found = super().encode(chunk)
            return Tokens(found.ids, found.length * (chunk[:, 0, 0] > 0))

    tokenizer = fitted(Wordless(Binning(bins=4), SHAPE))
    chunk = torch.tensor([0.5, -0.5, 0.1])[:, None, None].expand(3, 4, 7)
    written = write(tokenizer, chunk)
    assert (written.rows.tolist(), written.failure) == ([0, 2], None)
    assert written.tokens.length.tolist() == [28, 28]
    with pytest.raises(RuntimeError, match="Wordless cannot write a single chunk; its codes have no token"):
        write(tokenizer, -torch.ones(3, 4, 7))


def test_many_chunks_are_written_and_read_in_pieces(monkeypatch: pytest.MonkeyPatch):
    tokenizer = fitted(Moody(Binning(bins=4), SHAPE))
    chunk = torch.rand(11, 4, 7) * 0.4
    whole = write(tokenizer, chunk)
    sizes = []
    encode = Moody.encode
    monkeypatch.setattr(Moody, "encode", lambda self, some: (sizes.append(len(some)), encode(self, some))[1])
    monkeypatch.setattr(attempts, "PIECE", 4)
    pieces = write(tokenizer, chunk)
    assert sizes == [4, 4, 3]
    assert torch.equal(pieces.tokens.ids, whole.tokens.ids)
    assert torch.equal(read(tokenizer, pieces.tokens).chunk, tokenizer.decode(whole.tokens).chunk)


def test_a_tokenizer_that_writes_nothing_says_what_it_raised():
    tokenizer = fitted(Moody(Binning(bins=4), SHAPE))
    with pytest.raises(RuntimeError, match="Moody cannot write a single chunk; the first raises ArithmeticError"):
        write(tokenizer, torch.ones(3, 4, 7))


def test_numbers_that_are_not_finite_are_not_read():
    class Infinite(BinningTokenizer):
        def decode(self, tokens: Tokens) -> Decoded:
            found = super().decode(tokens)
            return Decoded(found.chunk.masked_fill((tokens.ids[:, 0] == 1)[:, None, None], torch.inf), found.valid)

    tokenizer = fitted(Infinite(Binning(bins=4), SHAPE))
    ids = torch.tensor([[1], [2]]).expand(2, 28)
    assert read(tokenizer, Tokens(ids, torch.tensor([28, 28]))).valid.tolist() == [False, True]


def test_bins_survive_a_wrong_token_and_no_missing_one():
    tokenizer = fitted(Binning(bins=4).build(SHAPE))
    tokens = tokenizer.encode(torch.zeros(50, 4, 7))
    assert dataclasses.astuple(undecodable(tokenizer, tokens, generator())) == (0.0, 1.0)


def test_shares_of_undecodable_codes_are_those_that_can_be_counted():
    """Codes 0101 of two ids, none of which may end in a repetition: a wrong token at two of the four places makes one,
    a missing one at one of them."""
    tokenizer = fitted(Trimmed(bins=2).build(ChunkShape(horizon=2, actions=3)))
    tokens = Tokens(torch.tensor([0, 1, 0, 1, 0, 0]).expand(3000, 6), torch.full((3000,), 4))
    found = undecodable(tokenizer, tokens, generator())
    assert found.substituted == pytest.approx(0.5, abs=0.03)
    assert found.dropped == pytest.approx(0.25, abs=0.03)
    assert found == undecodable(tokenizer, tokens, generator())


def test_a_vocabulary_of_one_has_no_other_token():
    tokenizer = Binning(bins=2).build(SHAPE)
    tokenizer.vocab_size = 1
    fitted(tokenizer)
    tokens = tokenizer.encode(torch.zeros(5, 4, 7))
    assert undecodable(tokenizer, tokens, generator()).substituted is None
    assert sensitivity_mm(tokenizer, tokens, LEGEND, generator()) is None


def test_a_wrong_bin_moves_the_arm_for_the_rest_of_the_chunk():
    """Of two bins the other one is 1 away, in actions; from step t on, the arm is off by that."""
    tokenizer = fitted(Binning(bins=2).build(SHAPE))
    tokens = tokenizer.encode(torch.rand(20, 4, 7, generator=generator()) * 2 - 1)
    found = sensitivity_mm(tokenizer, tokens, LEGEND, generator())
    assert found is not None
    expected = [LEGEND.action_scale[0] * math.sqrt((4 - step) / 4) for step in range(4)]
    for axis in range(3):
        np.testing.assert_allclose(found[axis::7], expected, rtol=1e-5)
    assert (found.reshape(4, 7)[:, 3:] == 0).all()  # turning and gripping do not move it


def test_places_behind_the_end_of_all_codes_have_no_sensitivity():
    tokenizer = fitted(Trimmed(bins=3, tells=False).build(ChunkShape(horizon=2, actions=7)))
    tokens = tokenizer.encode(torch.zeros(4, 2, 7))
    padded = Tokens(torch.nn.functional.pad(tokens.ids, (0, 2)), tokens.length)
    found = sensitivity_mm(tokenizer, padded, LEGEND, generator())
    assert found is not None
    assert np.isnan(found[int(tokens.length.max()) :]).all()
    assert not np.isnan(found[0])


def test_the_tail_is_the_largest_integrated_error_of_a_chunk():
    chunk = np.zeros((200, 3, 7))
    decoded = chunk.copy()
    decoded[:, 0, 0] = np.arange(200) / 100  # and back again at the next step
    decoded[:, 1, 0] = -np.arange(200) / 100
    found = tails(chunk, decoded, LEGEND)
    assert found["mm_worst"] == pytest.approx(1.99 * LEGEND.action_scale[0])
    assert found["mm_99"] == pytest.approx(np.quantile(np.arange(200) / 100, 0.99) * LEGEND.action_scale[0])
    assert found["degrees_worst"] == 0
    assert found["mm_worst"] > 2 * distortion(chunk, decoded, LEGEND)["mm"]  # type: ignore[operator]


def test_actions_without_axes_have_no_tail():
    joints = dataclasses.replace(LEGEND, action=tuple(f"joint {n}" for n in range(7)))
    assert tails(np.zeros((2, 3, 7)), np.ones((2, 3, 7)), joints) == dict.fromkeys(
        ("mm_99", "mm_worst", "degrees_99", "degrees_worst")
    )
