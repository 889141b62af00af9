"""The job that retrains a policy head offline on a dataset: how far off its actions are, and what its code costs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from compression_gap.data.trajectories import Chunking
from compression_gap.measures.attempts import read, write
from compression_gap.measures.quantity import mean_over_demonstrations
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.audited import TOLD, Arm, Audited
from compression_gap.pipeline.jobs.data import SUMMARY
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.pipeline.jobs.tokenizer_audit import AuditTokenizer, padded
from compression_gap.store import Store, write_json
from compression_gap.tokenizers.base import Tokenizer, Tokens
from compression_gap.training import save_tensors
from compression_gap.verdict.heads import Code, Executed, HeadTraining, retrain_heads

HEADS, EXECUTED = "heads", "errors.safetensors"


@dataclass(frozen=True)
class AuditHead(Job, kind="audit_head", version=1):
    """A head retrained offline: over a tokenizer's code, or a regression. Writes summary.json and the errors of every
    test chunk."""

    resumable: ClassVar[bool] = True
    dataset: Dataset
    chunking: Chunking
    arm: Arm
    """What it is told."""
    tokenizer: AuditTokenizer | None
    """None: it predicts the chunk itself."""
    training: HeadTraining

    @property
    def title(self) -> str:
        over = "actions" if self.tokenizer is None else f"codes of {self.tokenizer.tokenizer.kind}"
        return f"policy head over {over}, told {TOLD[self.arm]}"

    def cost(self) -> Cost:
        replicas = len(self.training.seeds) * len(self.training.fractions)
        return Cost(5 + self.training.steps * replicas * (0.01 if self.tokenizer is None else 0.05), memory_mb=1500)

    def run(self, context: Context) -> None:
        audited = Audited.of(self.dataset, self.chunking, context.store)
        windows, given = audited.windows, audited.trajectories
        chunks = audited.scaled.unflatten(1, (windows.horizon, -1))
        tokenizer = None if self.tokenizer is None else self.tokenizer.load(context.store)
        code, written = None, torch.arange(len(chunks))
        if tokenizer is not None:
            code, written = code_of(audited, tokenizer)
        rank = torch.from_numpy(given.rank[windows.demonstration])
        found = retrain_heads(
            audited.inputs(self.arm)[written],
            chunks[written],
            code,
            rank[written],
            self.training,
            context.folder / HEADS,
            context.report,
        )
        kept = {"errors": torch.from_numpy(found.errors), "rows": written[torch.from_numpy(found.rows)]}
        if found.bits is not None:
            kept["bits"] = torch.from_numpy(found.bits)
        kept["demonstration"] = torch.from_numpy(found.demonstration)
        save_tensors(kept, context.folder / EXECUTED)
        demonstrations = len(np.unique(given.rank[windows.demonstration[windows.part == 0]]))
        write_json(context.folder / SUMMARY, told(found, audited, demonstrations))

    def load(self, store: Store) -> dict[str, np.ndarray]:
        """`errors` [fractions, seeds, M] and, over a code, `bits`; `rows` and `demonstration` [M] of the test chunks."""
        return {name: tensor.numpy() for name, tensor in load_file(store.folder(self) / EXECUTED).items()}


def code_of(audited: Audited, tokenizer: Tokenizer) -> tuple[Code, Int[Tensor, " m"]]:
    """The codes of all chunks that can be written, how they are read, and which chunks these are."""
    written = write(tokenizer, torch.from_numpy(audited.chunk))
    ids = torch.from_numpy(padded(written.tokens, tokenizer.vocab_size))
    whole = tokenizer.digits if not tokenizer.varies else None

    def chunks(codes: Int[Tensor, "M L"]) -> Float[Tensor, "M T D"]:
        ends = (codes < 0) | (codes >= tokenizer.vocab_size)
        length = torch.where(ends.any(dim=1), ends.long().argmax(dim=1), codes.shape[1])
        found = read(tokenizer, Tokens(codes.masked_fill(ends, 0), length))
        return audited.scale(found.chunk).where(found.valid[:, None, None], torch.nan)

    return Code(ids, tokenizer.vocab_size, whole, chunks), written.rows


def told(found: Executed, audited: Audited, demonstrations: int) -> dict[str, Any]:
    """Error of what is executed as a share of the arm's variance, and the length of the code that the arm leaves open."""
    values = audited.scaled.shape[1]
    errors = found.errors * values / audited.variance
    error = mean_over_demonstrations(errors[-1], found.demonstration, kind="estimate", unit="of the variance")
    left = None
    if found.bits is not None:
        left = dataclasses.asdict(mean_over_demonstrations(found.bits[-1], found.demonstration, kind="upper bound"))
    curve = errors.mean(axis=(1, 2)).tolist()
    counts = [int(np.ceil(fraction * demonstrations)) for fraction in found.fractions]
    return {
        "error": dataclasses.asdict(error),
        "left": left,
        "way": found.way,
        "curve": [list(point) for point in zip(counts, curve, strict=True)],
    }
