"""Plain arrays in an .npz file: the format for whoever has none of the others. Written by `np.savez`, read without
unpickling anything.

    action          [N, D]   numbers: what was commanded at every step, demonstrations one after the other
    episode         [N]      whole numbers: which demonstration a step belongs to; or instead
    episode_ends    [E]      whole numbers: where each demonstration ends, cumulative, the last is N
    proprioception  [N, P]   optional: what the robot feels of itself before the action
    state           [N, S]   optional: the true state before the action, which no camera told
    features        [N, F]   optional: what an encoder makes of the pictures before the action
    candidate       [N, G]   optional: what another encoder makes of them, which might take the first one's place
    task            [N] or [E]   optional: whole numbers or text
    names           [D]      optional text: names of the action values
    scale           [D]      optional: how many mm or degrees an action of 1 is; needs `names`, in which x, y, z move
                             the arm and roll, pitch, yaw turn it, as differences
    gripper         [G]      optional whole numbers: which action values open and close grippers; without it, those that
                             take only two or three different values
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from compression_gap.config import closest
from compression_gap.data.checked import (
    BLOCK,
    DRAWN_FROM,
    check_ends,
    check_finite,
    check_shape,
    check_tasks,
    check_type,
    complaint,
    ends_of,
)
from compression_gap.data.trajectories import Trajectories, numbered, switching_columns

STEPS, LARGE = ("proprioception", "state"), ("features", "candidate")
FIELDS = ("action", "episode", "episode_ends", *STEPS, *LARGE, "task", "names", "scale", "gripper")


UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
"""What a damaged, encrypted or strangely packed member of an archive raises."""


class Archive:
    """An open .npz. Raises ValueError naming file and field for whatever is not as it says above."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        for name in archive.namelist():
            if not name.endswith(".npy"):
                what = "expected only arrays, whose names in the archive end in .npy"
                raise self.error(name, what, "save the file again with np.savez")
        self.fields = {name.removesuffix(".npy") for name in archive.namelist()}

    def check_fields(self) -> None:
        """Raises ValueError for what is missing, said twice or unknown."""
        for name in sorted(self.fields - set(FIELDS)):
            raise self.error(name, f"there is no such field; {closest(name, FIELDS)}", "rename it or leave it out")
        if "action" not in self.fields:
            told = ", ".join(sorted(self.fields)) or "nothing"
            raise self.error("action", f"it is missing, there is {told}", "save the commands as action [N, D]")
        if ("episode" in self.fields) == ("episode_ends" in self.fields):
            got = "both" if "episode" in self.fields else "neither"
            raise self.error("episode", f"expected either it or episode_ends, got {got}", "say once which steps belong")

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type, without reading the numbers."""
        with self._member(name) as (_, shape, _, dtype):
            return shape, dtype

    def read(self, name: str, expected: tuple[int | str, ...], kinds: str = DRAWN_FROM) -> np.ndarray:
        """An array of the expected shape; numbers come as Float32, except whole numbers where only these are meant."""
        shape, dtype = self.header(name)
        where = f"{self.path}, {name}"
        check_type(where, dtype, kinds)
        check_shape(where, shape, expected)
        with self._member(name) as (member, _, fortran, _):
            values = np.frombuffer(self._bytes(member, name, shape, dtype), dtype)
        values = values.reshape(shape, order="F" if fortran else "C")
        if kinds == DRAWN_FROM:
            check_finite(where, values)
            return np.ascontiguousarray(values, dtype=np.float32)
        return values

    def copy(self, name: str, expected: tuple[int | str, ...], out: Path) -> np.ndarray:
        """An array that may be larger than memory, block by block into an .npy file; returned memory-mapped."""
        shape, dtype = self.header(name)
        where = f"{self.path}, {name}"
        check_type(where, dtype)
        check_shape(where, shape, expected)
        kept = dtype.newbyteorder("=") if dtype.kind == "f" and dtype.itemsize <= 4 else np.dtype(np.float32)
        with self._member(name) as (member, _, fortran, _):
            if fortran:
                raise self.error(name, "its columns lie one after the other", "save np.ascontiguousarray(features)")
            array = np.lib.format.open_memmap(out, "w+", kept, shape)
            row = int(np.prod(shape[1:])) * dtype.itemsize
            size = max(1, BLOCK // max(1, row))
            for first in range(0, shape[0], size):
                count = min(size, shape[0] - first)
                block = np.frombuffer(self._bytes(member, name, (count, *shape[1:]), dtype), dtype)
                block = block.reshape(count, *shape[1:])
                check_finite(where, block, first)
                array[first : first + count] = block
            array.flush()
        return np.load(out, mmap_mode="r")

    def error(self, name: str, what: str, cure: str) -> ValueError:
        return complaint(f"{self.path}, {name}", what, cure)

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[Any, tuple[int, ...], bool, np.dtype]]:
        try:
            with self._archive.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                first = version == (1, 0)
                read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(member)
                yield member, shape, fortran, dtype
        except UNREADABLE as error:
            raise self.error(name, f"it cannot be read ({error})", "the file is damaged: save it again") from error
        except ValueError as error:
            if str(error).startswith(str(self.path)):
                raise
            raise self.error(name, f"it is no array ({error})", "save it again with np.savez") from error

    def _bytes(self, member: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> bytes:
        wanted = int(np.prod(shape)) * dtype.itemsize
        found = member.read(wanted)
        if len(found) < wanted:
            raise self.error(name, f"expected {wanted} bytes of numbers, got {len(found)}", "save the file again")
        return found


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Opens an .npz. Raises FileNotFoundError, or ValueError if it is none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): it is truncated, or no .npz file; save it again") from error
    with archive:
        yield Archive(path, archive)


def read_arrays(path: Path, folder: Path) -> Trajectories:
    """Reads a file; features, which may be large, are copied to `folder`."""
    with open_archive(path) as archive:
        archive.check_fields()
        action = archive.read("action", ("N", "D"))
        steps, width = action.shape
        ends = _ends(archive, steps)
        found = {name: archive.read(name, (steps, "width")) for name in STEPS if name in archive.fields}
        for name in LARGE:
            if name in archive.fields:
                found[name] = archive.copy(name, (steps, "F"), folder / f"{name}.npy")
        task, tasks = _tasks(archive, steps, ends)
        names, scale, gripper = _meaning(archive, action)
    assert len(names) == width, "_meaning says so"
    return Trajectories(
        source="plain arrays",
        action=action,
        ends=ends,
        names=names,
        scale=scale,
        gripper=gripper,
        task=task,
        tasks=tasks,
        proprioception=found.get("proprioception"),
        state=found.get("state"),
        features=found.get("features"),
        candidate=found.get("candidate"),
    )


def read_features(path: Path, steps: int, out: Path) -> np.ndarray:
    """Features [N, F] of an .npy file, or of the field `features` of an .npz; copied to the .npy file `out`.

    Raises FileNotFoundError, or ValueError naming the file and the cure if they do not match the steps or are not
    finite.
    """
    check_is_features(path)
    if path.suffix == ".npz":
        with open_archive(path) as archive:
            if "features" not in archive.fields:
                told = ", ".join(sorted(archive.fields)) or "nothing"
                raise archive.error("features", f"it is missing, there is {told}", "save them as features [N, F]")
            return archive.copy("features", (steps, "F"), out)
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): it is truncated, holds Python objects, or is no .npy file; save it "
            "again as numbers"
        ) from error
    check_type(str(path), stored.dtype)
    check_shape(str(path), stored.shape, (steps, "F"))
    check_finite(str(path), stored)
    kept = stored.dtype.newbyteorder("=") if stored.dtype.kind == "f" and stored.dtype.itemsize <= 4 else np.float32
    np.save(out, np.asarray(stored, dtype=kept, order="C"))
    return np.load(out, mmap_mode="r")


def check_is_features(path: Path) -> None:
    """Raises FileNotFoundError or ValueError with the cure unless this is a file that may hold features."""
    cure = "give an .npy with a row a step, or an .npz with the field `features`"
    if path.is_dir():
        raise complaint(str(path), "expected a file of features, got a folder", cure)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; {cure}")


def _ends(archive: Archive, steps: int) -> np.ndarray:
    if "episode" in archive.fields:
        return ends_of(f"{archive.path}, episode", archive.read("episode", (steps,), "iu").astype(np.int64))
    ends = archive.read("episode_ends", ("E",), "iu").astype(np.int64)
    check_ends(f"{archive.path}, episode_ends", ends, steps)
    return ends


def _tasks(archive: Archive, steps: int, ends: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The task of each demonstration."""
    if "task" not in archive.fields:
        return np.zeros(len(ends), dtype=np.int64), ("task",)
    shape, _ = archive.header("task")
    if shape not in ((steps,), (len(ends),)):
        expected = f"[{steps}], one a step, or [{len(ends)}], one a demonstration"
        raise archive.error("task", f"expected {expected}, got {list(shape)}", "say of each which task it is")
    task = archive.read("task", shape, "iuU")
    if shape == (steps,) and steps != len(ends):
        check_tasks(f"{archive.path}, task", task, ends)
        task = task[ends - 1]
    number, names = numbered([str(one) for one in task])
    return number, names


