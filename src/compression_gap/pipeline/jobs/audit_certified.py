"""The job that certifies bits between a dataset's features and actions: few, but sure."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import ClassVar

import torch

from compression_gap.data.trajectories import Chunking
from compression_gap.measures.contrastive import Contrast, certified_information
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.audited import TOLD, Arm, Audited
from compression_gap.pipeline.jobs.data import PIECES, SUMMARY
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.seeds import seed_of
from compression_gap.store import write_json

SECONDS_A_PAIR = 4e-5  # of a training batch


@dataclass(frozen=True)
class CertifiedBits(Job, kind="certified_bits", version=2):
    """A lower bound, with 95 %, on the bits that what an arm is told shares with the next chunk at a resolution.
    Writes summary.json."""

    resumable: ClassVar[bool] = True
    dataset: Dataset
    chunking: Chunking
    arm: Arm
    sigma: float
    """Standard deviation of the noise through which actions are looked at, on the scale [-1, 1]."""
    contrast: Contrast

    @property
    def title(self) -> str:
        return f"certain bits of {TOLD[self.arm]}"

    def cost(self) -> Cost:
        return Cost(3 + 2 * self.contrast.steps * self.contrast.batch * SECONDS_A_PAIR, memory_mb=1500)

    def run(self, context: Context) -> None:
        audited, pieces = Audited.of(self.dataset, self.chunking, context.store), context.folder / PIECES
        generator = torch.Generator().manual_seed(seed_of("resolution"))
        noise = self.sigma * torch.randn(audited.scaled.shape, generator=generator)
        found = certified_information(
            audited.inputs(self.arm).to(context.device),
            (audited.scaled + noise).to(context.device),
            torch.from_numpy(audited.windows.demonstration).to(context.device),
            self.contrast,
            pieces,
            context.report,
        )
        write_json(context.folder / SUMMARY, dataclasses.asdict(found))
        shutil.rmtree(pieces, ignore_errors=True)
