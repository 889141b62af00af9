"""Windows of demonstrations: what is seen, what follows, and in which order they come."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from compression_gap.data.demos import Demos
from compression_gap.data.features import to_array
from compression_gap.data.windows import Windows, chunks_from, window_frames
from compression_gap.shapes import Batch, ChunkShape

GRIPPER = (1,)


def demos(lengths: list[int], task: int = 0) -> Demos:
    """Two action values: the frame's number (the arm) and its negative (the gripper)."""
    total = sum(lengths)
    number = np.arange(total, dtype=np.float32)
    step = np.concatenate([np.arange(length) for length in lengths] or [np.zeros(0, int)])
    episodes = pl.DataFrame(
        {
            "task": [task] * len(lengths),
            "index": range(len(lengths)),
            "start": np.cumsum([0, *lengths], dtype=np.int64)[:-1],
            "length": np.array(lengths, dtype=np.int64),
            "initial_state": [f"{task}{n}" for n in range(len(lengths))],
        },
        schema_overrides={"task": pl.Int64, "index": pl.Int64},
    )
    return Demos(
        episodes=episodes,
        proprioception=number[:, None],
        state=number[:, None] + 1000,
        stamp=np.stack([np.repeat(np.arange(len(lengths)), lengths), step], axis=1),
        scene=number[:, None].astype(np.float64),
        label=np.stack([number, -number], axis=1),
        executed=np.zeros((total, 2), np.float32),
    )


def windows(data: Demos, *, history: int = 1, held_out: bool = False, stride: int = 1, **frames) -> Windows:
    return Windows(
        data,
        ChunkShape(3, 2),
        history=history,
        stride=stride,
        gripper=GRIPPER,
        held_out=held_out,
        frames=frames.get("frames", {"state": data.state}),
        row_of_frame=frames.get("row_of_frame"),
        crops=frames.get("crops", 1),
    )


def test_history_never_reaches_into_the_episode_before():
    seen = window_frames(demos([3, 4]), np.array([0, 1]), history=3, stride=1)
    assert seen.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4], [3, 4, 5], [4, 5, 6]]


def test_a_stride_leaves_windows_out_and_not_frames():
    assert window_frames(demos([5]), np.array([0]), history=2, stride=2).tolist() == [[0, 0], [1, 2], [3, 4]]


def test_after_the_end_the_arm_rests_and_the_gripper_holds():
    chunks = chunks_from(demos([3, 2]), np.array([0, 1]), horizon=3, stride=2, gripper=GRIPPER)
    assert chunks[..., 0].tolist() == [[0, 1, 2], [2, 0, 0], [3, 4, 0]]
    assert chunks[..., 1].tolist() == [[0, -1, -2], [-2, -2, -2], [-3, -4, -4]]


def test_every_tenth_episode_of_every_task_is_held_out():
    both = Demos.join([demos([2] * 11, task=0), demos([2] * 20, task=1)])
    assert both.rows(held_out=True).tolist() == [9, 20, 30]
    together = np.concatenate([both.rows(held_out=part) for part in (True, False)])
    assert sorted(together) == list(range(31))


def test_joined_demonstrations_keep_their_frames():
    first, second = demos([2, 3]), demos([4], task=1)
    both = Demos.join([first, second])
    assert both.episodes["start"].to_list() == [0, 2, 5]
    assert both.task.tolist() == [0] * 5 + [1] * 4
    assert both.label[5:].tolist() == second.label.tolist()


def test_tasks_whose_scenes_differ_in_size_are_joined():
    first, second = demos([2]), demos([3], task=1)
    wide = replace(second, scene=np.repeat(second.scene, 4, axis=1))
    scene = Demos.join([first, wide, first]).scene
    np.testing.assert_array_equal(scene[:2, :1], first.scene)
    np.testing.assert_array_equal(scene[2:5], wide.scene)
    np.testing.assert_array_equal(scene[5:, :1], first.scene)
    assert np.isnan(scene[:2, 1:]).all()


def test_demonstrations_come_back_from_disk(tmp_path: Path):
    data = demos([2, 3])
    data.save(tmp_path)
    again = Demos.load(tmp_path)
    assert again.episodes.equals(data.episodes)
    assert all(np.array_equal(getattr(again, name), getattr(data, name)) for name in Demos.ARRAYS)


def test_a_batch_shows_each_window_its_own_frames_and_what_follows():
    data = demos([4] * 10)
    batch = windows(data, history=2).at(np.array([5, 0]), epoch=7)
    assert batch.observation["proprioception"][..., 0].tolist() == [[4, 5], [0, 0]]
    assert batch.observation["state"][..., 0].tolist() == [[1004, 1005], [1000, 1000]]
    assert batch.observation["stamp"].tolist() == [[[1, 0, 7], [1, 1, 7]], [[0, 0, 7], [0, 0, 7]]]
    assert batch.target[..., 0].tolist() == [[5, 6, 7], [0, 1, 2]]


