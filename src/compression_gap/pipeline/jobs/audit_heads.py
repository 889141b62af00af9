"""The job that retrains a policy head offline on a dataset: how far off its actions are, and what its code costs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from compression_gap.data.split import TRAIN
from compression_gap.data.trajectories import Chunking
from compression_gap.measures.aim import KINDS
from compression_gap.measures.attempts import read, write
from compression_gap.measures.quantity import mean_over_demonstrations
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.audited import TOLD, Arm, Audited
from compression_gap.pipeline.jobs.data import SUMMARY
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.pipeline.jobs.tokenizer_audit import AuditTokenizer, padded
from compression_gap.store import Store, write_json
from compression_gap.tokenizers.base import Tokenizer, Tokens
from compression_gap.training import part_of, save_tensors
from compression_gap.verdict.head_learning import Code, HeadTraining
from compression_gap.verdict.heads import Executed, retrain_heads

HEADS, EXECUTED = "heads", "errors.safetensors"
PARTS = ("errors", "rows", "demonstration")
READ_BACK, NOTHING = "reconstruction", "nothing"


@dataclass(frozen=True)
class AuditHead(Job, kind="audit_head", version=7):
    """A head retrained offline, for each division of the demonstrations: over a tokenizer's code, or a regression.
    Writes summary.json, the errors of every test chunk, and how far to the side it aims where a gripper's command
    changes."""

    resumable: ClassVar[bool] = True
    dataset: Dataset
    chunkings: tuple[Chunking, ...]
    """One for each division: equal but for their turn, the first without one."""
    arm: Arm
    """What it is told."""
    tokenizers: tuple[AuditTokenizer, ...]
    """One for each division, fitted on its training demonstrations; none: it predicts the chunk itself."""
    training: HeadTraining

    @property
    def title(self) -> str:
        over = f"codes of {self.tokenizers[0].tokenizer.kind}" if self.tokenizers else "actions"
        return f"policy head over {over}, told {TOLD[self.arm]}"

    def cost(self) -> Cost:
        replicas = len(self.training.seeds) * len(self.training.fractions)
        seconds = 5 + self.training.steps * replicas * (0.05 if self.tokenizers else 0.01)
        return Cost(len(self.chunkings) * seconds, memory_mb=1500)

    def run(self, context: Context) -> None:
        audited = Audited.of(self.dataset, self.chunkings[0], context.store)
        rank, count = audited.windows.rank, len(self.chunkings)
        executed, beside = [], []
        for number in range(count):
            report = part_of(context.report, number / count, (number + 1) / count)
            one, known = self._division(number, replace(context, report=report))
            aims = {kind: replace(aim, demonstration=rank[aim.rows]) for kind, aim in one.aims.items()}
            executed.append(replace(one, demonstration=rank[one.rows], aims=aims))
            beside.append(known)
        found = Executed.joined(executed)
        kept = {name: torch.from_numpy(getattr(found, name)) for name in PARTS}
        kept |= {name: torch.cat([known[name] for known in beside]) for name in beside[0]}
        if found.bits is not None:
            kept["bits"] = torch.from_numpy(found.bits)
        if found.division is not None:
            kept["division"] = torch.from_numpy(found.division)
        for kind, aim in found.aims.items():
            kept |= {f"{kind}.{name}": torch.from_numpy(getattr(aim, name)) for name in PARTS}
        save_tensors(kept, context.folder / EXECUTED)
        demonstrations = len(np.unique(rank[audited.windows.rows(TRAIN)]))
        write_json(context.folder / SUMMARY, told(found, kept.get(READ_BACK), audited, demonstrations))
        shutil.rmtree(context.folder / HEADS)

    def _division(self, number: int, context: Context) -> tuple[Executed, dict[str, Float[Tensor, " N"]]]:
        """What heads execute on the test chunks of one division, and mean squared errors beside theirs: of who knows
        nothing and executes the mean training chunk, and of the chunks as their own codes read them."""
        audited = Audited.of(self.dataset, self.chunkings[number], context.store)
        windows = audited.windows
        chunks = audited.scaled.unflatten(1, (windows.horizon, -1))
        code = code_of(audited, self.tokenizers[number].load(context.store)) if self.tokenizers else None
        where = (torch.from_numpy(windows.rank), self.training, context.folder / HEADS / str(number), context.report)
        found = retrain_heads(audited.inputs(self.arm), chunks, code, *where, looks=audited.looks)
        shown, mean = chunks[torch.from_numpy(found.rows)].double(), chunks[windows.rows(TRAIN)].double().mean(dim=0)
        beside = {NOTHING: (mean - shown).square().mean(dim=(1, 2))}
        if code is not None:
            back = code.read(code.ids[torch.from_numpy(found.rows)]).double()
            back = torch.where(back.isfinite().flatten(1).all(dim=1)[:, None, None], back, mean)
            beside[READ_BACK] = (back - shown).square().mean(dim=(1, 2))
        return found, beside

    def load(self, store: Store) -> Executed:
        """What the heads would execute on test chunks."""
        kept = {name: tensor.numpy() for name, tensor in load_file(store.folder(self) / EXECUTED).items()}
        way = json.loads((store.folder(self) / SUMMARY).read_text())["way"]
        fractions = self.training.fractions

        def found(first: str, bits: np.ndarray | None) -> Executed:
            errors, rows, demonstration = (kept[first + name] for name in PARTS)
            return Executed(fractions, errors, bits, rows, demonstration, way)

        aims = {kind: found(f"{kind}.", None) for kind in KINDS if f"{kind}.errors" in kept}
        return replace(found("", kept.get("bits")), aims=aims, division=kept.get("division"))

    def reconstruction(self, store: Store) -> Float[np.ndarray, " N"] | None:
        """Mean squared error of the test chunks as their own codes read them; None without a code."""
        kept = load_file(store.folder(self) / EXECUTED)
        return kept[READ_BACK].numpy() if READ_BACK in kept else None

    def nothing(self, store: Store) -> Float[np.ndarray, " N"]:
        """Mean squared error of the test chunks for who knows nothing and executes the mean training chunk."""
        return load_file(store.folder(self) / EXECUTED)[NOTHING].numpy()

    def variance(self, store: Store) -> float:
        """Of a scaled arm value, over all windows."""
        return json.loads((store.folder(self) / SUMMARY).read_text())["variance"]


def code_of(audited: Audited, tokenizer: Tokenizer) -> Code:
    """The codes of all chunks and how they are read; a chunk that cannot be written has a code that ends at once."""
    written = write(tokenizer, torch.from_numpy(audited.chunk))
    some = torch.from_numpy(padded(written.tokens, tokenizer.vocab_size))
    ids = torch.full((len(audited.chunk), some.shape[1]), -1, dtype=some.dtype)
    ids[:, 0] = tokenizer.vocab_size
    ids[written.rows] = some
    whole = ((ids >= 0) & (ids < tokenizer.vocab_size)).all()

    def chunks(codes: Int[Tensor, "M L"]) -> Float[Tensor, "M T a"]:
        ends = (codes < 0) | (codes >= tokenizer.vocab_size)
        length = torch.where(ends.any(dim=1), ends.long().argmax(dim=1), codes.shape[1])
        found = read(tokenizer, Tokens(codes.masked_fill(ends, 0), length))
        return audited.scale(found.chunk).where(found.valid[:, None, None], torch.nan)

    return Code(ids, tokenizer.vocab_size, tokenizer.digits if whole else None, chunks, tokenizer)


def told(
    found: Executed, read_back: Float[Tensor, " N"] | None, audited: Audited, demonstrations: int
) -> dict[str, Any]:
    """Errors of what is executed and of the code as shares of the arm's variance, the bits of the code that are left
    open, and aims."""
    values = audited.scaled.shape[1]
    errors = found.errors * values / audited.variance
    error = mean_over_demonstrations(errors[-1], found.demonstration, kind="estimate", unit="of the variance")
    back = left = None
    if read_back is not None:
        shares = read_back.numpy()[None] * values / audited.variance
        back = dataclasses.asdict(
            mean_over_demonstrations(shares, found.demonstration, kind="estimate", unit="of the variance")
        )
    if found.bits is not None:
        left = dataclasses.asdict(mean_over_demonstrations(found.bits[-1], found.demonstration, kind="upper bound"))
    aims = {
        kind: mean_over_demonstrations(aim.errors[-1], aim.demonstration, kind="estimate", unit="mm")
        for kind, aim in found.aims.items()
    }
    curve = errors.mean(axis=(1, 2)).tolist()
    counts = [int(np.ceil(fraction * demonstrations)) for fraction in found.fractions]
    return {
        "error": dataclasses.asdict(error),
        "read_back": back,
        "left": left,
        "aims": {kind: dataclasses.asdict(off) for kind, off in aims.items()},
        "way": found.way,
        "variance": audited.variance / values,
        "curve": [list(point) for point in zip(counts, curve, strict=True)],
    }
