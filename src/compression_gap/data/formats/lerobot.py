"""The folder of a LeRobot dataset, version 3.0 or 2.1: actions, the robot's own state and tasks. No video is opened.

Conventions of the format: a row of `observation.state` and `action` is of the moment before the action; the state is
what the robot feels of itself, not where things are. Version 3.0 has many episodes a file and its tasks in Parquet, 2.1
one episode a file and its tasks in JSON lines. What an action of 1 is in mm is said nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from compression_gap.config import closest
from compression_gap.data.checked import check_finite, check_tasks, complaint, ends_of
from compression_gap.data.trajectories import Trajectories, switching_columns

VERSIONS = {"v3.0": "meta/tasks.parquet", "v2.1": "meta/tasks.jsonl", "v2.0": "meta/tasks.jsonl"}
INFO, ACTION, STATE = "meta/info.json", "action", "observation.state"
ROWS = ("episode_index", "frame_index", "task_index")
JSON: dict[type, str] = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}
JSON |= {bool: "true or false", type(None): "null"}
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What polars raises for a damaged file; the second is no Exception, and comes of some single wrong bits."""
LONGEST = 60  # letters of a line that a message repeats


def lerobot_files(folder: Path) -> list[Path]:
    """The files that are read, in order. Raises ValueError or FileNotFoundError if this is no such folder."""
    version = _info(folder)["codebase_version"]
    data = sorted((folder / "data").glob("chunk-*/*.parquet"))
    if not data:
        cure = "download it too: huggingface-cli download --repo-type dataset NAME --include 'data/*' 'meta/*'"
        raise complaint(str(folder / "data"), "expected chunk-000/*.parquet, got none", cure)
    tasks = folder / VERSIONS[version]
    return [folder / INFO, *([tasks] if tasks.exists() else []), *data]


