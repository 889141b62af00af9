"""Jobs that make demonstrations and draw them, and how the other jobs read those."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from compression_gap.data.collect import collect
from compression_gap.data.demos import Demos
from compression_gap.data.windows import window_frames
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.store import Store
from compression_gap.suites.base import SuiteSpec

EPISODES, SUMMARY = "episodes.parquet", "summary.json"
HELD_OUT_ROWS = 1024  # enough for a loss curve whose noise does not hide a trend
ENCODING_BATCH = 256  # fixed, because the last bits of a convolution depend on the batch size


@dataclass(frozen=True)
class Demonstrations(Job, kind="demonstrations", version=1):
    """Successful expert episodes of one task, simulated without pictures. Writes `Demos` and summary.json."""

    suite: SuiteSpec
    task: int
    first: int
    """Initial state of the first attempt, in the protocol "demonstrations"."""
    attempts: int

    @property
    def title(self) -> str:
        return f"demonstrations of task {self.task}"

    def cost(self) -> Cost:
        return Cost(self.attempts * self.suite.cost.episode, disk_mb=0.05 * self.attempts)

    def run(self, context: Context) -> None:
        suite = self.suite.build()
        batch = self.suite.batch
        demos, attempts = collect(suite, self.task, "demonstrations", self.first, self.attempts, batch, context.report)
        demos.save(context.folder)
        summary = {"attempts": attempts, "kept": demos.episodes.height, "frames": len(demos.label)}
        (context.folder / SUMMARY).write_text(json.dumps(summary))


@dataclass(frozen=True)
class Drawings(Job, kind="drawings", version=1):
    """Pictures of the frames that training windows look at. Writes frames.npy (their numbers) and one .npy a camera."""

    demonstrations: Demonstrations
    cameras: tuple[str, ...]
    history: int
    stride: int

    @property
    def title(self) -> str:
        return f"pictures of task {self.demonstrations.task}"

    def cost(self) -> Cost:
        suite, pictures = self.demonstrations.suite.cost, self.pictures
        return Cost(pictures * suite.picture, disk_mb=pictures * suite.picture_mb)

    @property
    def pictures(self) -> float:
        """About how many there will be."""
        of_every_step = self.demonstrations.attempts * self.demonstrations.suite.cost.steps * len(self.cameras)
        return of_every_step * min(1.0, self.history / self.stride)

    def run(self, context: Context) -> None:
        suite = self.demonstrations.suite.build()
        demos = Demos.load(context.store.folder(self.demonstrations))
        rows = np.arange(demos.episodes.height)
        frames = np.unique(window_frames(demos, rows, self.history, self.stride))
        np.save(context.folder / "frames.npy", frames)
        size = suite.legend.image_size
        for number, camera in enumerate(self.cameras):
            path = context.folder / f"{camera}.npy"
            pictures = array_on_disk(path, np.uint8, (len(frames), size, size, 3))
            for first in range(0, len(frames), ENCODING_BATCH):
                chosen = frames[first : first + ENCODING_BATCH]
                pictures[first : first + len(chosen)] = suite.draw(
                    self.demonstrations.task, demos.scene[chosen], camera
                )
                context.report((number + first / len(frames)) / len(self.cameras), camera)
            pictures.flush()


def read_demos(store: Store, jobs: tuple[Demonstrations, ...]) -> Demos:
    """What finished jobs demonstrated, laid end to end."""
    return Demos.join([Demos.load(store.folder(job)) for job in jobs])


def read_frames(store: Store, drawings: tuple[Drawings, ...], *, held_out: bool) -> dict[str, np.ndarray]:
    """Pictures, privileged state and task of the drawn frames of training or held-out episodes."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*drawings[0].cameras, "state", "task")}
    for job in drawings:
        demos = Demos.load(store.folder(job.demonstrations))
        numbers = np.load(store.folder(job) / "frames.npy")
        spans = [demos.episodes.row(row, named=True) for row in demos.rows(held_out=held_out)]
        wanted = np.concatenate([np.arange(s["start"], s["start"] + s["length"]) for s in spans] or [np.zeros(0, int)])
        rows = np.flatnonzero(np.isin(numbers, wanted))
        for camera in job.cameras:
            columns[camera].append(np.load(store.folder(job) / f"{camera}.npy", mmap_mode="r")[rows])
        columns["state"].append(demos.state[numbers[rows]])
        columns["task"].append(demos.task[numbers[rows]])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def tensors(frames: dict[str, np.ndarray], rows: np.ndarray, device: str) -> dict[str, torch.Tensor]:
    """Some rows of every array."""
    return {name: torch.from_numpy(np.asarray(array[rows])).to(device) for name, array in frames.items()}


def array_on_disk(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """An .npy file to be filled. Its space is taken at once: writing to a map on a full disk would kill the process."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def spread(length: int, most: int) -> np.ndarray:
    """At most `most` row numbers, evenly spread."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(np.int64))
