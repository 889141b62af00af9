"""OAT: prefixes, the register mask, and that it learns."""

import pytest
import torch

from compression_gap.config import to_json
from compression_gap.pipeline.jobs.tokenizer_quality import cuts
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.oat import Oat, OatTokenizer, prefix_lengths, register_mask

SMALL = Oat(tokens=4, levels=(5, 3), width=16, head_width=8, encoder_layers=1, decoder_layers=1, dropout=0.0)


def smooth_chunks(number: int, shape: ChunkShape, seed: int = 0) -> torch.Tensor:
    """Random-walk chunks of different speeds."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(number, shape.horizon, shape.actions, generator=generator)
    return steps.cumsum(1) * torch.rand(number, 1, shape.actions, generator=generator)


def built(spec: Oat = SMALL, shape: ChunkShape | None = None, seed: int = 0) -> OatTokenizer:
    shape = shape or ChunkShape(8, 3)
    torch.manual_seed(seed)
    tokenizer = spec.build(shape).eval()
    tokenizer.fit(smooth_chunks(64, shape))
    return tokenizer


def test_the_paper_has_79_73_bits():
    tokenizer = Oat().build(ChunkShape(32, 7))
    assert tokenizer.nominal_bits == pytest.approx(79.73, abs=0.005)
    assert (tokenizer.vocab_size, tokenizer.max_tokens, tokenizer.digits) == (1000, 8, (8, 5, 5, 5))


def test_registers_see_all_actions_and_earlier_registers_while_actions_see_no_register():
    expected = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    assert torch.equal(register_mask(2, 3), expected.bool())


def test_nested_dropout_keeps_powers_of_two():
    powers = [prefix_lengths(n, "powers") for n in (1, 2, 6, 8)]
    assert powers == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
    assert prefix_lengths(3, "all") == [1, 2, 3]


def test_it_tells_the_prefixes_that_it_learns():
    assert cuts(Oat.small().build(ChunkShape(8, 3))) == [1, 2, 4, 8]
    assert cuts(Oat.small().replace(prefixes="all").build(ChunkShape(8, 3))) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert cuts(Oat.small().replace(tokens=20, prefixes="all").build(ChunkShape(8, 3))) == [1, 2, 4, 8, 16, 20]
    assert cuts(Oat.small().replace(nested_dropout=False).build(ChunkShape(8, 3))) == []


def test_older_digests_do_not_know_the_choice_of_prefixes():
    assert "prefixes" not in to_json(Oat(), for_digest=True)
    assert Oat(prefixes="all").digest != Oat().digest


def test_a_prefix_decodes_alike_whatever_follows_it():
    tokenizer = built()
    code = tokenizer.encode(smooth_chunks(5, tokenizer.shape))
    two = torch.full((5,), 2)
    cut, masked = Tokens(code.ids[:, :2], two), Tokens(code.ids, two)
    assert torch.equal(tokenizer.decode(cut).chunk, tokenizer.decode(masked).chunk)
    assert tokenizer.decode(cut).valid.all()
    assert not torch.allclose(tokenizer.decode(cut).chunk, tokenizer.decode(code).chunk)


def test_rows_that_no_chunk_could_have_made_are_invalid():
    tokenizer = built()
    ids = torch.zeros(5, 4, dtype=torch.long)
    ids[1, 2], ids[2, 3], ids[3, 3] = 15, -1, 15  # the vocabulary ends at 14
    valid = tokenizer.decode(Tokens(ids, torch.tensor([4, 4, 4, 2, 0]))).valid
    assert valid.tolist() == [True, False, False, True, False]


def test_without_nested_dropout_prefixes_are_invalid():
    tokenizer = built(SMALL.replace(nested_dropout=False))
    assert not tokenizer.ordered
    assert not tokenizer.decode(Tokens(torch.zeros(1, 4, dtype=torch.long), torch.tensor([2]))).valid.any()


def test_gradients_reach_every_weight():
    tokenizer = built(seed=1).train()
    torch.manual_seed(0)
    tokenizer.loss(smooth_chunks(64, tokenizer.shape)).total.backward()
    without = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize(("prefixes", "lengths"), [("powers", (1, 2, 4)), ("all", (1, 2, 3, 4))])
def test_it_learns_coarse_to_fine(prefixes: str, lengths: tuple[int, ...]):
    tokenizer = built(SMALL.replace(levels=(8, 5, 5, 5), prefixes=prefixes), ChunkShape(8, 2)).train()
    chunks = smooth_chunks(64, tokenizer.shape)
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=3e-3)
    torch.manual_seed(0)
    for _ in range(400):
        optimiser.zero_grad()
        tokenizer.loss(chunks).total.backward()
        optimiser.step()
    tokenizer.eval()
    code = tokenizer.encode(chunks)
    scaled = tokenizer.scaling(chunks)
    error = []
    for length in lengths:
        decoded = tokenizer.decode(Tokens(code.ids, torch.full((64,), length))).chunk
        error.append((tokenizer.scaling(decoded) - scaled).square().mean() / scaled.var())
    assert error == sorted(error, reverse=True)
    assert error[-1] < 0.8 * error[0] < 0.2


def test_balanced_training_takes_the_geometric_mean_and_counts_the_whole_code_as_all_shorter_ones():
    tokenizer = built(SMALL.replace(balanced=True))  # prefixes of 1, 2 and 4 tokens
    errors, length = torch.tensor([0.5, 0.1, 0.3, 0.01]), torch.tensor([1, 2, 2, 4])
    expected = (0.5 * 0.2 * 0.01**2) ** (1 / 4)
    assert tokenizer.balance(errors, length).item() == pytest.approx(expected, rel=1e-4)
    without_the_middle = (0.5 * 0.01**2) ** (1 / 3)
    assert tokenizer.balance(errors[[0, 3]], length[[0, 3]]).item() == pytest.approx(without_the_middle, rel=1e-4)


@pytest.mark.parametrize(("drawn", "share"), [("evenly", 1 / 3), ("by_weight", 1 / 2)])
def test_nested_dropout_keeps_the_whole_code_as_often_as_asked(drawn: str, share: float):
    tokenizer = built(SMALL.replace(drawn=drawn))  # prefixes of 1, 2 and 4 tokens
    torch.manual_seed(0)
    kept = tokenizer.prefixes[tokenizer.draw(20_000)]
    assert (kept == 4).double().mean().item() == pytest.approx(share, abs=0.015)
    assert (kept == 1).double().mean().item() == pytest.approx((1 - share) / 2, abs=0.015)


def test_dither_is_for_training_alone():
    tokenizer = built(SMALL.replace(dither=1.0))
    scaled = tokenizer.scaling(smooth_chunks(5, tokenizer.shape))
    on_the_grid = tokenizer.fsq.to_points(tokenizer.fsq.to_ids(tokenizer.to_points(scaled)))
    torch.testing.assert_close(tokenizer.to_points(scaled), on_the_grid)
    assert not torch.allclose(tokenizer.train().to_points(scaled), on_the_grid, atol=0.01)


@pytest.mark.parametrize("dither", [-0.1, 1.1])
def test_dither_is_a_share(dither: float):
    with pytest.raises(ValueError, match=r"Oat\.dither: expected a share from 0 to 1"):
        Oat(dither=dither)


def test_the_search_ends_where_no_digit_can_be_moved_to_read_back_better():
    tokenizer = built(SMALL.replace(search=20, nested_dropout=False))
    chunks = smooth_chunks(6, tokenizer.shape)
    scaled, ids = tokenizer.scaling(chunks), tokenizer.encode(chunks).ids

    def error(ids: torch.Tensor) -> torch.Tensor:
        decoded = tokenizer.decode(Tokens(ids, torch.full((len(ids),), 4)))
        assert decoded.valid.all()
        return (tokenizer.scaling(decoded.chunk) - scaled).square().mean(dim=(1, 2))

    tokenizer.search = 0
    guessed = tokenizer.encode(chunks).ids
    assert (error(ids) <= error(guessed) + 1e-6).all()
    assert (error(ids) < 0.99 * error(guessed)).any()
    for token in range(4):
        for digit, (levels, worth) in enumerate([(5, 1), (3, 5)]):
            for step in (-1, 1):
                level = tokenizer.fsq.to_digits(ids[:, token])[:, digit] + step
                moved = ids.clone()
                moved[:, token] += torch.where((level >= 0) & (level < levels), step * worth, 0)
                assert (error(moved) >= error(ids) - 1e-6).all()


def test_the_search_keeps_the_order_of_the_tokens():
    """What it lessens is what training lessens: all prefixes' errors, the whole code's as often as all others'."""
    tokenizer, plain = built(SMALL.replace(search=1)), built()
    chunks = smooth_chunks(40, tokenizer.shape)
    scaled = tokenizer.scaling(chunks)

    def balanced(ids: torch.Tensor) -> torch.Tensor:
        logs = []
        for length in (1, 2, 4):
            decoded = plain.decode(Tokens(ids, torch.full((len(ids),), length)))
            logs.append((plain.scaling(decoded.chunk) - scaled).square().mean(dim=(1, 2)).log())
        return logs[0] + logs[1] + 2 * logs[2]

    found, guessed = (balanced(one.encode(chunks).ids) for one in (tokenizer, plain))
    assert (found <= guessed + 1e-4).all()
    assert (found < guessed - 0.01).any()