def read_lerobot(folder: Path) -> Trajectories:
    """Reads actions, state and tasks of all episodes."""
    info, files = _info(folder), [path for path in lerobot_files(folder) if path.parent.parent.name == "data"]
    try:
        frames = pl.concat([_frames(path) for path in files], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        what = f"its files are no parts of one table ({str(error).splitlines()[0]})"
        raise complaint(str(folder / "data"), what, "download the dataset again") from error
    frames = frames.sort("episode_index", "frame_index")
    total = _told(folder, info, int, "total_frames")
    if total is not None and total != frames.height:
        what = f"expected {total} frames, as {INFO} says, got {frames.height} in {len(files)} files"
        raise complaint(str(folder), what, "a file of data/ is missing: download the dataset again")
    if not frames.height:
        raise complaint(str(folder / "data"), "expected frames, got none", "download the dataset again")
    episode = frames["episode_index"].to_numpy()
    ends = ends_of(f"{folder}, episode_index", episode)
    starts = np.concatenate([[0], ends[:-1]])
    count = np.arange(len(episode)) - np.repeat(starts, np.diff(ends, prepend=0))
    wrong = np.flatnonzero(frames["frame_index"].to_numpy() != count)
    if len(wrong):
        row = int(wrong[0])
        what = f"expected frame_index {count[row]} of episode {episode[row]}, got {frames['frame_index'][row]}"
        raise complaint(str(folder), what, "frames are missing or double: download the dataset again")
    action = _vectors(frames, ACTION, str(folder))
    state = _vectors(frames, STATE, str(folder)) if STATE in frames.columns else None
    of_step = frames["task_index"].to_numpy()
    check_tasks(f"{folder}, task_index", of_step, ends)
    task, tasks = _tasks(folder, info, of_step[starts])
    names, left_away = _names(folder, info, action.shape[1])
    felt = (f"{STATE} is taken for what the robot feels of itself",) if state is not None else ()
    return Trajectories(
        source=f"LeRobot {info['codebase_version']}",
        action=action,
        ends=ends,
        names=names,
        scale=None,
        gripper=switching_columns(action),
        task=task,
        tasks=tasks,
        proprioception=state,
        notes=(*felt, *left_away),
    )


def _info(folder: Path) -> dict[str, Any]:
    path = folder / INFO
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file, so {folder} is no folder of a LeRobot dataset")
    try:
        info = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise complaint(str(path), f"it cannot be read ({error})", "download it again") from error
    if not isinstance(info, dict):
        raise complaint(str(path), f"expected an object, got {JSON[type(info)]}", "download it again")
    version = _told(folder, info, str, "codebase_version")
    if version not in VERSIONS:
        cure = "convert the dataset with LeRobot's own scripts to v3.0"
        raise complaint(f"{path}, codebase_version", f"expected {' or '.join(VERSIONS)}, got {version!r}", cure)
    return info


def _told(folder: Path, info: dict[str, Any], kind: type, *place: str) -> Any:
    """What the description of the dataset says at a place; None where it says nothing.

    Raises ValueError if something else than this kind stands there, or no object on the way to it.
    """
    found: Any = info
    for depth, name in enumerate(place, 1):
        if name not in found:
            return None
        found, wanted = found[name], kind if depth == len(place) else dict
        if type(found) is not wanted:
            what = f"expected {JSON[wanted]}, got {JSON[type(found)]}"
            cure = "download it again, or leave the entry out"
            raise complaint(f"{folder / INFO}, {'.'.join(place[:depth])}", what, cure)
    return found


def _frames(path: Path) -> pl.DataFrame:
    """The columns that are read, of one file."""
    try:
        there = pl.read_parquet_schema(path)
        missing = [name for name in (ACTION, *ROWS[:2]) if name not in there]
        if missing:
            what = f"the column {missing[0]} is missing; {closest(missing[0], there)}"
            raise complaint(str(path), what, "is this a dataset of actions?")
        optional = [name for name in (STATE, ROWS[2]) if name in there]
        frames = pl.read_parquet(path, columns=[ACTION, *ROWS[:2], *optional])
    except UNREADABLE as error:
        told = str(error).splitlines()[0]
        raise complaint(str(path), f"it cannot be read ({told})", "it is truncated: download it again") from error
    for name in (name for name in ROWS if name in frames.columns):
        if not there[name].is_integer() or frames[name].null_count():
            what = f"expected a whole number in every row, got {there[name]} with {frames[name].null_count()} gaps"
            raise complaint(f"{path}, {name}", what, "convert the dataset with LeRobot's own scripts")
    for name in (ACTION, *(name for name in optional if name == STATE)):
        kind = there[name]
        inner = kind.inner if isinstance(kind, pl.List | pl.Array) else kind
        if inner is None or not inner.is_numeric():
            raise complaint(f"{path}, {name}", f"expected vectors of numbers, got {kind}", "convert it to float32")
    if ROWS[2] not in optional:
        frames = frames.with_columns(pl.lit(0, dtype=pl.Int64).alias(ROWS[2]))
    return frames.with_columns(pl.col(name).cast(pl.Int64) for name in ROWS)


def _vectors(frames: pl.DataFrame, name: str, folder: str) -> np.ndarray:
    """A column of vectors, or of single numbers, as Float32 [N, width]."""
    column, where = frames[name], f"{folder}, {name}"
    if isinstance(column.dtype, pl.List | pl.Array):
        lengths = column.list.len() if isinstance(column.dtype, pl.List) else column.arr.len()
        counts = lengths.fill_null(0).to_numpy()
        width = max(1, int(counts[np.argmax(counts > 0)]))
        wrong = np.flatnonzero(counts != width)
        if len(wrong):
            row = int(wrong[0])
            got = "nothing" if column[row] is None else str(len(column[row]))
            raise complaint(f"{where}[{row}]", f"expected {width} numbers, got {got}", "repair that frame")
        values = column.explode().cast(pl.Float64).to_numpy().reshape(len(column), -1)
    else:
        values = column.cast(pl.Float64).to_numpy()[:, None]
    check_finite(where, values)
    return np.ascontiguousarray(values, dtype=np.float32)


def _names(folder: Path, info: dict[str, Any], width: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the action values, as the dataset calls them, and a note where it calls another number of them.

    Raises ValueError unless they are a list, or an object with one, or if the dataset means another number of values.
    """
    place = ("features", ACTION, "names")
    feature = _told(folder, info, dict, *place[:2]) or {}
    if feature.get("shape") not in (None, [width]):
        where, what = f"{folder / INFO}, features.{ACTION}.shape", f"expected [{width}], got {feature['shape']}"
        raise complaint(where, f"{what}: the actions that are there are not those", "download the dataset again")
    told = feature.get(place[2])
    if isinstance(told, dict):
        told = next((value for value in told.values() if isinstance(value, list)), list(told))
    if told is not None and not isinstance(told, list):
        what = f"expected a list of {width} names, or an object with one, got {JSON[type(told)]}"
        raise complaint(f"{folder / INFO}, {'.'.join(place)}", what, "write the names there, or null")
    if told is not None and len(told) == width:
        return tuple(str(name) for name in told), ()
    note = f"names of actions are left away: {INFO} has {len(told)} for {width} values" if told else ""
    return tuple(f"value {d}" for d in range(width)), (note,) if note else ()


def _tasks(folder: Path, info: dict[str, Any], index: Sequence[int] | np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The task of each episode as a number from 0 on, and the tasks' names."""
    used, number = np.unique(np.asarray(index), return_inverse=True)
    names = _task_names(folder / VERSIONS[info["codebase_version"]])
    return number.astype(np.int64), tuple(names.get(int(one), f"task {one}") for one in used)


def _task_names(path: Path) -> dict[int, str]:
    """By task_index; in Parquet the text is the index of the table, which pandas calls `__index_level_0__`."""
    if not path.exists():
        return {}
    cure = "download it again"
    try:
        if path.suffix == ".parquet":
            told = pl.read_parquet(path)
            text = next((name for name, kind in told.schema.items() if kind == pl.String), None)
            if text is None or not told.schema.get("task_index", pl.Null()).is_integer():
                there = ", ".join(f"{name} {kind}" for name, kind in told.schema.items()) or "nothing"
                raise complaint(str(path), f"expected whole numbers task_index and a text, there is {there}", cure)
            return dict(zip(told["task_index"].to_list(), told[text].to_list(), strict=True))
        lines = path.read_text("utf-8").splitlines()
    except (*UNREADABLE, UnicodeDecodeError) as error:
        raise complaint(str(path), f"it cannot be read ({error})", cure) from error
    names: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = _row(line)
            if row is None:
                what = 'expected {"task_index": a whole number, "task": text}, got ' + repr(line[:LONGEST])
                raise complaint(f"{path}, line {number}", what, cure)
            names |= row
    return names


def _row(line: str) -> dict[int, str] | None:
    """A line of tasks.jsonl; None if it is none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    number, name = (row.get("task_index"), row.get("task")) if isinstance(row, dict) else (None, None)
    return {number: name} if type(number) is int and isinstance(name, str) else None
