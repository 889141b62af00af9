"""Demonstrations on disk: what happened frame by frame, and which frames belong to which episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

HELD_OUT_EVERY = 10  # every tenth episode of a task is held out, for every part alike


@dataclass(frozen=True)
class Demos:
    """Successful episodes laid end to end. Arrays have one row a frame (N) and may be memory-mapped."""

    episodes: pl.DataFrame
    """A row an episode: task, index (its number in the protocol), start, length, initial_state (hash)."""
    proprioception: np.ndarray
    """Float32 [N, P]"""
    state: np.ndarray
    """Float32 [N, S], privileged, in the legend's units"""
    stamp: np.ndarray
    """Int64 [N, 2]: episode number, step"""
    scene: np.ndarray
    """Float64 [N, ...]: from this the suite draws the frame"""
    label: np.ndarray
    """Float32 [N, D]: the clean action to imitate"""
    executed: np.ndarray
    """Float32 [N, D]: the action that was executed, with human-like noise"""

    ARRAYS = ("proprioception", "state", "stamp", "scene", "label", "executed")

    @staticmethod
    def dtype(name: str) -> type:
        """What an array is stored as."""
        return {"scene": np.float64, "stamp": np.int64}.get(name, np.float32)

    def save(self, folder: Path) -> None:
        """Writes one .npy an array and episodes.parquet."""
        for name in self.ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        self.episodes.write_parquet(folder / "episodes.parquet")

    @classmethod
    def load(cls, folder: Path) -> Demos:
        """Reads what `save` wrote, memory-mapped."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.ARRAYS}
        return cls(episodes=pl.read_parquet(folder / "episodes.parquet"), **arrays)

    @classmethod
    def join(cls, parts: Sequence[Demos]) -> Demos:
        """The episodes of all parts, laid end to end.

        Where tasks differ in what a scene holds, NaN fills the rest; where they differ in their state, 0, as a suite
        of several tasks shows it.
        """
        if len(parts) == 1:
            return parts[0]
        offsets = np.cumsum([0, *(len(part.label) for part in parts[:-1])])
        episodes = pl.concat(
            [part.episodes.with_columns(pl.col("start") + int(n)) for part, n in zip(parts, offsets, strict=True)]
        )
        fill = {"scene": np.nan}
        arrays = {name: _stack([getattr(part, name) for part in parts], fill.get(name, 0.0)) for name in cls.ARRAYS}
        return cls(episodes=episodes, **arrays)

    def some(self, first: int, count: int) -> Demos:
        """Episodes first .. first + count - 1."""
        rows = self.episodes[first : first + count]
        start, stop = rows["start"][0], rows["start"][-1] + rows["length"][-1]
        arrays = {name: getattr(self, name)[start:stop] for name in self.ARRAYS}
        return Demos(episodes=rows.with_columns(pl.col("start") - start), **arrays)

    def of_task(self, task: int) -> Demos:
        """The same, numbered as another task."""
        return replace(self, episodes=self.episodes.with_columns(pl.lit(task).cast(pl.Int64).alias("task")))

    @property
    def task(self) -> np.ndarray:
        """Int64 [N]: the task of each frame."""
        return np.repeat(self.episodes["task"].to_numpy(), self.episodes["length"].to_numpy()).astype(np.int64)

    def rows(self, *, held_out: bool) -> np.ndarray:
        """Rows of `episodes` that are held out, or those that are not. The split is by episode, never by frame.

        Raises ValueError if there are none.
        """
        order = self.episodes.with_row_index("row").with_columns(pl.int_range(pl.len()).over("task").alias("rank"))
        chosen = order.filter((pl.col("rank") % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == held_out)
        if chosen.is_empty():
            part = "held out" if held_out else "to train on"
            raise ValueError(f"no demonstrations {part}: {self.episodes.height} are too few; 10 a task will do")
        return chosen["row"].to_numpy().astype(np.int64)


def _stack(parts: Sequence[np.ndarray], fill: float) -> np.ndarray:
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    stacked = np.full((sum(map(len, parts)), max(part.shape[1] for part in parts)), fill, dtype=parts[0].dtype)
    for part, start in zip(parts, np.cumsum([0, *map(len, parts)]), strict=False):
        stacked[start : start + len(part), : part.shape[1]] = part
    return stacked
