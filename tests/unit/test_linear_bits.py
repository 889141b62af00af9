"""Bits if everything were normal: right where it is, and bounds where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compression_gap.measures.linear_bits import RowsByPart, blurred_lengths, linear_bits, readout
from compression_gap.measures.quantity import IGNORED

SIGMA = 0.1


def pairs(bits: float, values: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Chunks and features that share so many bits at the resolution, all normal with unit variance."""
    rng = np.random.default_rng(seed)
    remaining = (1 + SIGMA**2) * 2 ** (-2 * bits / values) - SIGMA**2
    told = rng.normal(size=(count, values))
    turn = np.linalg.qr(rng.normal(size=(values, values)))[0]
    chunk = np.sqrt(1 - remaining) * told + np.sqrt(remaining) * rng.normal(size=told.shape)
    return chunk, told @ turn


def measured(chunk: np.ndarray, features: np.ndarray, *further: np.ndarray):
    """Of seven demonstrations of ten chunks five are for fitting."""
    demonstration = np.arange(len(chunk)) // 10
    part = np.maximum(demonstration % 7 - 4, 0)
    rows = RowsByPart(*(np.flatnonzero(part == one) for one in range(3)))
    reads = []
    for inputs in (features, *further):
        both = (torch.from_numpy(array).float() for array in (inputs, chunk))
        reads.append(readout(*both, rows.train, torch.from_numpy(demonstration)).double().numpy())
    return linear_bits(chunk, reads, rows, demonstration, SIGMA)


@pytest.mark.parametrize(("bits", "values"), [(4.0, 8), (16.0, 8), (40.0, 32)])
def test_normal_chunks_have_the_bits_that_are_known(bits: float, values: int):
    found = measured(*pairs(bits, values, 7000))
    assert found.told.value == pytest.approx(bits, rel=0.05)
    assert found.held.value == pytest.approx(values * 0.5 * np.log2((1 + SIGMA**2) / SIGMA**2), rel=0.02)
    assert (found.held.kind, found.left.kind, found.told.kind) == ("upper bound", "upper bound", "estimate")


def test_other_chunks_features_tell_nothing_and_are_ignored():
    chunk, features = pairs(16.0, 8, 700)
    shuffled = features[np.random.default_rng(1).permutation(len(features))]
    assert abs(measured(chunk, shuffled).told.value or 0.0) < 0.3
    one, other = measured(chunk, features), measured(chunk, features, shuffled)
    assert (other.beyond(one).value, other.beyond(one).note) == (None, IGNORED)


def test_the_length_bounds_what_is_not_normal_from_above():
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(4000, 6))  # one bit each, as the noise is small
    lengths = blurred_lengths(signs[:2000], signs[2000:], SIGMA)
    assert lengths.mean() > 6


def test_a_larger_noise_leaves_fewer_bits():
    chunk, _ = pairs(4.0, 8, 1000)
    bits = [blurred_lengths(chunk, chunk, sigma).mean() for sigma in (0.01, 0.1, 1.0)]
    assert bits == sorted(bits, reverse=True)
