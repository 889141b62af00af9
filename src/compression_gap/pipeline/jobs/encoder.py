"""Jobs about encoders: pretraining, how well they see, and what they make of the drawn frames."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import load_file

from compression_gap.data.features import DTYPES, to_array
from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.measures.pose_error import pose_errors, task_error
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import (
    ENCODING_BATCH,
    HELD_OUT_ROWS,
    PIECES,
    SUMMARY,
    Drawings,
    array_to_fill,
    batches_left,
    drawn_pictures,
    read_frames,
    suite_of,
    tensors,
)
from compression_gap.pipeline.jobs.learning import learn
from compression_gap.seeds import seed_of
from compression_gap.store import Store
from compression_gap.suites.base import SuiteSpec
from compression_gap.training import WEIGHTS, Training

FEATURES = "features.npy"


@dataclass(frozen=True)
class TrainedEncoder(Job, kind="trained_encoder", version=1):
    """An encoder pretrained on frames of other episodes than the policy's. Writes weights and the loss curve."""

    resumable: ClassVar[bool] = True
    encoder: EncoderSpec
    drawings: tuple[Drawings, ...]
    training: Training
    seed: int = 0

    @property
    def opens(self) -> tuple[Job, ...]:
        return tuple(job.demonstrations for job in self.drawings)

    @property
    def suite(self) -> SuiteSpec:
        """With the tasks whose frames it sees."""
        return suite_of([job.demonstrations for job in self.drawings])

    @property
    def title(self) -> str:
        return f"encoder {self.encoder.kind}, {self.training.steps} steps"

    def cost(self) -> Cost:
        return Cost(self.training.steps * self.training.batch * 3e-4, memory_mb=1500, gpus=1)

    def run(self, context: Context) -> None:
        suite = self.suite.build()
        frames = read_frames(context.store, self.drawings, held_out=False)
        held = read_frames(context.store, self.drawings, held_out=True)
        torch.manual_seed(seed_of(self.seed, "weights"))
        encoder = self.encoder.build(suite.legend).to(context.device)
        encoder.requires_grad_(True)
        encoder.fit(torch.from_numpy(frames["state"]))

        def take(rows: np.ndarray) -> dict[str, torch.Tensor]:
            return tensors(frames, rows, context.device)

        held_out = tensors(held, np.arange(min(len(held["state"]), HELD_OUT_ROWS)), context.device)
        learn(encoder, take, len(frames["state"]), held_out, self.training, self.seed, context)

    def load(self, store: Store) -> Encoder:
        """The trained encoder, frozen."""
        encoder = self.encoder.build(self.suite.build().legend)
        encoder.load_state_dict(load_file(store.folder(self) / WEIGHTS))
        return encoder.requires_grad_(False).eval()


@dataclass(frozen=True)
class PoseError(Job, kind="pose_error", version=1):
    """How far off a pretrained encoder sees objects, on held-out frames: mean error in mm and degrees by object, and of
    what the task is about where the suite tells that. Writes summary.json."""

    encoder: TrainedEncoder

    @property
    def opens(self) -> tuple[Job, ...]:
        return (*self.encoder.drawings, *self.encoder.opens)

    def run(self, context: Context) -> None:
        suite = self.encoder.suite.build()
        frames = read_frames(context.store, self.encoder.drawings, held_out=True)
        encoder = self.encoder.load(context.store).to(context.device)
        seen = []
        with torch.no_grad():
            for first in range(0, len(frames["state"]), ENCODING_BATCH):
                rows = np.arange(first, min(first + ENCODING_BATCH, len(frames["state"])))
                seen.append(encoder.estimate_state(tensors(frames, rows, context.device)).cpu().numpy())
        errors = pose_errors(np.concatenate(seen), frames["state"], suite.legend)
        objects = [suite.objects(task) for task in range(len(suite.tasks))]
        if all(objects):
            errors["task"] = task_error(errors, frames["task"], objects)
        summary = {
            name: {"mm": _mean(error.lateral_mm), "degrees": _mean(error.yaw_degrees)} for name, error in errors.items()
        }
        (context.folder / SUMMARY).write_text(json.dumps(summary))


def _mean(errors: np.ndarray) -> float | None:
    """None where the state does not have it."""
    return None if np.isnan(errors).any() else float(errors.mean())


@dataclass(frozen=True)
class Features(Job, kind="features", version=1):
    """What a frozen encoder makes of the drawn frames. Writes features.npy [M, K, F], rows as the drawings', or
    [crops, M, K, F]; Float32, or UInt16 with the bits of bfloat16 (`data/features.py`)."""

    resumable: ClassVar[bool] = True
    encoder: EncoderSpec
    trained: TrainedEncoder | None
    drawings: Drawings

    def cost(self) -> Cost:
        encoder, looks = self.encoder.cost, self.drawings.pictures * self.encoder.crops
        smaller = 0.5 if self.encoder.stored == "bfloat16" else 1.0
        return Cost(looks * encoder.picture, encoder.memory_mb, looks * encoder.vector_mb * smaller, gpus=1)

    def run(self, context: Context) -> None:
        pictures = drawn_pictures(context.store, [self.drawings])
        frames, crops = len(pictures[self.drawings.cameras[0]]), self.encoder.crops
        encoder = encoder_of(context.store, self.encoder, self.trained, self.drawings.demonstrations.suite)
        encoder = encoder.to(context.device)
        shape = (frames, encoder.vectors, encoder.width)
        whole = shape if crops == 1 else (crops, *shape)
        out = array_to_fill(context.folder / FEATURES, DTYPES[self.encoder.stored], whole)
        with torch.no_grad():
            for crop in range(crops):
                of_crop = out if crops == 1 else out[crop]
                for rows in batches_left(of_crop, context.folder / PIECES, f"{Path(FEATURES).stem}-{crop}"):
                    done = crop * frames + rows[0]
                    context.report(done / (crops * frames), f"{done} of {crops * frames} looks")
                    torch.manual_seed(seed_of(self.drawings.digest, "crop", crop, int(rows[0])))
                    seen = encoder.look(tensors(pictures, rows, context.device), crop)
                    of_crop[rows] = to_array(seen, self.encoder.stored)
        shutil.rmtree(context.folder / PIECES)

    def load(self, store: Store) -> np.ndarray:
        """The features as they are stored, [crops, M, K, F], memory-mapped."""
        stored = np.load(store.folder(self) / FEATURES, mmap_mode="r")
        return stored.reshape(self.encoder.crops, *stored.shape[-3:])


def encoder_of(store: Store, spec: EncoderSpec, trained: TrainedEncoder | None, suite: SuiteSpec) -> Encoder:
    """A frozen encoder: pretrained by a job, or as it is built."""
    if trained is not None:
        return trained.load(store)
    torch.manual_seed(seed_of(spec.digest, "weights"))
    return spec.build(suite.build().legend).requires_grad_(False).eval()
