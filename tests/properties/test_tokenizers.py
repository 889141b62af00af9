"""What holds for every grid, every scale and every chunk."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.fsq import Fsq

level_vectors = st.lists(st.integers(3, 9), min_size=1, max_size=5).map(tuple)
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
