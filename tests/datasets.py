"""Small datasets in other people's formats, written with numpy, polars and h5py alone, in the real layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl

STEPS = 30
STOVE = "KITCHEN_SCENE3_turn_on_the_stove_and_put_the_moka_pot_on_it"
NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]


def motion(episodes: int, steps: int = STEPS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth actions [N, 7] with a switch at the end, which follow from a goal [N, 6] of the demonstration."""
    rng = np.random.default_rng(seed)
    goal = np.repeat(rng.uniform(-1, 1, (episodes, 1, 6)), steps, axis=1)
    along = np.sin(np.arange(steps) / 6)[None, :, None]
    arm = 0.6 * goal + 0.3 * along + 0.03 * rng.normal(size=goal.shape)
    closed = np.where(np.arange(steps) < steps // 2, -1.0, 1.0)
    switch = np.broadcast_to(closed[None, :, None], (episodes, steps, 1))
    action = np.concatenate([arm, switch], axis=2).reshape(-1, 7)
    return action.astype(np.float32), goal.reshape(-1, 6).astype(np.float32)


def arrays(episodes: int = 60, steps: int = STEPS) -> dict[str, np.ndarray]:
    """Fields of an .npz: the features are the goal among noise, proprioception is the time."""
    action, goal = motion(episodes, steps)
    noise = np.random.default_rng(1).normal(size=(len(goal), 4))
    return {
        "action": action,
        "episode": np.repeat(np.arange(episodes), steps),
        "state": goal,
        "proprioception": np.tile(np.linspace(0, 1, steps), episodes)[:, None],
        "features": np.concatenate([goal + 0.3 * noise[:, :1], noise], axis=1).astype(np.float16),
        "task": np.array(["push", "lift"])[np.arange(episodes) % 2],
        "names": np.array(NAMES),
        "scale": np.array([50.0] * 3 + [28.6] * 3 + [1.0]),
        "gripper": np.array([6]),
    }


def write_arrays(path: Path, fields: dict[str, Any]) -> Path:
    np.savez(path, **fields)
    return path


def write_lerobot(folder: Path, version: str = "v3.0", episodes: int = 60) -> Path:
    """A dataset of two tasks: several episodes a file from version 3.0 on, one a file before."""
    action, goal = motion(episodes)
    new = version == "v3.0"
    frames = pl.DataFrame(
        {
            "action": pl.Series(action.tolist(), dtype=pl.List(pl.Float32)),
            "observation.state": pl.Series(
                goal.tolist(), dtype=pl.Array(pl.Float32, 6) if new else pl.List(pl.Float32)
            ),
            "timestamp": np.tile(np.arange(STEPS) / 10, episodes).astype(np.float32),
            "frame_index": np.tile(np.arange(STEPS), episodes),
            "episode_index": np.repeat(np.arange(episodes), STEPS),
            "index": np.arange(len(action)),
            "task_index": np.repeat(np.arange(episodes) % 2, STEPS),
        }
    )
    (folder / "meta").mkdir(parents=True)
    size = -(-episodes // 3) if new else 1
    for number, first in enumerate(range(0, episodes, size)):
        name = f"file-{number:03d}.parquet" if new else f"episode_{number:06d}.parquet"
        path = folder / "data" / "chunk-000" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[first * STEPS : (first + size) * STEPS].write_parquet(path)
    names = ["push", "lift"]
    if new:
        pl.DataFrame({"task_index": [0, 1], "__index_level_0__": names}).write_parquet(folder / "meta/tasks.parquet")
    else:
        rows = [json.dumps({"task_index": number, "task": name}) for number, name in enumerate(names)]
        (folder / "meta/tasks.jsonl").write_text("\n".join(rows) + "\n")
    feature = {"dtype": "float32", "shape": [7], "names": {"motors": NAMES} if new else NAMES}
    info = {
        "codebase_version": version,
        "fps": 10,
        "total_episodes": episodes,
        "total_frames": len(action),
        "features": {"action": feature, "observation.state": {"dtype": "float32", "shape": [6], "names": None}},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


def write_libero(path: Path, episodes: int = 60, *, after: bool = True, pictures: int = 0) -> Path:
    """A file as LIBERO's script writes it: the robot is observed after the action of its row, or before it. Pictures
    have a size, or are left away."""
    action, goal = motion(episodes)
    action, goal = action.reshape(episodes, STEPS, 7), goal.reshape(episodes, STEPS, 6)
    rng = np.random.default_rng(2)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["bddl_file_name"] = f"chiliocosm/bddl_files/libero_10/{STOVE}.bddl"
        for number in range(episodes):
            robot = rng.normal(size=(STEPS + 1, 9)).cumsum(axis=0) / 10
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = action[number].astype(np.float64)
            demo["states"] = np.concatenate([np.arange(STEPS)[:, None], goal[number], robot[:STEPS, :2]], axis=1)
            demo["robot_states"] = robot[1:] if after else robot[:STEPS]
            for camera in ("agentview_rgb", "eye_in_hand_rgb") if pictures else ():
                shown = np.zeros((STEPS, pictures, pictures, 3), np.uint8)
                x, y = ((goal[number, 0, :2] + 1) / 2 * (pictures - 5)).astype(int)
                shown[:, pictures - 5 - y : pictures - y, x : x + 5] = 255
                demo[f"obs/{camera}"] = shown
    return path
