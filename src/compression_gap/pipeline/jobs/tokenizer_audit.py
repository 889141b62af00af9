"""Jobs that fit a tokenizer to a dataset and measure its code: rate, error, and where it stands beside the bounds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from compression_gap.data.split import TEST, TRAIN, VALIDATION
from compression_gap.data.trajectories import Chunking, Trajectories
from compression_gap.measures.attempts import read, write
from compression_gap.measures.collisions import certified_entropy
from compression_gap.measures.distortion import POSITION, ROTATION, squared_drift, switched
from compression_gap.measures.entropy import held_out_marginals, nominal_bits
from compression_gap.measures.quantity import (
    BITS,
    DEMONSTRATIONS,
    Quantity,
    mean_over_demonstrations,
    root_mean_square,
    tightest,
)
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.audited import Audited
from compression_gap.pipeline.jobs.chunked import FittedTokenizer, Part
from compression_gap.pipeline.jobs.data import HELD_OUT_ROWS, SUMMARY, spread
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.pipeline.jobs.learning import learn
from compression_gap.pipeline.jobs.tokenizer_quality import cuts
from compression_gap.seeds import seed_of
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store, write_json
from compression_gap.suites.base import Legend
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec, Tokens
from compression_gap.training import WEIGHTS, Training, save_tensors


@dataclass(frozen=True)
class AuditTokenizer(FittedTokenizer, kind="audit_tokenizer", version=1):
    """A tokenizer fitted, and trained if it is learned, on a dataset's training chunks. Writes its weights."""

    resumable: ClassVar[bool] = True
    dataset: Dataset
    chunking: Chunking
    tokenizer: TokenizerSpec
    training: Training | None = None
    seed: int = 0

    @property
    def title(self) -> str:
        return f"tokenizer {self.tokenizer.kind}"

    def cost(self) -> Cost:
        cost = self.tokenizer.cost(self.chunking.horizon)
        rows = self.training.steps * self.training.batch if self.training else 0
        return Cost(2 + rows * cost.row, disk_mb=cost.weights_mb, gpus=1)

    def run(self, context: Context) -> None:
        audited = Audited.of(self.dataset, self.chunking, context.store)
        chunks = torch.from_numpy(audited.chunk)
        train, held = (chunks[audited.windows.rows(part)] for part in (TRAIN, VALIDATION))
        torch.manual_seed(seed_of(self.seed, "weights"))
        tokenizer = self.tokenizer.build(ChunkShape(*chunks.shape[1:])).to(context.device)
        tokenizer.fit(train.to(context.device))
        if self.training is None:
            save_tensors(tokenizer.state_dict(), context.folder / WEIGHTS)
            return
        held_out = held[spread(len(held), HELD_OUT_ROWS)].to(context.device)
        learn(
            tokenizer,
            lambda rows: train[rows].to(context.device),
            len(train),
            held_out,
            self.training,
            self.seed,
            context,
        )

    def load(self, store: Store) -> Tokenizer:
        """The tokenizer, frozen."""
        names = self.dataset.load(store).names
        tokenizer = self.tokenizer.build(ChunkShape(self.chunking.horizon, len(names)))
        tokenizer.load_state_dict(load_file(store.folder(self) / WEIGHTS))
        return tokenizer.requires_grad_(False).eval()

    @property
    def sources(self) -> tuple[Job, ...]:
        return (self.dataset,)

    @property
    def actions(self) -> int:
        return self.chunking.horizon

    def legend(self, store: Store) -> Legend:
        return self.dataset.load(store).legend

    def part(self, store: Store, *, held_out: bool) -> Part:
        audited = Audited.of(self.dataset, self.chunking, store)
        rows = audited.windows.rows(TEST if held_out else TRAIN)
        return Part(audited.chunk[rows], audited.windows.demonstration[rows])

    def known(self, store: Store, *, held_out: bool) -> Float[Tensor, "N S"]:
        """The features, else the true state, if they are there, and what is known besides."""
        audited = Audited.of(self.dataset, self.chunking, store)
        rows = torch.from_numpy(audited.windows.rows(TEST if held_out else TRAIN))
        told = audited.told
        return audited.inputs(told)[rows] if told else torch.zeros(len(rows), 0)