def _meaning(archive: Archive, action: np.ndarray) -> tuple[tuple[str, ...], tuple[float, ...] | None, tuple[int, ...]]:
    """Names, units and grippers of the action values."""
    width, given = action.shape[1], archive.fields
    names = tuple(f"value {d}" for d in range(width))
    if "names" in given:
        names = tuple(str(name) for name in archive.read("names", (width,), "U"))
        if wrong := [name for name in names if not name.strip() or names.count(name) > 1]:
            raise archive.error("names", f"expected {width} different names, got {wrong[0]!r}", "name every value once")
    scale = None
    if "scale" in given:
        if "names" not in given:
            raise archive.error("scale", "it has no meaning without names", "save names [D] too")
        scale = tuple(float(size) for size in archive.read("scale", (width,)))
        if min(scale) <= 0:
            raise archive.error("scale", f"expected sizes above 0, got {min(scale):g}", "give the mm or degrees of a 1")
    gripper = switching_columns(action)
    if "gripper" in given:
        none = archive.header("gripper")[0] == (0,)  # somebody says that there is none
        found = np.zeros(0, dtype=np.int64) if none else archive.read("gripper", ("G",), "iu")
        wrong = [int(d) for d in found if not 0 <= d < width]
        if wrong:
            raise archive.error("gripper", f"expected columns 0 to {width - 1}, got {wrong[0]}", "count from 0")
        gripper = tuple(sorted({int(d) for d in found}))
    return names, scale, gripper