def test_stored_features_are_found_by_their_frame():
    data = demos([4] * 10)
    seen = np.unique(window_frames(data, np.arange(10), 1, 2))
    row_of_frame = np.full(40, -1)
    row_of_frame[seen] = np.arange(len(seen))
    features = {"features": 10.0 * seen[:, None, None]}
    batch = windows(data, stride=2, frames=features, row_of_frame=row_of_frame).at(np.arange(18))
    expected = 10 * batch.observation["proprioception"].double()
    assert torch.equal(batch.observation["features"].flatten(1), expected.flatten(1))


def in_crops(crops: int) -> Windows:
    """63 training windows of two frames, whose features say which frame and which crop they are of."""
    frame, crop = np.meshgrid(np.arange(70), np.arange(crops))
    features = np.stack([frame, crop], axis=-1).reshape(crops * 70, 1, 2)
    return windows(demos([7] * 10), history=2, frames={"features": features}, crops=crops)


def seen_crops(batch: Batch) -> Tensor:
    """The crop of every window, of whose frames all are seen in the same."""
    frame, crop = batch.observation["features"].squeeze(2).unbind(-1)
    assert torch.equal(frame.float(), batch.observation["proprioception"].squeeze(2))
    assert torch.equal(crop[:, 0], crop[:, 1])
    return crop[:, 0]


def test_training_sees_a_window_in_another_crop_every_epoch():
    shown = in_crops(3)
    epochs = torch.stack([seen_crops(shown.training_batch(step, 63, seed=2)) for step in range(8)])
    assert torch.bincount(epochs.flatten(), minlength=3).min() > 100  # of 504
    order = [shown.training_batch(step, 63, seed=2).observation["proprioception"][:, 1, 0] for step in range(8)]
    of_window = torch.stack([crops[frames.argsort()] for crops, frames in zip(epochs, order, strict=True)])
    assert all(len(crops.unique()) > 1 for crops in of_window.T)


def test_crops_depend_on_step_and_seed_alone():
    crops = seen_crops(in_crops(3).training_batch(5, 40, seed=2))
    shown = in_crops(3)
    for step in (0, 7):
        shown.training_batch(step, 40, seed=2)
    assert torch.equal(seen_crops(shown.training_batch(5, 40, seed=2)), crops)
    assert not torch.equal(seen_crops(shown.training_batch(6, 40, seed=2)), crops)
    assert not torch.equal(seen_crops(shown.training_batch(5, 40, seed=3)), crops)


def test_windows_are_the_same_however_many_crops_there_are_and_those_asked_for_are_central():
    one, three = (in_crops(crops).training_batch(1, 63, seed=2) for crops in (1, 3))
    assert torch.equal(one.target, three.target)
    assert torch.equal(one.observation["stamp"], three.observation["stamp"])
    assert not seen_crops(one).any()
    assert not seen_crops(in_crops(3).at(np.arange(63))).any()


def test_features_of_16_bits_are_bfloat16():
    features = torch.randn(40, 1, 2)
    batch = windows(demos([4] * 10), frames={"features": to_array(features, "bfloat16")}).at(np.arange(36))
    assert torch.equal(batch.observation["features"][:, 0], features[:36].bfloat16())


def test_an_epoch_shows_every_window_once_and_the_next_in_another_order():
    shown = windows(demos([7] * 10))  # 63 training windows
    batches = [shown.training_batch(step, 21, seed=3) for step in range(6)]
    numbers = [batch.observation["proprioception"].flatten().tolist() for batch in batches]
    first, second = list(chain(*numbers[:3])), list(chain(*numbers[3:]))
    assert sorted(first) == sorted(second) == list(range(63))
    assert first != second
    assert {int(e) for batch in batches[3:] for e in batch.observation["stamp"][..., 2].flatten()} == {1}


def test_a_batch_depends_on_step_and_seed_alone():
    shown = windows(demos([7] * 10))
    before = shown.training_batch(4, 50, seed=3)
    for step in (0, 9, 2):
        shown.training_batch(step, 50, seed=5)
    again = shown.training_batch(4, 50, seed=3)
    assert torch.equal(before.target, again.target)
    assert not torch.equal(before.target, shown.training_batch(4, 50, seed=4).target)


def test_a_batch_may_be_larger_than_an_epoch():
    shown = windows(demos([2] * 10))  # 18 training windows
    epochs = shown.training_batch(0, 40, seed=0).observation["stamp"][:, 0, 2]
    assert epochs.tolist() == [0] * 18 + [1] * 18 + [2] * 4


@pytest.mark.parametrize(("held_out", "part"), [(True, "held out"), (False, "to train on")])
def test_too_few_demonstrations_are_refused(held_out: bool, part: str):
    data = demos([3] * 5) if held_out else demos([])
    with pytest.raises(ValueError, match=f"no demonstrations {part}: {len(data.episodes)} are too few"):
        windows(data, held_out=held_out)
