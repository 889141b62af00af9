"""Plain arrays, whatever they hold: they come back as they are, or the error names file and field."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from compression_gap.data.formats.arrays import FIELDS, read_arrays
from compression_gap.data.trajectories import Chunking

NUMBERS = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.uint16, np.bool_])
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=12)


@given(lengths=LENGTHS, dtype=NUMBERS, width=st.integers(1, 4), data=st.data())
def test_every_kind_of_number_comes_back(lengths: list[int], dtype: type, width: int, data: st.DataObject):
    finite = {"allow_nan": False, "allow_infinity": False, "width": 16} if np.dtype(dtype).kind == "f" else None
    elements = st.floats(**finite) if finite else None
    action = data.draw(arrays(dtype, (sum(lengths), width), elements=elements))
    named = data.draw(st.permutations(range(len(lengths))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.npz"
        np.savez(path, action=action, episode=np.repeat(named, lengths), features=action)
        found = read_arrays(path, Path(folder))
        np.testing.assert_array_equal(found.action, action.astype(np.float32))
        np.testing.assert_array_equal(found.features, action.astype(found.features.dtype))
        np.testing.assert_array_equal(np.diff(found.ends, prepend=0), lengths)


@given(name=st.sampled_from(FIELDS), shape=array_shapes(max_dims=3, max_side=6), dtype=NUMBERS)
def test_any_array_in_any_field_is_read_or_named(name: str, shape: tuple[int, ...], dtype: type):
    fields = {"action": np.arange(24.0).reshape(12, 2), "episode": np.repeat(np.arange(4), 3)}
    if name == "episode_ends":
        del fields["episode"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.npz"
        np.savez(path, **{**fields, name: np.zeros(shape, dtype)})
        said = f"{path}, ...; ..."
        try:
            read_arrays(path, Path(folder))
        except ValueError as error:
            said = str(error)
        assert said.startswith(f"{path}, ")
        assert "; " in said


@given(lengths=st.lists(st.integers(8, 40), min_size=7, max_size=20), stride=st.integers(1, 9), most=st.integers(1, 60))
def test_windows_stay_inside_and_every_demonstration_keeps_one(lengths: list[int], stride: int, most: int):
    fields = {"action": np.random.default_rng(0).normal(size=(sum(lengths), 2)), "episode_ends": np.cumsum(lengths)}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "own.npz", **fields)
        found = read_arrays(Path(folder) / "own.npz", Path(folder))
    windows = found.windows(Chunking(horizon=8, stride=stride, most=most))
    assert set(windows.demonstration) == set(range(len(lengths)))
    assert (windows.start >= found.starts[windows.demonstration]).all()
    assert (windows.start + 8 <= found.ends[windows.demonstration]).all()
    assert len(windows.start) <= max(most, 0) + len(lengths)
