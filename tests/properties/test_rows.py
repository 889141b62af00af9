"""Rows of many arrays are those of their concatenation, and stored features are the nearest numbers that fit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from compression_gap.data.features import to_array, to_tensor
from compression_gap.data.rows import Rows

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=5)
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
DTYPES = st.sampled_from([np.uint8, np.uint16, np.float32, np.int64])
BITS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20)


def on_disk(array: np.ndarray, path: Path) -> np.memmap:
    np.save(path, array)
    return np.load(path, mmap_mode="r")


@given(LENGTHS, SHAPES, DTYPES, st.data())
def test_rows_of_many_files_are_those_of_their_concatenation(lengths, shape, dtype, data):
    with TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        arrays = [rng.integers(200, size=(length, *shape)).astype(dtype) for length in lengths]
        rows = Rows([on_disk(array, Path(folder, f"{i}.npy")) for i, array in enumerate(arrays)])
        whole = np.concatenate(arrays)
        assert (rows.shape, rows.dtype, len(rows)) == (whole.shape, whole.dtype, len(whole))
        assume(len(whole))
        some = st.lists(st.integers(0, len(whole) - 1), max_size=12)
        numbers = np.array(data.draw(some), dtype=np.int64)
        np.testing.assert_array_equal(rows[numbers], whole[numbers])
        windows = np.stack([numbers, numbers[::-1]], axis=1)
        np.testing.assert_array_equal(rows[windows], whole[windows])
        chosen = np.array(data.draw(some), dtype=np.int64)
        np.testing.assert_array_equal(Rows(rows.parts, chosen)[np.arange(len(chosen))], whole[chosen])


@given(BITS)
def test_a_feature_comes_back_as_the_nearest_bfloat16_and_float32_as_it_was(bits):
    features = torch.from_numpy(np.array(bits, dtype=np.uint32).view(np.float32))
    assume(features.isfinite().all())
    assert torch.equal(to_tensor(to_array(features, "float32")), features)
    stored = to_array(features, "bfloat16")
    assert (stored.dtype, stored.nbytes) == (np.uint16, 2 * len(bits))
    back = to_tensor(stored)
    assert torch.equal(back, features.bfloat16())
    np.testing.assert_array_equal(to_array(back.float(), "bfloat16"), stored)
    normal = features.abs().double().clamp(min=2.0**-126)  # below, bfloat16's own steps no longer shrink
    assert (((back.double() - features.double()).abs() <= normal * 2.0**-8) | back.isinf()).all()
