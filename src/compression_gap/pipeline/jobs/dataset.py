"""Jobs that hold somebody's demonstrations as `Trajectories`: read from files, or made of a suite's."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from compression_gap import plugins
from compression_gap.config import added_later
from compression_gap.data.checked import complaint
from compression_gap.data.demos import Demos
from compression_gap.data.features import to_tensor
from compression_gap.data.formats.arrays import check_is_features, read_arrays, read_features
from compression_gap.data.formats.lerobot import lerobot_files, read_lerobot
from compression_gap.data.formats.libero_hdf5 import SUFFIXES, read_libero
from compression_gap.data.rows import Rows
from compression_gap.data.trajectories import Trajectories
from compression_gap.encoders.base import EncoderSpec
from compression_gap.measures.gripper_probe import MOST_VALUES
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import Demonstrations, drawn_frames, read_demos, suite_of
from compression_gap.pipeline.jobs.encoder import Features, TrainedEncoder, encoder_of
from compression_gap.pipeline.jobs.shown import features_of_files
from compression_gap.pipeline.making import making
from compression_gap.store import Store
from compression_gap.suites.base import SuiteSpec
from compression_gap.suites.libero.benchmark import NUM_TASKS
from compression_gap.training import Report

HASHED = 20  # letters of a SHA-256 that stand for a file's content
PIECE = 1 << 24
FEATURES = ("features", "candidate")


@dataclass(frozen=True)
class Dataset(Job):
    """Demonstrations that an audit is about."""

    @abstractmethod
    def load(self, store: Store) -> Trajectories:
        """The demonstrations, memory-mapped."""


@dataclass(frozen=True)
class FileDataset(Dataset, kind="file_dataset", version=2):
    """Somebody's files, read and checked. Only `import_dataset` can finish it, because where the files are belongs to
    no description."""

    format: str
    """`arrays`, `lerobot` or `libero-hdf5`."""
    content: str
    """The beginning of the SHA-256 of all files."""
    features: str = added_later("")
    """The same of the file with features, if these came apart."""
    candidate: str = added_later("")
    """The same of a second such file."""
    units: str = added_later("")
    """A suite whose names, units and grippers hold for its actions."""
    encoder: EncoderSpec | None = added_later(None)
    """What is shown the files' pictures."""
    every: int = added_later(0)
    """It is shown every so many steps; 0 without an encoder."""
    candidate_encoder: EncoderSpec | None = added_later(None)
    """What might take its place, shown the same pictures."""

    def run(self, context: Context) -> None:
        raise ValueError(
            f"the {self.format} dataset {self.content} is not in the store {context.store.root}: cgap audit DATASET"
        )

    def load(self, store: Store) -> Trajectories:
        return Trajectories.load(store.folder(self))


@dataclass(frozen=True)
class SuiteDataset(Dataset, kind="suite_dataset", version=2):
    """Demonstrations of a suite, with the features of an encoder where it has any."""

    demonstrations: tuple[Demonstrations, ...]
    encoder: EncoderSpec | None = None
    trained: TrainedEncoder | None = None
    """For encoders that are pretrained."""
    features: tuple[Features, ...] = ()
    """Of the frames that the chunks begin with, for encoders that read pictures; others are shown the state."""
    candidate: SuiteDataset | None = added_later(None)
    """The same demonstrations with the features of an encoder that might take the first one's place."""

    @property
    def opens(self) -> tuple[Job, ...]:
        return tuple(job.drawings for job in self.features)

    def cost(self) -> Cost:
        return Cost(1.0)

    @property
    def title(self) -> str:
        return "demonstrations side by side"

    def run(self, context: Context) -> None:
        store, suite = context.store, suite_of(self.demonstrations).build()
        demos, legend = read_demos(store, self.demonstrations), suite.legend
        lengths = demos.episodes["length"].to_numpy()
        there, task = np.unique(demos.episodes["task"].to_numpy(), return_inverse=True)
        features = None if self.encoder is None else self._features(store, self.encoder, demos)
        candidate = None if self.candidate is None else self.candidate.load(store).features
        Trajectories(
            source=f"demonstrations of {suite_of(self.demonstrations).kind}",
            action=np.asarray(demos.label),
            ends=np.cumsum(lengths).astype(np.int64),
            names=legend.action,
            scale=legend.action_scale,
            gripper=legend.gripper,
            task=task.astype(np.int64),
            tasks=tuple(suite.tasks[number] for number in there),
            proprioception=np.asarray(demos.proprioception),
            state=np.asarray(demos.state) if legend.state else None,
            features=features,
            candidate=candidate,
        ).save(context.folder)

    def load(self, store: Store) -> Trajectories:
        return Trajectories.load(store.folder(self))

    def _features(self, store: Store, spec: EncoderSpec, demos: Demos) -> Float[np.ndarray, "N F"]:
        """Of every frame; NaN where it was not drawn."""
        if self.features:
            drawn = np.concatenate(drawn_frames(store, [job.drawings for job in self.features]))
            stored = Rows([job.load(store)[0] for job in self.features])  # of the central crop
            found = np.full((len(demos.label), int(np.prod(stored.shape[1:]))), np.nan, dtype=np.float32)
            found[drawn] = to_tensor(stored[np.arange(len(drawn))]).float().numpy().reshape(len(drawn), -1)
            return found
        encoder = encoder_of(store, spec, self.trained, suite_of(self.demonstrations))
        stamp = np.concatenate([demos.stamp, np.zeros((len(demos.label), 1), np.int64)], axis=1)
        shown = {"state": torch.from_numpy(np.array(demos.state)), "stamp": torch.from_numpy(stamp)}
        with torch.no_grad():
            return encoder.encode(shown).float().flatten(1).numpy()


