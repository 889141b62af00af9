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
from compression_gap.data.checked import check_finite, complaint, ends_of
from compression_gap.data.trajectories import Trajectories, switches

VERSIONS = {"v3.0": "meta/tasks.parquet", "v2.1": "meta/tasks.jsonl", "v2.0": "meta/tasks.jsonl"}
INFO, ACTION, STATE = "meta/info.json", "action", "observation.state"
ROWS = ("episode_index", "frame_index", "task_index")


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
    frames = pl.concat([_frames(path) for path in files], how="vertical_relaxed").sort("episode_index", "frame_index")
    if "total_frames" in info and info["total_frames"] != frames.height:
        what = f"expected {info['total_frames']} frames, as {INFO} says, got {frames.height} in {len(files)} files"
        raise complaint(str(folder), what, "a file of data/ is missing: download the dataset again")
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
    task, tasks = _tasks(folder, info, frames["task_index"].to_numpy()[starts])
    return Trajectories(
        source=f"LeRobot {info['codebase_version']}",
        action=action,
        ends=ends,
        names=_names(info, action.shape[1]),
        scale=None,
        gripper=switches(action),
        task=task,
        tasks=tasks,
        proprioception=state,
        notes=(f"{STATE} is taken for what the robot feels of itself",) if state is not None else (),
    )


def _info(folder: Path) -> dict[str, Any]:
    path = folder / INFO
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file, so {folder} is no folder of a LeRobot dataset")
    try:
        info = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise complaint(str(path), f"it cannot be read ({error})", "download it again") from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version not in VERSIONS:
        cure = "convert the dataset with LeRobot's own scripts to v3.0"
        raise complaint(f"{path}, codebase_version", f"expected {' or '.join(VERSIONS)}, got {version!r}", cure)
    return info


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
    except (pl.exceptions.PolarsError, OSError) as error:
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
        counts = column.list.len() if isinstance(column.dtype, pl.List) else column.arr.len()
        wrong = np.flatnonzero((counts.fill_null(0) != counts.drop_nulls()[0]).to_numpy()) if len(counts) else []
        if len(wrong):
            row, width = int(wrong[0]), counts.drop_nulls()[0]
            got = "nothing" if column[row] is None else str(len(column[row]))
            raise complaint(f"{where}[{row}]", f"expected {width} numbers, got {got}", "repair that frame")
        values = column.explode().cast(pl.Float32).to_numpy().reshape(len(column), -1)
    else:
        values = column.cast(pl.Float32).to_numpy()[:, None]
    check_finite(where, values)
    return np.ascontiguousarray(values, dtype=np.float32)


def _names(info: dict[str, Any], width: int) -> tuple[str, ...]:
    """Of the action values, as the dataset calls them: a list, or a dict with one."""
    told = info.get("features", {}).get(ACTION, {}).get("names")
    if isinstance(told, dict):
        told = next((value for value in told.values() if isinstance(value, list)), list(told))
    if isinstance(told, list) and len(told) == width:
        return tuple(str(name) for name in told)
    return tuple(f"value {d}" for d in range(width))


def _tasks(folder: Path, info: dict[str, Any], index: Sequence[int] | np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The task of each episode as a number from 0 on, and the tasks' names."""
    used, number = np.unique(np.asarray(index), return_inverse=True)
    names = _task_names(folder / VERSIONS[info["codebase_version"]])
    return number.astype(np.int64), tuple(names.get(int(one), f"task {one}") for one in used)


def _task_names(path: Path) -> dict[int, str]:
    """By task_index; in Parquet the text is the index of the table, which pandas calls `__index_level_0__`."""
    if not path.exists():
        return {}
    try:
        if path.suffix == ".parquet":
            told = pl.read_parquet(path)
            text = next(name for name, kind in told.schema.items() if kind == pl.String)
            return dict(zip(told["task_index"].to_list(), told[text].to_list(), strict=True))
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        return {int(row["task_index"]): str(row["task"]) for row in rows}
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, StopIteration) as error:
        raise complaint(str(path), f"it cannot be read ({error})", "download it again") from error
