"""Arrays of many files as one, read row by row where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from numpy.lib.stride_tricks import as_strided


class Rows:
    """Arrays [M_i, ...] laid end to end without being copied: `rows[numbers]` are rows of their concatenation.

    The arrays may be memory-mapped, and larger together than memory. With `chosen`, row i is their row chosen[i].
    """

    def __init__(self, parts: Sequence[np.ndarray], chosen: Int[np.ndarray, " N"] | None = None) -> None:
        assert len({(part.dtype, part.shape[1:]) for part in parts}) == 1, "the rows of one array are alike"
        assert all(part.flags.c_contiguous and part.flags.aligned for part in parts), "a row is one piece of memory"
        self.parts = parts
        self.dtype, size = parts[0].dtype, int(np.prod(parts[0].shape[1:]))
        addresses = np.array([part.ctypes.data for part in parts])
        nearest = int(addresses.argmin())
        places = (addresses - addresses[nearest]) // self.dtype.itemsize
        starts = [place + size * np.arange(len(part)) for place, part in zip(places, parts, strict=True)]
        self._starts = np.concatenate(starts) if chosen is None else np.concatenate(starts)[chosen]
        # All of memory from the lowest array on, as pieces of a row's length, one beginning at every number. Where rows
        # begin is known, so no other piece is touched, and numpy gathers the rows of all arrays at once: a loop over
        # them takes twice as long.
        last, number = int(self._starts.max(initial=-1)), self.dtype.itemsize
        pieces = as_strided(parts[nearest], (last + 1, size), (number, number), writeable=False)
        self._pieces = pieces.view(np.dtype((np.void, size * number)))[:, 0]
        self.shape = (len(self._starts), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Int[np.ndarray, "*shape"]) -> np.ndarray:
        """Copies of some rows, [*shape, ...]. Raises IndexError if there is no such row."""
        return self._pieces[self._starts[numbers]].view(self.dtype).reshape(*numbers.shape, *self.shape[1:])
