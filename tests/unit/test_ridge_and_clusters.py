"""Readouts that do not trust themselves, and intervals that know that chunks of one demonstration are alike."""

import numpy as np
import pytest
import torch

from compression_gap.measures.clusters import cluster_mean
from compression_gap.measures.ridge import fit_ridge


def test_a_linear_relation_is_read_exactly():
    rng = torch.Generator().manual_seed(0)
    inputs, weights = torch.randn(300, 5, generator=rng), torch.randn(5, 3, generator=rng)
    readout = fit_ridge(inputs, inputs @ weights + 2, torch.arange(300) // 10)
    torch.testing.assert_close(readout.weights, weights, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(readout.offset, torch.full((3,), 2.0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(readout(inputs), inputs @ weights + 2, atol=1e-2, rtol=1e-3)


def test_on_training_rows_it_predicts_no_better_than_on_new_ones():
    rng = torch.Generator().manual_seed(0)
    inputs, random = torch.randn(200, 120, generator=rng), torch.randn(200, 4, generator=rng)
    readout = fit_ridge(inputs, random, torch.arange(200) // 5)
    assert (readout.unseen - random).square().mean() > 0.95 * random.var()


def test_copies_within_a_demonstration_do_not_leak():
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 60, generator=rng).repeat_interleave(10, dim=0)
    random = torch.randn(40, 1, generator=rng).repeat_interleave(10, dim=0)
    readout = fit_ridge(inputs, random, torch.arange(400) // 10)
    assert (readout.unseen - random).square().mean() > 0.9 * random.var()


def test_each_target_has_its_own_penalty():
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 120, generator=rng)
    clear, random = inputs[:, :1], torch.randn(200, 1, generator=rng)
    readout = fit_ridge(inputs, torch.cat([clear, random], dim=1), torch.arange(200) // 5)
    assert (readout(inputs)[:, 0] - clear[:, 0]).abs().max() < 0.01
    assert readout.weights[:, 1].square().sum() < 0.3


def test_one_demonstration_is_not_enough():
    with pytest.raises(ValueError, match="a readout needs at least two demonstrations"):
        fit_ridge(torch.randn(9, 2), torch.randn(9, 1), torch.zeros(9, dtype=torch.int64))
    with pytest.raises(ValueError, match="an interval needs chunks of at least two demonstrations"):
        cluster_mean(np.ones((1, 9)), np.zeros(9, dtype=np.int64))


def test_copies_of_a_chunk_do_not_narrow_an_interval():
    each = np.random.default_rng(0).standard_normal(50)
    few = cluster_mean(each[None], np.arange(50))
    many = cluster_mean(np.repeat(each, 20)[None], np.repeat(np.arange(50), 20))
    assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.02)
    assert few.high - few.low == pytest.approx(2 * 1.96 * each.std() / np.sqrt(50), rel=0.15)


def test_few_demonstrations_are_covered_as_often_as_many():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        chunks = np.repeat(rng.standard_normal(8), 5) + 0.3 * rng.standard_normal(40)
        found = cluster_mean(chunks[None], np.repeat(np.arange(8), 5))
        held += found.low <= 0 <= found.high
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spread", [0.16, 0.8])  # as large as the standard error over demonstrations, and five times
def test_intervals_hold_for_other_probe_seeds(seeds: int, spread: float):
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(400):
        values = rng.standard_normal(40) + spread * rng.standard_normal((seeds, 1))
        found = cluster_mean(values, np.arange(40))
        held += found.low <= 0 <= found.high
    assert held / 400 > 0.93


def test_what_cannot_be_negative_has_no_negative_interval():
    errors = np.zeros((1, 80))
    errors[0, :10] = 1.0  # all of them in one of eight demonstrations
    found = cluster_mean(errors, np.repeat(np.arange(8), 10))
    assert (found.low, found.value) == (0, 0.125)
    assert 0.3 < found.high <= 1


def test_the_interval_covers_probe_seeds_too():
    values = np.random.default_rng(0).standard_normal((3, 200)) * 0.01 + np.array([[0.0], [1.0], [2.0]])
    found = cluster_mean(values, np.arange(200))
    assert found.value == pytest.approx(1.0, abs=0.01)
    assert found.seed_spread == pytest.approx(1.0, abs=0.01)
    assert found.low < 0.5
    assert found.high > 1.5
