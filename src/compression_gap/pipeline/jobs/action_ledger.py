"""The job that measures actions alone, and what features tell about them linearly: seconds for any dataset."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from compression_gap.data.split import TEST, TRAIN, VALIDATION
from compression_gap.data.trajectories import Chunking
from compression_gap.measures.linear_bits import LinearBits, RowsByPart, linear_bits, readout
from compression_gap.measures.rate_distortion import held_out_spectrum
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.audited import Arm, Audited
from compression_gap.pipeline.jobs.data import SUMMARY
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.store import write_json

SIGMA = 0.025


@dataclass(frozen=True)
class ActionLedger(Job, kind="action_ledger", version=3):
    """Bits of chunks at a resolution, the Gaussian's rate-distortion function, and what every arm tells linearly.
    Writes summary.json."""

    resumable: ClassVar[bool] = True
    dataset: Dataset
    chunking: Chunking
    controls: tuple[Arm, ...] = ()
    """Arms beside those that the dataset has anyway: `shuffled`, `random`."""
    sigma: float = SIGMA
    """Standard deviation of the noise through which actions are looked at, on the scale [-1, 1]."""

    @property
    def title(self) -> str:
        return "bits of actions"

    def cost(self) -> Cost:
        return Cost(20.0, memory_mb=1500)

    def run(self, context: Context) -> None:
        audited = Audited.of(self.dataset, self.chunking, context.store)
        windows, given = audited.windows, audited.trajectories
        rows = RowsByPart(*(windows.rows(part) for part in (TRAIN, VALIDATION, TEST)))
        train, test = rows.train, rows.test
        chunk, demonstration = audited.scaled.double().numpy(), windows.demonstration
        arms: list[Arm] = [*audited.arms, *(arm for arm in self.controls if given.features is not None)]
        reads: dict[Arm, np.ndarray] = {}
        for number, arm in enumerate(arms):
            context.report(number / len(arms), arm)
            read = readout(audited.inputs(arm), audited.scaled, train, torch.from_numpy(demonstration))
            reads[arm] = read.double().numpy()
        alone = linear_bits(chunk, [], rows, demonstration, self.sigma)
        known = [reads["known"]] if "known" in reads else []
        found = {
            arm: linear_bits(chunk, [*known, read], rows, demonstration, self.sigma) for arm, read in reads.items()
        }
        summary: dict[str, Any] = {
            "source": given.source,
            "notes": [*given.notes, *windows.notes],
            "steps": len(given.action),
            "demonstrations": given.demonstrations,
            "tasks": len(given.tasks),
            "chunks": len(chunk),
            "chunks_there": windows.there,
            "stride": windows.stride,
            "train_chunks": len(train),
            "test_chunks": len(test),
            "test_demonstrations": len(np.unique(windows.demonstration[test])),
            "values": chunk.shape[1],
            "left_out": list(audited.left_out),
            "names": list(given.names),
            "units": given.scale is not None,
            "features": None if given.features is None else given.features.shape[1],
            "sigma": self.sigma,
            "variances": held_out_spectrum(chunk[train], chunk[test]).variances.tolist(),
            "total_variance": float(alone.error.mean()),
            "held": dataclasses.asdict(alone.held),
            "arms": {arm: _told(one, found.get("known"), arm) for arm, one in found.items()},
        }
        write_json(context.folder / SUMMARY, summary)


def _told(one: LinearBits, known: LinearBits | None, arm: str) -> dict[str, Any]:
    """What an arm tells, and leaves open."""
    return {
        "told": dataclasses.asdict(one.told),
        "left": dataclasses.asdict(one.left),
        "beyond": dataclasses.asdict(one.beyond(known)) if known is not None and arm != "known" else None,
        "error": float(one.error.mean()),
    }
