"""Jobs about demonstrations in files: those of people, which `cgap import` read, and ours, for `cgap export`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import polars as pl
from jaxtyping import Int, UInt8

from compression_gap.data.demos import Demos
from compression_gap.data.formats.libero_hdf5 import PICTURES, LiberoFile, write_libero
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import SUMMARY, Demonstrations, array_on_disk
from compression_gap.pipeline.making import making
from compression_gap.seeds import episode_number
from compression_gap.store import Store, write_json
from compression_gap.suites.base import States, Suite, state_hashes
from compression_gap.suites.libero.recordings import Frames, frames_of, replay
from compression_gap.suites.libero.suite import Libero, LiberoSuite, average_down
from compression_gap.training import Report, part_of

HDF5 = "demonstrations.hdf5"
BEGAN = "began.npy"


@dataclass(frozen=True)
class Recording(Job, kind="recording", version=3):
    """A file's demonstrations of one task: `Demos`, the simulator's state where each began, and one .npy of pictures a
    camera, in the file's size.

    Only `import_recording` can finish it, because where the file is belongs to no description.
    """

    task: str
    """As `SuiteSpec.title_of` calls it."""
    content: str
    """The beginning of the SHA-256 of the file."""

    def run(self, context: Context) -> None:
        raise ValueError(
            f"the recording {self.content} of {self.task} is not in the store {context.store.root}: cgap import FILE"
        )


def import_recording(job: Recording, file: LiberoFile, spec: Libero, store: Store, report: Report) -> None:
    """Finishes a recording from its file, whose every demonstration is read and checked before anything is written.

    Raises ValueError naming the file, the place and the cure.
    """
    suite = spec.build()
    world, things = suite.world(0), suite.things(0)
    found: list[tuple[Frames, np.ndarray]] = []
    for number, name in enumerate(file.demos):
        demo = file.demo(name)
        try:
            frames = frames_of(world, things, demo.states, demo.robot_states, demo.bodies)
        except ValueError as error:
            raise ValueError(f"{file.path}, data/{name}: {error}") from error
        found.append((frames, demo.actions[frames.lag :]))
        report(0.5 * (number + 1) / len(file.demos), "")
    with making(job, store, "cpu", part_of(report, 0.5, 1.0)) as context:
        if context is None:
            return
        lengths = [len(actions) for _, actions in found]
        _demos(found, job.task).save(context.folder)
        np.save(context.folder / BEGAN, np.stack([frames.began for frames, _ in found]))
        for camera in PICTURES:
            shape = (sum(lengths), *file.picture_shape(camera))
            out = array_on_disk(context.folder / f"{camera}.npy", np.uint8, shape)
            for number, (name, start) in enumerate(zip(file.demos, np.cumsum([0, *lengths]), strict=False)):
                out[start : start + lengths[number]] = file.pictures(name, camera)[: lengths[number]]
                context.report((number + 1) / len(file.demos), camera)
            out.flush()
        told = {"demonstrations": len(found), "frames": sum(lengths), "lag": found[0][0].lag}
        write_json(context.folder / SUMMARY, told)


def _demos(found: Sequence[tuple[Frames, np.ndarray]], task: str) -> Demos:
    lengths = np.array([len(actions) for _, actions in found], dtype=np.int64)
    numbers = [episode_number(task, 0, index) for index in range(len(found))]
    stamps = [np.stack([np.full(n, number), np.arange(n)], axis=1) for number, n in zip(numbers, lengths, strict=True)]
    episodes = pl.DataFrame(
        {
            "task": np.zeros(len(found), dtype=np.int64),
            "index": np.arange(len(found), dtype=np.int64),
            "start": np.cumsum([0, *lengths])[: len(found)].astype(np.int64),
            "length": lengths,
            "initial_state": state_hashes({"scene": np.stack([frames.scene[0] for frames, _ in found])}),
        }
    )
    actions = np.concatenate([actions for _, actions in found]).astype(np.float32)
    read = {name: np.concatenate([getattr(f, name) for f, _ in found]) for name in ("proprioception", "state", "scene")}
    return Demos(episodes=episodes, **read, stamp=np.concatenate(stamps), label=actions, executed=actions)


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

    @property
    def numbered_as(self) -> str:
        return self.recording.task

    def beginnings(self, store: Store, suite: Suite, demos: Demos) -> States:
        began = np.load(store.folder(self.recording) / BEGAN)[self.first : self.first + self.attempts]
        return suite.recorded_states(self.task, demos.scene[demos.episodes["start"].to_numpy()], began)


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