@dataclass(frozen=True)
class Files:
    """Where somebody's data are."""

    data: Sequence[Path]
    features: Sequence[Path]
    """Of the policy's encoder and, if there are two, of a candidate."""


def dataset_of_files(given: Files, units: str, report: Report) -> tuple[FileDataset, Reader]:
    """The description of somebody's files by their content, and what reads them.

    Raises FileNotFoundError or ValueError naming the file and the cure if they are none of the formats.
    """
    paths = given.data
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such file or folder")
    for path in given.features:
        check_is_features(path)
    first = paths[0]
    files: Sequence[Path]
    if first.is_dir() and len(paths) == 1:
        name, files, reader = "lerobot", lerobot_files(first), lambda _: read_lerobot(first)
    elif first.suffix == ".npz" and len(paths) == 1:
        name, files, reader = "arrays", paths, lambda folder: read_arrays(first, folder)
    elif all(path.suffix in SUFFIXES and path.is_file() for path in paths):
        name, files, reader = "libero-hdf5", paths, lambda _: read_libero(paths)
    else:
        raise ValueError(
            f"{first}: expected one .npz, LIBERO's .hdf5 files, or the folder of one LeRobot dataset; "
            f"got {', '.join(map(str, paths))}"
        )
    content = digest_of(files, report)
    own, other, *_ = [*(digest_of([path], report) for path in given.features), "", ""]
    return FileDataset(name, content, own, other, units), reader


Reader = Callable[[Path], Trajectories]


def import_dataset(
    job: FileDataset, read: Reader, files: Files, store: Store, report: Report, device: str = "cpu"
) -> None:
    """Finishes a dataset from its files, all of it or nothing; encoders look at their pictures on the device.

    Raises ValueError naming file, place and cure for whatever is wrong with them.
    """
    with making(job, store, device, report) as context:
        if context is None:
            return
        folder = context.folder
        found = read(folder)
        free = [name for name in FEATURES if getattr(found, name) is None]
        if len(files.features) > len(free):
            got = len(FEATURES) - len(free) + len(files.features)
            what = f"expected at most two sets of features, the policy's own and a candidate's, got {got}"
            raise complaint(found.source, what, "leave away --features, or the file's fields")
        for name, path in zip(free, files.features, strict=False):
            given = read_features(path, len(found.action), folder / f"{name}.npy")
            found = replace(found, **{name: given})
        for name, encoder in zip(FEATURES, (job.encoder, job.candidate_encoder), strict=True):
            if encoder is not None:
                where = folder / f"{name}.npy"
                seen = features_of_files(encoder, job.every, files.data, found, where, context)
                found = replace(found, **{name: seen})
        if job.units:
            found = in_units_of(found, job.units)
        found = only_switching(found)
        found.check()
        found.save(folder)


def in_units_of(found: Trajectories, suite: str) -> Trajectories:
    """The same with the names, units and grippers of a suite's actions.

    Raises ValueError if the suite has another number of action values.
    """
    name = "libero" if suite in NUM_TASKS else suite
    spec = plugins.find("suites", name)()
    assert isinstance(spec, SuiteSpec), "the family says so"
    legend, own = spec.build().legend, found.action.shape[1]
    if len(legend.action) != own:
        what = f"expected {len(legend.action)} action values, as {suite} has them, got {own}"
        raise complaint(found.source, what, "leave --suite away")
    note = f"actions are taken to be {suite}'s: its units and grippers"
    notes = (*found.notes, note)
    return replace(found, names=legend.action, scale=legend.action_scale, gripper=legend.gripper, notes=notes)


def only_switching(found: Trajectories) -> Trajectories:
    """The same without grippers that are moved continuously: they are measured like the other actions."""
    moved = [d for d in found.gripper if len(np.unique(found.action[:, d])) > MOST_VALUES]
    notes = tuple(f"{found.names[d]} is moved continuously, so it is measured like the other actions" for d in moved)
    kept = tuple(d for d in found.gripper if d not in moved)
    return replace(found, gripper=kept, notes=(*found.notes, *notes))


def digest_of(files: Sequence[Path], report: Report) -> str:
    """Equal contents in equal order, equal digest, wherever the files are."""
    found, total = hashlib.sha256(), sum(path.stat().st_size for path in files)
    done = 0
    for path in files:
        found.update(path.stat().st_size.to_bytes(8, "big"))
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                found.update(piece)
                done += len(piece)
                report(done / max(1, total), "reading")
    return found.hexdigest()[:HASHED]
