"""Jobs that make demonstrations and draw them, and how the other jobs read those."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int, UInt8

from compression_gap.config import added_later
from compression_gap.data.collect import collect
from compression_gap.data.demos import Demos
from compression_gap.data.rows import Rows
from compression_gap.data.windows import window_frames
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.store import Store, write_json
from compression_gap.suites.base import States, Suite, SuiteSpec, state_hashes

EPISODES, SUMMARY = "episodes.parquet", "summary.json"
PIECES = "pieces"  # folder of what an unfinished job has finished
HELD_OUT_ROWS = 1024  # enough for a loss curve whose noise does not hide a trend
ENCODING_BATCH = 256  # fixed, because the last bits of a convolution depend on the batch size


@dataclass(frozen=True)
class Demonstrations(Job, kind="demonstrations", version=1):
    """Successful expert episodes of one task, simulated without pictures. Writes `Demos` and summary.json."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    suite: SuiteSpec
    """The smallest suite that has the task (`SuiteSpec.alone`)."""
    task: int
    first: int
    """Initial state of the first attempt."""
    attempts: int
    protocol: str = added_later("demonstrations")
    """The set of initial states."""

    @property
    def title(self) -> str:
        return f"demonstrations of {self.suite.title_of(self.task)}"

    def cost(self) -> Cost:
        return Cost(self.attempts * self.suite.cost.episode, disk_mb=0.05 * self.attempts)

    def run(self, context: Context) -> None:
        suite, pieces = self.suite.build(), context.folder / PIECES
        where = (self.task, self.protocol, self.first, self.attempts)
        if not (context.folder / SUMMARY).exists():
            demos = collect(suite, *where, self.suite.batch, context.report, pieces)
            demos.save(context.folder)
            kept, frames = demos.episodes.height, len(demos.label)
            write_json(context.folder / SUMMARY, {"attempts": self.attempts, "kept": kept, "frames": frames})
        shutil.rmtree(pieces, ignore_errors=True)

    def draw(
        self, store: Store, suite: Suite, demos: Demos, frames: Int[np.ndarray, " N"], camera: str
    ) -> UInt8[np.ndarray, "N height width 3"]:
        """Pictures of some of the frames."""
        return suite.draw(self.task, demos.scene[frames], camera)

    @property
    def numbered_as(self) -> str:
        """The protocol under whose name their episodes are numbered."""
        return self.protocol

    def beginnings(self, store: Store, suite: Suite, demos: Demos) -> States:
        """Where each began. Raises ValueError if the suite begins elsewhere by now."""
        states = suite.initial_states(self.task, self.protocol, demos.episodes["index"].to_list())
        if state_hashes(states) != demos.episodes["initial_state"].to_list():
            raise ValueError(f"the suite no longer begins {self.title} where they began, so they cannot be replayed")
        return states


@dataclass(frozen=True)
class Drawings(Job, kind="drawings", version=1):
    """Pictures of the frames that training windows look at. Writes frames.npy (their numbers) and one .npy a camera."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    demonstrations: Demonstrations
    cameras: tuple[str, ...]
    history: int
    stride: int

    @property
    def opens(self) -> tuple[Job, ...]:
        return self.demonstrations.needs

    @property
    def title(self) -> str:
        return f"pictures of {self.demonstrations.suite.title_of(self.demonstrations.task)}"

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
        shape = (len(frames), suite.legend.image_size, suite.legend.image_size, 3)
        for number, camera in enumerate(self.cameras):
            pictures = array_to_fill(context.folder / f"{camera}.npy", np.uint8, shape)
            for rows in batches_left(pictures, context.folder / PIECES, camera):
                context.report((number + rows[0] / len(frames)) / len(self.cameras), camera)
                pictures[rows] = self.demonstrations.draw(context.store, suite, demos, frames[rows], camera)
        shutil.rmtree(context.folder / PIECES)


def suite_of(jobs: Sequence[Demonstrations]) -> SuiteSpec:
    """The suite with the tasks of all demonstrations, in their order."""
    return jobs[0].suite.united([job.suite for job in jobs])


def read_demos(store: Store, jobs: Sequence[Demonstrations]) -> Demos:
    """What finished jobs demonstrated, laid end to end, with the task ids of `suite_of`."""
    suite = suite_of(jobs)
    return Demos.join([Demos.load(store.folder(job)).of_task(suite.task_of(job.suite, job.task)) for job in jobs])


def read_frames(store: Store, drawings: tuple[Drawings, ...], *, held_out: bool) -> dict[str, Any]:
    """Pictures (`Rows`, memory-mapped), privileged state and task (arrays) of the drawn frames of training or held-out
    episodes."""
    demos = read_demos(store, [job.demonstrations for job in drawings])
    numbers = np.concatenate(drawn_frames(store, drawings))
    spans = [demos.episodes.row(row, named=True) for row in demos.rows(held_out=held_out)]
    wanted = np.concatenate([np.arange(s["start"], s["start"] + s["length"]) for s in spans])
    chosen = np.flatnonzero(np.isin(numbers, wanted))
    pictures = {camera: Rows(rows.parts, chosen) for camera, rows in drawn_pictures(store, drawings).items()}
    frames = numbers[chosen]
    return {**pictures, "state": demos.state[frames], "task": demos.task[frames]}


def drawn_frames(store: Store, drawings: Sequence[Drawings]) -> list[np.ndarray]:
    """Int64 [M] for each of the jobs: which frames of the joined demonstrations it drew."""
    lengths = [len(np.load(store.folder(job.demonstrations) / "label.npy", mmap_mode="r")) for job in drawings]
    offsets = np.cumsum([0, *lengths])
    return [np.load(store.folder(job) / "frames.npy") + n for job, n in zip(drawings, offsets, strict=False)]


def drawn_pictures(store: Store, drawings: Sequence[Drawings]) -> dict[str, Rows]:
    """UInt8 [M, height, width, 3] for each camera, memory-mapped: what all the jobs drew, as one array."""
    folders = [store.folder(job) for job in drawings]
    return {
        camera: Rows([np.load(folder / f"{camera}.npy", mmap_mode="r") for folder in folders])
        for camera in drawings[0].cameras
    }


def tensors(frames: Mapping[str, np.ndarray | Rows], rows: np.ndarray, device: str) -> dict[str, torch.Tensor]:
    """Some rows of every array."""
    return {name: torch.from_numpy(np.asarray(array[rows])).to(device) for name, array in frames.items()}


def array_on_disk(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """An .npy file to be filled. Its space is taken at once: writing to a map on a full disk would kill the process."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def array_to_fill(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """An .npy file to be filled by `batches_left`: the one that a killed job left, if it had begun."""
    begun = any((path.parent / PIECES).glob(f"{glob.escape(path.stem)}-[0-9]*"))
    return np.load(path, mmap_mode="r+") if begun else array_on_disk(path, dtype, shape)


def batches_left(array: np.memmap, marks: Path, name: str) -> Iterator[Int[np.ndarray, " N"]]:
    """Row numbers of the array, batch by batch, for a job to fill; those that a killed job had filled are left out.

    An empty file for every batch that is filled and on disk goes into the folder `marks`.
    """
    marks.mkdir(exist_ok=True)
    for first in range(0, len(array), ENCODING_BATCH):
        mark = marks / f"{name}-{first}"
        if not mark.exists():
            yield np.arange(first, min(first + ENCODING_BATCH, len(array)))
            array.flush()
            mark.touch()


def spread(length: int, most: int) -> np.ndarray:
    """At most `most` row numbers, evenly spread."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(np.int64))
