"""Jobs about demonstrations in files: those of people, which `cgap import` read, and ours, for `cgap export`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Int, UInt8

from compression_gap.data.demos import Demos
from compression_gap.data.formats.libero_hdf5 import write_libero
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import SUMMARY, Demonstrations
from compression_gap.store import Store, write_json
from compression_gap.suites.base import Suite
from compression_gap.suites.libero.recordings import replay
from compression_gap.suites.libero.suite import LiberoSuite, average_down

HDF5 = "demonstrations.hdf5"


@dataclass(frozen=True)
class Recording(Job, kind="recording", version=1):
    """A file's demonstrations of one task: `Demos`, and one .npy of pictures a camera, in the file's size.

    Only `cgap import` can finish it, because where the file is belongs to no description.
    """

    task: str
    """As `SuiteSpec.title_of` calls it."""
    content: str
    """The beginning of the SHA-256 of the file."""

    def run(self, context: Context) -> None:
        raise ValueError(
            f"the recording {self.content} of {self.task} is not in the store {context.store.root}: cgap import FILE"
        )


@dataclass(frozen=True)
class RecordedDemonstrations(Demonstrations, kind="recorded_demonstrations", version=1):
    """Some of a recording's demonstrations: `attempts` of them, from number `first` on."""

    recording: Recording = field(kw_only=True)

    def cost(self) -> Cost:
        return Cost(1.0, disk_mb=0.05 * self.attempts)

    def run(self, context: Context) -> None:
        demos = Demos.load(context.store.folder(self.recording))
        there = demos.episodes.height
        if self.first + self.attempts > there:
            last = self.first + self.attempts - 1
            raise ValueError(
                f"the recording {self.recording.content} of {self.recording.task} has demonstrations 0 to {there - 1}, "
                f"and {self.first} to {last} were asked for: lower --data.episodes, and --data.tokenizer_episodes to 0"
            )
        chosen = demos.some(self.first, self.attempts)
        chosen.save(context.folder)
        summary = {"attempts": self.attempts, "kept": self.attempts, "frames": len(chosen.label)}
        write_json(context.folder / SUMMARY, summary)

    def draw(
        self, store: Store, suite: Suite, demos: Demos, frames: Int[np.ndarray, " N"], camera: str
    ) -> UInt8[np.ndarray, "N height width 3"]:
        """Pictures of the file, averaged down. Raises ValueError if the size asked for does not divide theirs."""
        folder, size = store.folder(self.recording), suite.legend.image_size
        pictures = np.load(folder / f"{camera}.npy", mmap_mode="r")
        if pictures.shape[1] % size:
            raise ValueError(
                f"the recording's pictures have {pictures.shape[1]} pixels, which image_size {size} does not divide"
            )
        offset = Demos.load(folder).episodes["start"][self.first]
        return np.stack([average_down(pictures[offset + frame], size) for frame in frames])


@dataclass(frozen=True)
class LiberoHdf5(Job, kind="libero_hdf5", version=1):
    """Demonstrations of a LIBERO task, simulated and drawn again as LIBERO's script does: one HDF5 file."""

    simulates: ClassVar[bool] = True
    demonstrations: Demonstrations

    @property
    def title(self) -> str:
        return f"file of {self.demonstrations.title}"

    def cost(self) -> Cost:
        suite, attempts = self.demonstrations.suite.cost, self.demonstrations.attempts
        pictures = 2 * suite.steps * attempts
        return Cost(attempts * suite.episode + pictures * suite.picture, disk_mb=0.05 * pictures)

    def run(self, context: Context) -> None:
        job = self.demonstrations
        suite = job.suite.build()
        assert isinstance(suite, LiberoSuite), "only LIBERO's demonstrations are written as LIBERO's files"
        demos, world = Demos.load(context.store.folder(job)), suite.world(job.task)

        def replayed():
            for row in range(demos.episodes.height):
                episode = demos.episodes.row(row, named=True)
                start = suite.initial_states(job.task, job.protocol, [episode["index"]])["snapshot"][0]
                actions = demos.executed[episode["start"] : episode["start"] + episode["length"]]

                def report(fraction: float, row: int = row) -> None:
                    context.report((row + fraction) / demos.episodes.height, f"demonstration {row + 1}")

                again = replay(world, start, actions, job.suite.cameras, report)
                assert again.success, f"demonstration {episode['index']} of {job.title} does not succeed again"
                yield again

        write_libero(context.folder / HDF5, suite.bddl_file(job.task), suite.tasks[job.task], replayed())
