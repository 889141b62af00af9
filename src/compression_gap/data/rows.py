"""Arrays of many files as one, read row by row where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


class Rows:
    """Arrays [M_i, ...] laid end to end, without being copied: `rows[numbers]` are rows of their concatenation.

    The arrays may be memory-mapped, and larger together than memory. With `chosen`, row i is their row chosen[i].
    """

    def __init__(self, parts: Sequence[np.ndarray], chosen: Int[np.ndarray, " N"] | None = None) -> None:
        assert len({(part.dtype, part.shape[1:]) for part in parts}) == 1, "rows of one array are alike"
        self.parts = [np.asarray(part) for part in parts]  # numpy's own class for maps takes its time at every access
        self.starts = np.cumsum([0, *map(len, parts)])
        self.chosen = chosen
        self.dtype = parts[0].dtype
        self.shape = (int(self.starts[-1]) if chosen is None else len(chosen), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Int[np.ndarray, "*shape"]) -> np.ndarray:
        """Rows [*shape, ...], in memory.

        Raises IndexError at a number below 0, which no row of a demonstration has, or too large.
        """
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise IndexError(f"row {numbers.min()} or {numbers.max()} of {len(self)} rows")
        wanted = (numbers if self.chosen is None else self.chosen[numbers]).ravel()
        part = np.searchsorted(self.starts, wanted, side="right") - 1
        out = np.empty((wanted.size, *self.shape[1:]), self.dtype)
        for place, (of, row) in enumerate(zip(part.tolist(), (wanted - self.starts[part]).tolist(), strict=True)):
            out[place] = self.parts[of][row]
        return out.reshape(*numbers.shape, *self.shape[1:])
