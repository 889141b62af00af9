"""Datasets of others as one record: what is read is what was written, and what is wrong is named with its cure."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest
import torch

from compression_gap.data.formats.arrays import read_arrays, read_features
from compression_gap.data.formats.lerobot import STATE, read_lerobot
from compression_gap.data.formats.libero_hdf5 import read_libero
from compression_gap.data.split import TEST, Split
from compression_gap.data.trajectories import Chunking, Trajectories
from datasets import STEPS, STOVE, arrays, motion, write_arrays, write_lerobot, write_libero

EPISODES = 10


def test_arrays_are_read_as_they_were_written(tmp_path: Path):
    fields = arrays(EPISODES)
    found = read_arrays(write_arrays(tmp_path / "own.npz", fields), tmp_path)
    for name in ("action", "state", "features"):
        np.testing.assert_array_equal(getattr(found, name), fields[name])
    assert found.features is not None
    assert found.features.dtype == np.float16
    np.testing.assert_array_equal(found.ends, np.arange(1, EPISODES + 1) * STEPS)
    assert found.tasks == ("lift", "push")
    assert found.task.tolist() == [1, 0] * (EPISODES // 2)
    assert found.names[0] == "x"
    assert found.scale is not None
    assert found.legend.action_scale[:3] == (50.0, 50.0, 50.0)
    assert (found.gripper, found.arm) == ((6,), (0, 1, 2, 3, 4, 5))


def test_ends_are_another_way_to_say_which_steps_belong(tmp_path: Path):
    fields = arrays(EPISODES)
    ends = {**fields, "episode_ends": np.arange(1, EPISODES + 1) * STEPS, "task": np.repeat(fields["task"], STEPS)}
    one = read_arrays(write_arrays(tmp_path / "a.npz", fields), tmp_path)
    other = read_arrays(write_arrays(tmp_path / "b.npz", {k: v for k, v in ends.items() if k != "episode"}), tmp_path)
    np.testing.assert_array_equal(one.ends, other.ends)
    np.testing.assert_array_equal(one.task, other.task)


def test_units_that_nobody_said_are_not_made_up(tmp_path: Path):
    fields = {name: arrays(EPISODES)[name] for name in ("action", "episode")}
    found = read_arrays(write_arrays(tmp_path / "own.npz", fields), tmp_path)
    assert found.scale is None
    assert "x" not in found.legend.action
    assert found.gripper == (6,)  # it takes two values only


def test_what_is_saved_is_loaded(tmp_path: Path):
    found = read_arrays(write_arrays(tmp_path / "own.npz", arrays(EPISODES)), tmp_path)
    (tmp_path / "kept").mkdir()
    found.save(tmp_path / "kept")
    again = Trajectories.load(tmp_path / "kept")
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_lerobot_is_read_in_both_layouts(version: str, tmp_path: Path):
    found = read_lerobot(write_lerobot(tmp_path / "set", version, EPISODES))
    action, goal = motion(EPISODES)
    np.testing.assert_array_equal(found.action, action)
    np.testing.assert_array_equal(found.proprioception, goal)
    assert found.tasks == ("push", "lift")
    assert found.task.tolist() == [0, 1] * (EPISODES // 2)
    assert found.names[:2] == ("x", "y")
    assert found.scale is None
    assert found.gripper == (6,)


@pytest.mark.parametrize("after", [True, False])
def test_libero_pairs_what_was_seen_with_the_next_action(after: bool, tmp_path: Path):
    path = write_libero(tmp_path / "stove_demo.hdf5", EPISODES, after=after)
    found = read_libero([path])
    lag = int(after)
    with h5py.File(path) as file:
        demo = file["data/demo_1"]
        where = slice(STEPS - lag, 2 * (STEPS - lag))
        np.testing.assert_allclose(found.action[where], demo["actions"][lag:], atol=1e-6)
        assert found.proprioception is not None
        np.testing.assert_allclose(found.proprioception[where], demo["robot_states"][: STEPS - lag], atol=1e-6)
        np.testing.assert_allclose(found.proprioception[where, 0], demo["states"][lag:, 7], atol=1e-6)
    assert found.tasks == (STOVE,)
    assert found.state is not None
    clock = np.arange(STEPS)[lag:]  # with which `states` begin
    assert not any(np.allclose(column, clock) for column in found.state[where].T)
    assert ("after" if after else "before") in found.notes[0]


def test_windows_lie_within_demonstrations_and_all_are_kept_up_to_the_cap(tmp_path: Path):
    found = read_arrays(write_arrays(tmp_path / "own.npz", arrays(EPISODES)), tmp_path)
    every = found.windows(Chunking(horizon=16, stride=4))
    assert len(every.start) == every.there == EPISODES * 4
    np.testing.assert_array_equal(every.start // STEPS, (every.start + 15) // STEPS)
    np.testing.assert_array_equal(every.chunks(found)[5], found.action[every.start[5] : every.start[5] + 16])
    few = found.windows(Chunking(horizon=16, stride=4, most=15))
    assert (few.stride, few.there) == (12, 40)
    assert set(few.start) < set(every.start)
    assert set(few.demonstration) == set(range(EPISODES))


def test_every_task_is_in_every_part(tmp_path: Path):
    found = read_arrays(write_arrays(tmp_path / "own.npz", arrays(60)), tmp_path)
    windows = found.windows(Chunking(horizon=16, stride=4))
    for part in range(3):
        assert set(found.task[windows.demonstration[windows.part == part]]) == {0, 1}
    assert len(np.unique(windows.demonstration[windows.part == 2])) == 8


def test_of_few_demonstrations_those_of_every_task_are_tested_on(tmp_path: Path):
    found = read_arrays(write_arrays(tmp_path / "own.npz", arrays(27)), tmp_path)
    found = replace(found, task=(np.arange(27) >= 21).astype(np.int64))
    tested: list[int] = []
    for turn in range(7):
        windows = found.windows(Chunking(horizon=16, stride=4, turn=turn))
        tested += np.unique(windows.demonstration[windows.rows(TEST)]).tolist()
    assert len(tested) == len(set(tested)) == 21
    assert np.bincount(found.task[tested]).min() >= 4


def test_demonstrations_shorter_than_a_chunk_move_no_other_into_another_part(tmp_path: Path):
    fields = arrays(60)
    short = np.repeat(np.isin(np.arange(60), (0, 7, 8, 31)), STEPS)
    kept = ~short | (np.arange(60 * STEPS) % STEPS < 12)
    fields = {name: value[kept] if len(value) == 60 * STEPS else value for name, value in fields.items()}
    windows = read_arrays(write_arrays(tmp_path / "own.npz", fields), tmp_path).windows(Chunking(16, 4))
    assert len(np.unique(windows.demonstration)) == len(np.unique(windows.rank)) == 56
    np.testing.assert_array_equal(Split(torch.from_numpy(windows.rank)).part.numpy(), windows.part)
    assert len(np.unique(windows.demonstration[windows.part == TEST])) == 8
    assert windows.notes == ("4 demonstrations of 60 shorter than 16 steps, a chunk: nothing is measured there",)
    whole = read_arrays(write_arrays(tmp_path / "whole.npz", arrays(60)), tmp_path).windows(Chunking(16, 4))
    assert whole.notes == ()


def test_a_candidate_is_the_own_encoder_where_both_have_not_looked(tmp_path: Path):
    found = read_arrays(write_arrays(tmp_path / "own.npz", arrays(EPISODES)), tmp_path)
    seen = np.random.default_rng(0).normal(size=(len(found.action), 3))
    seen[1::2] = np.nan
    assert replace(found, features=seen, candidate=seen.copy()).candidate_is_own
    assert not replace(found, features=seen, candidate=seen + 1).candidate_is_own


def broken(**changes: Any) -> Callable[[], dict[str, Any]]:
    """Fields with some changed, or left out where None."""

    def fields() -> dict[str, Any]:
        changed = {name: change(arrays(EPISODES)) for name, change in changes.items()}
        return {name: value for name, value in (arrays(EPISODES) | changed).items() if value is not None}

    return fields


def with_gap(fields: dict[str, Any]) -> np.ndarray:
    action = fields["action"].copy()
    action[41, 2] = np.nan
    return action


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (broken(action=with_gap), "own.npz, action[41, 2]: expected a number, got nan; drop the demonstrations"),
        (broken(action=lambda f: f["action"].astype(str)), "action: expected real numbers, got <U"),
        (broken(action=lambda f: f["action"].astype(object)), "action: expected numbers, got Python objects"),
        (broken(action=lambda f: f["action"][:, 0]), "action: expected [N, D], got [300]"),
        (broken(action=lambda f: None, actions=lambda f: f["action"]), "actions: there is no such field; did you mean"),
        (broken(action=lambda f: None), "action: it is missing, there is episode, features"),
        (broken(episode=lambda f: None), "expected either it or episode_ends, got neither"),
        (broken(episode_ends=lambda f: np.array([300])), "expected either it or episode_ends, got both"),
        (
            broken(episode=lambda f: f["episode"] % 5),
            "episode[150]: expected the steps of a demonstration side by side",
        ),
        (broken(episode=lambda f: f["episode"] / 1), "episode: expected whole numbers, got float64"),
        (broken(features=lambda f: f["features"][1:]), "features: expected [300, F], got [299, 10]"),
        (broken(features=lambda f: f["features"] / 0), "features[0, 0]: expected a number, got"),
        (broken(task=lambda f: f["task"][1:]), "task: expected [300], one a step, or [10], one a demonstration"),
        (broken(gripper=lambda f: np.array([7])), "gripper: expected columns 0 to 6, got 7"),
        (broken(names=lambda f: f["names"][[0, 1, 2, 3, 4, 1, 6]]), "names: expected 7 different names, got 'y'"),
        (broken(names=lambda f: np.array(["x", "y", "z", "", "a", "b", "c"])), "expected 7 different names, got ''"),
        (broken(names=lambda f: None), "scale: it has no meaning without names"),
        (
            broken(proprioception=lambda f: np.full((300, 1), 1e300)),
            "proprioception[0, 0]: expected at most 3.4e38, the largest Float32, got 1e+300; choose a larger unit",
        ),
        (
            broken(features=lambda f: np.full((300, 2), -1e200)),
            "features[0, 0]: expected at most 3.4e38, the largest Float32, got -1e+200; choose a larger unit",
        ),
        (
            broken(task=lambda f: np.arange(300) // 45),
            "task[45]: expected 0, the task of its demonstration, got 1; a demonstration has one task",
        ),
    ],
)
def test_what_is_wrong_with_arrays_is_said_with_its_place(
    fields: Callable[[], dict[str, Any]], message: str, tmp_path: Path
):
    with np.errstate(divide="ignore", invalid="ignore"):
        path = write_arrays(tmp_path / "own.npz", fields())
    with pytest.raises(ValueError, match="own") as error:
        read_arrays(path, tmp_path)
    assert message in str(error.value)
    assert "; " in str(error.value)


def test_ends_must_rise_to_the_number_of_steps(tmp_path: Path):
    fields = {"action": arrays(EPISODES)["action"], "episode_ends": np.array([30, 20, 300])}
    with pytest.raises(ValueError, match=r"episode_ends\[1\]: expected more than 30, got 20"):
        read_arrays(write_arrays(tmp_path / "own.npz", fields), tmp_path)
    fields["episode_ends"] = np.array([30, 299])
    with pytest.raises(ValueError, match=r"episode_ends\[1\]: expected 300, the number of actions, got 299"):
        read_arrays(write_arrays(tmp_path / "own.npz", fields), tmp_path)


@pytest.mark.parametrize("half", [False, True])
def test_a_file_that_is_no_npz_or_cut_off_is_said_so(half: bool, tmp_path: Path):
    path = write_arrays(tmp_path / "own.npz", arrays(EPISODES))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if half else b"demonstrations")
    with pytest.raises(ValueError, match=r"own.npz cannot be read .*: it is truncated, or no .npz file"):
        read_arrays(path, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_arrays(tmp_path / "other.npz", tmp_path)


def test_a_member_that_is_no_array_or_damaged_is_named(tmp_path: Path):
    path = write_arrays(tmp_path / "own.npz", arrays(EPISODES))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("action", "left")
    with pytest.raises(ValueError, match=r"own.npz, action: expected only arrays, whose names in the archive end in"):
        read_arrays(path, tmp_path)
    with pytest.raises(ValueError, match=r"own.npz, action: expected only arrays"):
        read_features(path, 300, tmp_path / "out.npy")
    np.savez_compressed(path, **arrays(EPISODES))
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("action.npy").header_offset + 200
    content = bytearray(path.read_bytes())
    content[begin : begin + 400] = b"\xff" * 400
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"own.npz, action: it cannot be read .*; the file is damaged"):
        read_arrays(path, tmp_path)


def test_features_of_another_file_must_match_the_steps(tmp_path: Path):
    np.save(tmp_path / "seen.npy", np.ones((300, 4)))
    assert read_features(tmp_path / "seen.npy", 300, tmp_path / "out.npy").shape == (300, 4)
    with pytest.raises(ValueError, match=r"seen.npy: expected \[299, F\], got \[300, 4\]"):
        read_features(tmp_path / "seen.npy", 299, tmp_path / "out.npy")
    np.save(tmp_path / "huge.npy", np.array([[1.0], [1e200]]))
    with pytest.raises(
        ValueError, match=r"huge.npy\[1, 0\]: expected at most 3.4e38, .*, got 1e\+200; choose a larger"
    ):
        read_features(tmp_path / "huge.npy", 2, tmp_path / "out.npy")
    with pytest.raises(FileNotFoundError, match=r"gone.npy: there is no such file; give an .npy with a row a step"):
        read_features(tmp_path / "gone.npy", 2, tmp_path / "out.npy")
    with pytest.raises(ValueError, match="expected a file of features, got a folder; give"):
        read_features(tmp_path, 2, tmp_path / "out.npy")
    np.save(tmp_path / "objects.npy", np.array([None] * 300), allow_pickle=True)
    with pytest.raises(ValueError, match="holds Python objects"):
        read_features(tmp_path / "objects.npy", 300, tmp_path / "out.npy")


def spoil_info(folder: Path, **changes: Any) -> None:
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def first_file(folder: Path) -> Path:
    return sorted((folder / "data").rglob("*.parquet"))[0]


def change(folder: Path, **columns: pl.Expr) -> None:
    path = first_file(folder)
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


def gap(folder: Path) -> None:
    path = first_file(folder)
    frames = pl.read_parquet(path)
    action = frames["action"].to_list()
    action[3][1] = float("nan")
    frames.with_columns(action=pl.Series(action, dtype=pl.List(pl.Float32))).write_parquet(path)


def shorten(folder: Path) -> None:
    path = first_file(folder)
    frames = pl.read_parquet(path)
    action = frames["action"].to_list()
    action[4] = action[4][:6]
    frames.with_columns(action=pl.Series(action, dtype=pl.List(pl.Float32))).write_parquet(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: spoil_info(f, codebase_version="v1.6"),
            "codebase_version: expected v3.0 or v2.1 or v2.0, got 'v1.6'",
        ),
        (lambda f: (f / "meta/info.json").write_text("{"), "info.json: it cannot be read"),
        (lambda f: first_file(f).write_bytes(first_file(f).read_bytes()[:200]), "file-000.parquet: it cannot be read"),
        (lambda f: first_file(f).unlink(), "expected 300 frames, as meta/info.json says, got 180 in 2 files"),
        (lambda f: change(f, frame_index=pl.col("frame_index") + 1), "expected frame_index 0 of episode 0, got 1"),
        (
            lambda f: change(f, action=pl.lit("left")),
            "file-000.parquet, action: expected vectors of numbers, got String",
        ),
        (
            lambda f: change(f, task_index=pl.lit("push")),
            "file-000.parquet, task_index: expected a whole number in every row, got String with 0 gaps",
        ),
        (
            lambda f: change(f, episode_index=pl.lit(None, dtype=pl.Int64)),
            "file-000.parquet, episode_index: expected a whole number in every row, got Int64 with",
        ),
        (gap, "action[3, 1]: expected a number, got nan"),
        (
            lambda f: change(f, action=pl.lit([1e200] * 7)),
            "action[0, 0]: expected at most 3.4e38, the largest Float32, got 1e+200",
        ),
        (lambda f: change(f, action=pl.lit([], dtype=pl.List(pl.Float32))), "action[0]: expected 7 numbers, got 0"),
        (lambda f: change(f, **{STATE: pl.lit("left")}), "observation.state: expected vectors of numbers, got String"),
        (
            lambda f: pl.read_parquet(first_file(f)).drop(STATE).write_parquet(first_file(f)),
            "data: its files are no parts of one table (",
        ),
        (
            lambda f: change(f, task_index=pl.col("frame_index") // 20),
            "task_index[20]: expected 0, the task of its demonstration, got 1; a demonstration has one task",
        ),
        (lambda f: spoil_info(f, codebase_version=["v3.0"]), "info.json, codebase_version: expected text, got a list"),
        (lambda f: (f / "meta/info.json").write_text("[]"), "info.json: expected an object, got a list"),
        (lambda f: spoil_info(f, total_frames="many"), "total_frames: expected a whole number, got text; download it"),
        (lambda f: spoil_info(f, features=None), "info.json, features: expected an object, got null; download it"),
        (
            lambda f: spoil_info(f, features={"action": {"shape": [6]}}),
            "info.json, features.action.shape: expected [7], got [6]",
        ),
        (lambda f: spoil_info(f, features=[1]), "info.json, features: expected an object, got a list"),
        (lambda f: spoil_info(f, features={"action": 3}), "features.action: expected an object, got a whole number"),
        (
            lambda f: spoil_info(f, features={"action": {"names": "x y z"}}),
            "features.action.names: expected a list of 7 names, or an object with one, got text; write the names there",
        ),
        (
            lambda f: pl.DataFrame({"task": ["push"]}).write_parquet(f / "meta/tasks.parquet"),
            "tasks.parquet: expected whole numbers task_index and a text, there is task String; download it again",
        ),
        (shorten, "action[4]: expected 7 numbers, got 6"),
        (
            lambda f: pl.read_parquet(first_file(f)).rename({"action": "actions"}).write_parquet(first_file(f)),
            "the column action is missing; did you mean 'actions'?",
        ),
    ],
)
def test_what_is_wrong_with_a_lerobot_folder_is_said(spoil: Callable[[Path], Any], message: str, tmp_path: Path):
    folder = write_lerobot(tmp_path / "set", "v3.0", EPISODES)
    spoil(folder)
    with pytest.raises(ValueError, match="set") as error:
        read_lerobot(folder)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "line", ["[0]", "null", '{"task_index": 2}', '{"task_index": "2", "task": "lift"}', "{", "\x00"]
)
def test_an_odd_line_of_tasks_is_named(line: str, tmp_path: Path):
    folder = write_lerobot(tmp_path / "set", "v2.1", EPISODES)
    with (folder / "meta/tasks.jsonl").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(ValueError, match=r"set/meta/tasks.jsonl, line 4: expected .*; download it again"):
        read_lerobot(folder)


def test_another_number_of_names_than_of_values_is_noted(tmp_path: Path):
    folder = write_lerobot(tmp_path / "set", "v3.0", EPISODES)
    spoil_info(folder, features={"action": {"names": ["actions"]}})
    found = read_lerobot(folder)
    assert found.names[0] == "value 0"
    assert found.notes[-1] == "names of actions are left away: meta/info.json has 1 for 7 values"


def test_a_folder_without_a_dataset_is_said_so(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="is no folder of a LeRobot dataset"):
        read_lerobot(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action": motion(3)[0], "episode": np.repeat(np.arange(3), STEPS)}, "at least 7 demonstrations"),
        ({"action": np.ones((300, 7)), "episode": np.repeat(np.arange(10), 30)}, "every action is the same"),
        ({"action": motion(10)[0][:, 6:], "episode": np.repeat(np.arange(10), 30)}, "all action values only switch"),
    ],
)
def test_too_little_to_measure_is_said_before_anything_runs(fields: dict[str, Any], message: str, tmp_path: Path):
    found = read_arrays(write_arrays(tmp_path / "own.npz", fields), tmp_path)
    with pytest.raises(ValueError, match=message):
        found.check()


def test_actions_that_only_switch_are_an_arms_where_somebody_says_so(tmp_path: Path):
    """A robot that is driven by keys."""
    fields = {"action": motion(10)[0][:, 6:], "episode": np.repeat(np.arange(10), 30)}
    keys = read_arrays(write_arrays(tmp_path / "a.npz", {**fields, "gripper": np.zeros(0, dtype=int)}), tmp_path)
    assert (keys.gripper, keys.arm) == ((), (0,))
    with pytest.raises(ValueError, match="save `gripper` with no columns, if these are the arm's"):
        read_arrays(write_arrays(tmp_path / "b.npz", fields), tmp_path).check()


def test_a_horizon_longer_than_every_demonstration_is_refused(tmp_path: Path):
    found = read_arrays(write_arrays(tmp_path / "own.npz", arrays(EPISODES)), tmp_path)
    with pytest.raises(ValueError, match="the longest has 30; choose a --horizon of at most 30"):
        found.windows(Chunking(horizon=31))


def test_one_wrong_bit_anywhere_in_a_parquet_file_is_told_or_harmless(tmp_path: Path):
    folder = write_lerobot(tmp_path / "robot", episodes=4)
    file = next((folder / "data").glob("chunk-*/*.parquet"))
    right, rng, refused = file.read_bytes(), np.random.default_rng(0), 0
    for _ in range(400):
        wrong = bytearray(right)
        wrong[rng.integers(len(right))] ^= 1 << int(rng.integers(8))
        file.write_bytes(wrong)
        try:
            read_lerobot(folder)
        except ValueError:
            refused += 1
    assert 0 < refused < 400