@dataclass(frozen=True)
class CodeAudit(Job, kind="code_audit", version=3):
    """A tokenizer's code of a dataset's chunks: bits, and the error of test chunks read back. Writes summary.json."""

    tokenizer: AuditTokenizer
    sigma: float
    """Resolution at which actions are looked at, as in the rest of the ledger."""

    @property
    def opens(self) -> tuple[Job, ...]:
        return (self.tokenizer.dataset,)

    @property
    def title(self) -> str:
        return f"code of {self.tokenizer.title}"

    def cost(self) -> Cost:
        return Cost(10.0, memory_mb=1500)

    def run(self, context: Context) -> None:
        job = self.tokenizer
        audited = Audited.of(job.dataset, job.chunking, context.store)
        windows, tokenizer = audited.windows, job.load(context.store)
        train, test = windows.rows(TRAIN), windows.rows(TEST)
        chunks = torch.from_numpy(audited.chunk)
        context.report(0.0, "writing")
        seen, written = write(tokenizer, chunks[train]), write(tokenizer, chunks[test])
        context.report(0.6, "reading")
        rows = test[written.rows.numpy()]
        demonstration = windows.demonstration[rows]
        told = read(tokenizer, written.tokens)
        kept = told.valid.numpy()
        longest = max(seen.tokens.ids.shape[1], written.tokens.ids.shape[1]) + tokenizer.varies
        ids, some = (padded(one.tokens, tokenizer.vocab_size, longest) for one in (written, seen))
        total = held_out_marginals(some, ids, demonstration, tokenizer.vocab_size)
        over = DEMONSTRATIONS if tokenizer.varies else "all codes of this shape"
        nominal = Quantity(nominal_bits(tokenizer, written.tokens.length), "upper bound", BITS, over)
        summary: dict[str, Any] = {
            "vocab_size": tokenizer.vocab_size,
            "tokens": float(written.tokens.length.double().mean()),
            "nominal": dataclasses.asdict(nominal),
            "marginals": dataclasses.asdict(total),
            "certified": dataclasses.asdict(certified_entropy(ids, demonstration)),
            "rate": dataclasses.asdict(tightest([nominal, total])),
            "chunks": len(test),
            "unwritten": len(test) - len(rows),
            "unreadable": int((~kept).sum()),
            "failure": written.failure or told.failure,
        }
        if kept.any():
            pair = (audited.chunk[rows[kept]], told.chunk.numpy()[kept])
            summary |= errors(audited, *pair, demonstration[kept])
            summary["prefixes"] = prefixes(audited, tokenizer, written.tokens, rows)
        write_json(context.folder / SUMMARY, summary)


def padded(tokens: Tokens, vocab_size: int, longest: int = 0) -> Int[np.ndarray, "N L"]:
    """Ids; behind the end of a code stands V, and then -1. As wide as these codes need, and at least `longest`."""
    ids, length = tokens.ids.numpy(), tokens.length.numpy()
    width = max(longest, ids.shape[1] + int(ids.shape[1] > length.min()))
    ids = np.pad(ids, ((0, 0), (0, width - ids.shape[1])))
    place = np.arange(ids.shape[1])
    ids[place >= length[:, None]] = -1
    ends = length < ids.shape[1]
    ids[np.flatnonzero(ends), length[ends]] = vocab_size
    return ids


def errors(
    audited: Audited,
    chunk: Float[np.ndarray, "N T D"],
    decoded: Float[np.ndarray, "N T D"],
    demonstration: Int[np.ndarray, " N"],
) -> dict[str, Any]:
    """Errors of chunks read back: share of the arm's variance (`error`), mm and degrees where units are known, and the
    share of steps at which a gripper or switch came out as another of its values."""
    squared, variance = audited.squared_error(chunk, decoded), audited.variance
    found: dict[str, Any] = {
        "error": _asdict(
            mean_over_demonstrations(squared[None] / variance, demonstration, kind="estimate", unit="of the variance")
        ),
        "squared_error": float(squared.mean()),
        "variance": variance,
    }
    legend = audited.trajectories.legend
    for unit, axes in (("mm", POSITION), ("degrees", ROTATION)):
        drift = squared_drift(chunk, decoded, legend, axes)
        found[unit] = None if drift is None else _asdict(root_mean_square(drift.mean(axis=1), demonstration, unit))
    found["switched"] = _switched(audited.trajectories, chunk, decoded, demonstration)
    return found


def prefixes(audited: Audited, tokenizer: Tokenizer, tokens: Tokens, rows: np.ndarray) -> list[dict[str, float]]:
    """Nominal bits and error of the first k tokens of an ordered code; nothing of other codes."""
    found = []
    for cut in cuts(tokenizer):
        told = read(tokenizer, Tokens(tokens.ids, tokens.length.clamp(max=cut)))
        kept = told.valid.numpy()
        if kept.any():
            squared = audited.squared_error(audited.chunk[rows[kept]], told.chunk.numpy()[kept])
            bits = cut * math.log2(tokenizer.vocab_size)
            found.append({"tokens": cut, "nominal_bits": bits, "error": float(squared.mean() / audited.variance)})
    return found


def _asdict(quantity: Quantity) -> dict[str, Any]:
    return dataclasses.asdict(quantity)


def _switched(
    given: Trajectories,
    chunk: Float[np.ndarray, "N T D"],
    decoded: Float[np.ndarray, "N T D"],
    demonstration: Int[np.ndarray, " N"],
) -> dict[str, Any] | None:
    """Share of steps at which the value that a switch had is not the nearest to what came out."""
    if not given.gripper:
        return None
    wrong = switched(chunk, decoded, given.gripper).any(axis=2)
    share = wrong.mean(axis=1)[None]
    return _asdict(mean_over_demonstrations(share, demonstration, kind="estimate", unit="of the steps"))
