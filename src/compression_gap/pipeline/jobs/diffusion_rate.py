"""Jobs that bound how few bits chunks of actions need, whatever the code: a suite's, or a dataset's."""

from __future__ import annotations

import json
import shutil
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int

from compression_gap.data.demos import Demos
from compression_gap.data.split import TEST, TRAIN, VALIDATION
from compression_gap.data.trajectories import Chunking
from compression_gap.data.windows import chunks_from, window_frames
from compression_gap.measures.denoiser import Denoiser, ToldChunks, train_denoiser
from compression_gap.measures.denoising import own_errors
from compression_gap.measures.diffusion_rate import DiffusionCurve, diffusion_curve
from compression_gap.measures.distortion import arm_of
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.audited import Audited
from compression_gap.pipeline.jobs.data import PIECES, SUMMARY, Demonstrations, read_demos, suite_of
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.seeds import seed_of
from compression_gap.store import Store, write_json
from compression_gap.suites.base import Legend
from compression_gap.training import Training

SIGMA = 0.005
"""The finest noise, beside the largest action: finer errors are bounded by the Gaussian alone."""
VALIDATION_EVERY = 7  # of the training demonstrations
LOOKS = 4000  # at held-out chunks at every noise, each in noise of its own: few chunks are looked at several times
SECONDS_A_ROW = 3e-5  # of a training batch


class RateBound(Job):
    """A denoiser's upper bound on the rate-distortion function of the arm's actions, in the units of the actions, on
    held-out demonstrations. Writes summary.json."""

    resumable: ClassVar[bool] = True
    training: Training

    @property
    def title(self) -> str:
        return "bits that an error costs at most"

    def cost(self) -> Cost:
        return Cost(5 + self.training.steps * self.training.batch * SECONDS_A_ROW)

    @abstractmethod
    def parts(self, store: Store) -> tuple[list[Float[np.ndarray, "N A"]], Int[np.ndarray, " M"]]:
        """Chunks of the arm to learn from, to stop by, and M held-out ones, with the demonstration of each of these."""

    def run(self, context: Context) -> None:
        chunks, demonstration = self.parts(context.store)
        mean = chunks[0].mean(axis=0)
        largest = float(abs(chunks[0] - mean).max()) or 1.0
        times = max(1, LOOKS // len(chunks[2]))
        chunks[2] = np.tile(chunks[2], (times, 1))
        train, validation, test = (_rows((some - mean) / largest) for some in chunks)
        torch.manual_seed(seed_of("denoiser of chunks"))
        denoiser = Denoiser(len(mean), 1, SIGMA)
        denoiser.fit(train.chunk)
        pieces = context.folder / PIECES
        train_denoiser(denoiser, train, validation, self.training, seed=0, folder=pieces, report=context.report)
        curve = diffusion_curve(*own_errors(denoiser, test), np.tile(demonstration, times))
        summary = {
            "distortion": (curve.distortion * largest**2).tolist(),
            "distortion_ends": None if (ends := curve.distortion_ends) is None else (ends * largest**2).tolist(),
            "bits": curve.bits.tolist(),
            "bits_ends": None if curve.bits_ends is None else curve.bits_ends.tolist(),
        }
        write_json(context.folder / SUMMARY, summary)
        shutil.rmtree(pieces)

    def load(self, store: Store) -> DiffusionCurve:
        """The curve; its distortion is the squared error of a chunk's arm actions, summed."""
        told = json.loads((store.folder(self) / SUMMARY).read_text())
        ends = {name: None if told[name] is None else np.array(told[name]) for name in ("distortion_ends", "bits_ends")}
        return DiffusionCurve(np.array(told["distortion"]), np.array(told["bits"]), **ends)


@dataclass(frozen=True)
class DiffusionRate(RateBound, kind="diffusion_rate", version=2):
    """Of a suite's demonstrations."""

    demonstrations: tuple[Demonstrations, ...]
    horizon: int
    stride: int
    training: Training

    def parts(self, store: Store) -> tuple[list[Float[np.ndarray, "N A"]], Int[np.ndarray, " M"]]:
        demos, legend = read_demos(store, self.demonstrations), suite_of(self.demonstrations).build().legend
        learnt, held = (demos.rows(held_out=part) for part in (False, True))
        watched = np.isin(np.arange(len(learnt)), np.arange(VALIDATION_EVERY - 1, len(learnt), VALIDATION_EVERY))
        chunks = [self._chunks(demos, rows, legend) for rows in (learnt[~watched], learnt[watched], held)]
        return chunks, self._demonstration(demos, held)

    def _chunks(self, demos: Demos, rows: np.ndarray, legend: Legend) -> Float[np.ndarray, "N A"]:
        chunks = chunks_from(demos, rows, self.horizon, self.stride, legend.gripper)
        return chunks[..., arm_of(legend)].reshape(len(chunks), -1).astype(np.float64)

    def _demonstration(self, demos: Demos, rows: np.ndarray) -> Int[np.ndarray, " N"]:
        frames = window_frames(demos, rows, 1, self.stride)[:, 0]
        return np.searchsorted(demos.episodes["start"].to_numpy(), frames, side="right") - 1


@dataclass(frozen=True)
class DatasetRate(RateBound, kind="dataset_rate", version=1):
    """Of somebody's dataset."""

    dataset: Dataset
    chunking: Chunking
    training: Training

    def parts(self, store: Store) -> tuple[list[Float[np.ndarray, "N A"]], Int[np.ndarray, " M"]]:
        audited = Audited.of(self.dataset, self.chunking, store)
        windows, arm = audited.windows, list(audited.trajectories.arm)
        rows = [windows.rows(part) for part in (TRAIN, VALIDATION, TEST)]
        chunks = [audited.chunk[some][..., arm].reshape(len(some), -1).astype(np.float64) for some in rows]
        return chunks, windows.demonstration[rows[2]]


def _rows(scaled: Float[np.ndarray, "N A"]) -> ToldChunks:
    chunk = torch.from_numpy(scaled).float()
    return ToldChunks(chunk, torch.zeros_like(chunk), torch.zeros(len(chunk), 1))