def test_tokens_may_hold_several_actions():
    tokenizer = built(SMALL.replace(patch=2, gated=True))
    chunks = smooth_chunks(5, tokenizer.shape)
    assert tokenizer.decode(tokenizer.encode(chunks)).chunk.shape == chunks.shape
    assert tokenizer.queries.shape == (4, 16)


def test_a_last_token_that_is_not_full_is_filled_with_the_last_action():
    tokenizer = built(SMALL.replace(patch=3))
    chunks = smooth_chunks(5, tokenizer.shape)
    assert (tokenizer.shape.horizon, tokenizer.patches) == (8, 3)
    assert tokenizer.decode(tokenizer.encode(chunks)).chunk.shape == chunks.shape
    seen = []
    tokenizer.read_action.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    tokenizer.encode(chunks)
    last = tokenizer.scaling(chunks)[:, -1]
    assert torch.equal(seen[0].unflatten(2, (3, -1))[:, 2, 1:], torch.stack([last, last], dim=1))


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"Oat\.tokens"):
        Oat(tokens=0)
    with pytest.raises(ValueError, match=r"Oat\.patch: expected at least 1, got 0"):
        Oat(patch=0)
    with pytest.raises(ValueError, match=r"Oat\.search: expected 0 or more passes, got -1"):
        Oat(search=-1)
    with pytest.raises(ValueError, match="multiple of head_width 64, got 100"):
        Oat(width=100)
    with pytest.raises(ValueError, match="at least 2 levels"):
        Oat(levels=(8, 1)).build(ChunkShape(8, 3))
