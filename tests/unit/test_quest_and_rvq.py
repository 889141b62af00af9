"""QueST and residual VQ: sizes, causality, dead codes, and that they learn."""

import pytest
import torch

from compression_gap.shapes import ChunkShape
from compression_gap.testing.common import seeded, smooth_chunks
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec
from compression_gap.tokenizers.quest import Quest
from compression_gap.tokenizers.rvq import Rvq, revival

SHAPE = ChunkShape(8, 2)


def trained(spec: TokenizerSpec, steps: int, chunks: torch.Tensor) -> Tokenizer:
    tokenizer = seeded(lambda: spec.build(SHAPE)).train()
    tokenizer.fit(chunks)
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=3e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        tokenizer.loss(chunks).total.backward()
        optimiser.step()
    return tokenizer.eval()


def error(tokenizer: Tokenizer, chunks: torch.Tensor) -> float:
    """Squared error as a share of the variance of each action value."""
    lost = tokenizer.decode(tokenizer.encode(chunks)).chunk - chunks
    return float((lost.square().mean((0, 1)) / chunks.var((0, 1))).mean())


def test_the_papers_have_these_sizes():
    quest, rvq = Quest().build(ChunkShape(32, 7)), Rvq().build(ChunkShape(32, 7))
    assert (quest.max_tokens, quest.vocab_size, quest.digits) == (8, 1000, (8, 5, 5, 5))
    assert (rvq.max_tokens, rvq.vocab_size, rvq.nominal_bits) == (2, 16, 8)


def test_a_quest_token_does_not_know_later_actions():
    tokenizer = seeded(lambda: Quest.small().build(ChunkShape(16, 3))).eval()
    chunks = smooth_chunks(50, ChunkShape(16, 3))
    tokenizer.fit(chunks)
    changed = chunks.clone()
    changed[:, 8:] = chunks.flip(0)[:, 8:]
    one, two = tokenizer.encode(chunks).ids, tokenizer.encode(changed).ids
    assert torch.equal(one[:, :2], two[:, :2])
    assert not torch.equal(one[:, 2:], two[:, 2:])


@pytest.mark.parametrize(("horizon", "tokens"), [(1, 1), (4, 1), (6, 2), (9, 3)])
def test_a_quest_chunk_of_any_length_is_filled_up(horizon: int, tokens: int):
    tokenizer = Quest.small().build(ChunkShape(horizon, 2)).eval()
    tokenizer.fit(smooth_chunks(9, ChunkShape(horizon, 2)))
    assert tokenizer.encode(smooth_chunks(3, ChunkShape(horizon, 2))).ids.shape == (3, tokens)


def test_quest_learns():
    chunks = smooth_chunks(64, SHAPE)
    spec = Quest(width=16, head_width=8, encoder_layers=1, decoder_layers=1, dropout=0.0)
    assert error(trained(spec, 150, chunks), chunks) < 0.3


def test_residual_codes_are_learned_and_all_in_use():
    chunks = smooth_chunks(256, SHAPE)
    coarse, fine = (trained(Rvq(groups=n, codes=8, latent=8, width=64), 300, chunks) for n in (1, 3))
    assert error(fine, chunks) < 0.7 * error(coarse, chunks) < 0.35
    ids = fine.encode(chunks).ids
    assert [len(ids[:, group].unique()) for group in range(3)] == [8, 8, 8]


def test_vectors_that_nobody_chose_go_where_the_error_is_largest():
    book = torch.tensor([[0.0], [9.0], [8.0]], requires_grad=True)
    residual = torch.tensor([[0.1], [-3.0], [2.0], [0.2]])
    revival(book, torch.tensor([0, 0, 0, 0]), residual).backward()
    assert book.grad is not None
    assert book.grad[0].item() == 0
    assert book.grad[1:].flatten().tolist() == pytest.approx([2 * (9 + 3) / 3, 2 * (8 - 2) / 3])


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"Quest\.downsample: expected a power of two, got 3"):
        Quest(downsample=3)
    with pytest.raises(ValueError, match="multiple of head_width 64, got 100"):
        Quest(width=100)
    with pytest.raises(ValueError, match=r"Rvq\.codes: expected at least 2, got 1"):
        Rvq(codes=1)
