"""What holds for every grid, every scale and every chunk."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.fast import Fast
from compression_gap.tokenizers.fsq import Fsq

level_vectors = st.lists(st.integers(2, 9), min_size=1, max_size=5).map(tuple)
seeds = st.integers(0, 2**31)


def chunks(seed: int, shape: ChunkShape, spread: float, centre: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(20, shape.horizon, shape.actions, generator=generator) * spread + centre * spread


@given(level_vectors)
@settings(max_examples=50, deadline=None)
def test_fsq_codes_and_points_are_one_to_one(levels: tuple[int, ...]):
    fsq = Fsq(levels)
    ids = torch.arange(fsq.codes)
    points = fsq.to_points(ids)
    assert torch.equal(fsq.to_ids(points), ids)
    assert len(points.unique(dim=0)) == fsq.codes
    assert points.abs().max() <= 1


@given(level_vectors, seeds, st.floats(0.1, 30))
@settings(max_examples=50, deadline=None)
def test_fsq_keeps_its_own_points(levels: tuple[int, ...], seed: int, spread: float):
    fsq = Fsq(levels)
    latent = torch.randn(50, len(levels), generator=torch.Generator().manual_seed(seed)) * spread
    points = fsq.quantize(latent)
    ids = fsq.to_ids(points)
    assert ((ids >= 0) & (ids < fsq.codes)).all()
    torch.testing.assert_close(fsq.to_points(ids), points.detach())


@given(
    seeds,
    st.integers(2, 300),
    st.sampled_from(["min-max", "percentile"]),
    st.floats(1e-3, 1e3),
    st.floats(-10, 10),
    st.builds(ChunkShape, horizon=st.integers(1, 5), actions=st.integers(1, 4)),
)
@settings(max_examples=100, deadline=None)
def test_binning_errs_by_half_a_bin_and_repeats_itself(
    seed: int, bins: int, span: str, spread: float, centre: float, shape: ChunkShape
):
    chunk = chunks(seed, shape, spread, centre)
    tokenizer = Binning(bins=bins, range=span).build(shape)  # type: ignore[arg-type]
    tokenizer.fit(chunk)
    code = tokenizer.encode(chunk)
    decoded = tokenizer.decode(code)
    assert decoded.valid.all()
    inside = tokenizer.scaling(chunk).abs() <= 1
    error = (tokenizer.scaling(decoded.chunk) - tokenizer.scaling(chunk)).abs()
    assert (error[inside] <= 1 / bins + 1e-5).all()
    assert torch.equal(tokenizer.encode(decoded.chunk).ids, code.ids)


@given(
    seeds,
    st.integers(2, 300),
    st.sampled_from(["min-max", "percentile"]),
    st.floats(1e-3, 1e3),
    st.floats(-10, 10),
    st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_quantile_bins_repeat_themselves_whatever_comes(
    seed: int, bins: int, span: str, spread: float, centre: float, decimals: int
):
    """Rounded values make bins with equal edges."""
    chunk = (chunks(seed, ChunkShape(3, 2), 1.0, centre).round(decimals=decimals)) * spread
    tokenizer = Binning(bins=bins, range=span, placement="quantile").build(ChunkShape(3, 2))  # type: ignore[arg-type]
    tokenizer.fit(chunk)
    for later in (chunk, chunk * 3, chunk - spread):
        code = tokenizer.encode(later)
        decoded = tokenizer.decode(code)
        assert decoded.chunk.isfinite().all()
        assert torch.equal(tokenizer.encode(decoded.chunk).ids, code.ids)


@given(seeds, st.builds(ChunkShape, horizon=st.integers(1, 6), actions=st.integers(1, 4)), st.floats(1, 60))
@settings(max_examples=25, deadline=None)
def test_any_way_through_what_may_follow_is_a_fast_code(seed: int, shape: ChunkShape, scale: float):
    """Ids are drawn at random among those that may follow, and the code ends as soon as it may."""
    tokenizer = Fast(scale=scale, vocabulary=300).build(shape)
    tokenizer.fit(chunks(seed, shape, 1.0, 0.0))
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(20, tokenizer.max_tokens, dtype=torch.int64)
    length = torch.full((20,), tokenizer.max_tokens)
    for place in range(tokenizer.max_tokens):
        may = tokenizer.following(ids[:, :place]).float()
        running = length == tokenizer.max_tokens
        assert (may[running].sum(1) > 0).all()
        ended = running & (may[:, -1] > 0)
        assert not (ended & (may[:, :-1].sum(1) > 0)).any()
        length[ended] = place
        drawn = torch.multinomial(may, 1, generator=generator)[:, 0]
        ids[running & ~ended, place] = drawn[running & ~ended]
    assert tokenizer.decode(Tokens(ids, length)).valid.all()
