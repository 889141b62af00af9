"""Arrays of other people's files, looked at before they are trusted: each complaint names the file, the field, what was
expected, what came and the cure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

BLOCK = 1 << 24
"""Bytes that are looked at at once."""
DRAWN_FROM = "biuf"
"""Kinds of numpy's numbers that are turned into Float32: truth values, whole and real numbers."""


def complaint(where: str, what: str, cure: str) -> ValueError:
    """The error of all readers: place, what is wrong, and what to do."""
    return ValueError(f"{where}: {what}; {cure}")


def check_type(where: str, dtype: np.dtype, kinds: str = DRAWN_FROM) -> None:
    """Raises ValueError unless an array of this type holds plain numbers (or, with other `kinds`, what these say)."""
    if dtype.kind in kinds:
        return
    if dtype.kind == "O":
        cure = "convert it with np.asarray(..., dtype=np.float32) before it is saved"
        raise complaint(where, "expected numbers, got Python objects, which would have to be unpickled", cure)
    wanted = "whole numbers" if kinds == "iu" else "numbers or text" if "U" in kinds else "real numbers"
    raise complaint(where, f"expected {wanted}, got {dtype}", "convert the array before it is saved")


def check_shape(where: str, shape: Sequence[int], expected: Sequence[int | str]) -> None:
    """Raises ValueError unless the shape has the expected lengths; a letter stands for any length from 1 on."""
    fits = len(shape) == len(expected) and all(
        size == wanted if isinstance(wanted, int) else size > 0 for size, wanted in zip(shape, expected, strict=True)
    )
    if not fits:
        told = ", ".join(str(size) for size in expected)
        rows = "; every row belongs to one recorded step" if len(expected) > 1 else ""
        raise complaint(where, f"expected [{told}], got {list(shape)}", f"give the array that shape{rows}")


def blocks(array: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    """The first row's number and the rows of every block, so that arrays larger than memory can be walked through."""
    rows = max(1, BLOCK // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]


def unusable(array: np.ndarray) -> tuple[tuple[int, ...], str, str] | None:
    """Where the first number is that is none, or that Float32 cannot hold, what is wrong with it, and the cure."""
    for start, block in blocks(array):
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(block.astype(np.float32, copy=False)))
        if len(bad):
            value, (row, *rest) = block[tuple(bad[0])], (int(n) for n in bad[0])
            place = (start + row, *rest)
            if np.isfinite(value):
                return place, f"expected at most 3.4e38, the largest Float32, got {value:g}", "choose a larger unit"
            return place, f"expected a number, got {value}", "drop the demonstrations with gaps, or fill them"
    return None


def check_finite(where: str, array: np.ndarray, first: int = 0) -> None:
    """Raises ValueError at the first NaN or infinite number, or one that would be as Float32; rows are counted from
    `first` on."""
    if (found := unusable(array)) is not None:
        (row, *rest), what, cure = found
        raise complaint(f"{where}[{', '.join(map(str, [first + row, *rest]))}]", what, cure)


def ends_of(where: str, episode: Int[np.ndarray, " N"]) -> Int[np.ndarray, " E"]:
    """Where each demonstration ends, from the demonstration of every step.

    Raises ValueError if the steps of a demonstration do not stand together.
    """
    ends = np.append(np.flatnonzero(np.diff(episode)) + 1, len(episode))
    names = episode[ends - 1]
    found, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        again = int(found[counts > 1][0])
        row = int(ends[np.flatnonzero(names == again)[1] - 1])
        raise complaint(
            f"{where}[{row}]",
            f"expected the steps of a demonstration side by side, got {again} a second time",
            "sort the steps by demonstration",
        )
    return ends.astype(np.int64)


def check_ends(where: str, ends: Int[np.ndarray, " E"], steps: int) -> None:
    """Raises ValueError unless `ends` rise to the number of steps."""
    lengths = np.diff(ends, prepend=0)
    if (lengths < 1).any():
        row = int(np.flatnonzero(lengths < 1)[0])
        before = int(ends[row - 1]) if row else 0
        raise complaint(f"{where}[{row}]", f"expected more than {before}, got {int(ends[row])}", "ends are cumulative")
    if int(ends[-1]) != steps:
        raise complaint(
            f"{where}[{len(ends) - 1}]",
            f"expected {steps}, the number of actions, got {int(ends[-1])}",
            "the last demonstration ends with the last action",
        )


def check_tasks(where: str, task: np.ndarray, ends: Int[np.ndarray, " E"]) -> None:
    """Raises ValueError at the first step whose task is not that of its demonstration."""
    lengths = np.diff(ends, prepend=0)
    of_demonstration = np.repeat(task[ends - lengths], lengths)
    wrong = np.flatnonzero(task != of_demonstration)
    if len(wrong):
        row = int(wrong[0])
        what = f"expected {of_demonstration[row]}, the task of its demonstration, got {task[row]}"
        raise complaint(f"{where}[{row}]", what, "a demonstration has one task: end it where the task changes")
