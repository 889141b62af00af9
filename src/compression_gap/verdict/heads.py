"""Heads retrained offline: what a policy over these features, through this code, would execute on new demonstrations.

No rollout is needed, and no picture: features, chunks and codes are enough. Seeds and amounts of data are trained side
by side. The same budget and the same search go to every encoder and every code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from compression_gap.measures.ridge import fit_ridge
from compression_gap.measures.split import EVERY, TEST, TRAIN, VALIDATION, Split
from compression_gap.measures.token_probe import PADDING, in_digits
from compression_gap.seeds import seed_of
from compression_gap.shapes import Loss
from compression_gap.training import WEIGHTS, Report, Training, save_tensors, train
from compression_gap.verdict.head_models import ChunkHeads, CodeHeads

CANDIDATES = 4  # evenly spaced moments of training, among which validation demonstrations choose for each replica
DIRECTIONS = 16  # principal ones of the chunks, which the linear readout reads
NARROW = 64  # features up to this width cannot drown what matters, and are used whole without a trial
ROWS = 512  # evaluated at once
RESULT = "executed.safetensors"
WAYS = ("whole", "readout")
"""Features beside what a linear readout makes of them, or the readout alone."""


@dataclass(frozen=True)
class HeadTraining(Training, family="settings", kind="head_training", version=1):
    """How heads are built and trained: the same for every encoder and code, so that they compare."""

    steps: int = 400
    """Optimiser steps; validation demonstrations choose after how many quarters of them to stop."""
    batch: int = 64
    """Chunks a step, of every replica."""
    learning_rate: float = 1e-2
    """Of AdamW, betas (0.9, 0.95), no weight decay."""
    warmup: int = 20
    """Steps of linear warm-up."""
    clip: float = 1e6
    """Far above any gradient: replicas must not limit one another."""
    width: int = 64
    """Of the heads."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each trains heads of its own; intervals cover them."""
    fractions: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Of the training demonstrations, for the learning curve."""
    judged: int = 4000
    """Test chunks at most, evenly spaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"HeadTraining.seeds: expected at least one, each once; got {self.seeds}")
        ascending = list(self.fractions) == sorted(set(self.fractions))
        if not self.fractions or not ascending or self.fractions[0] <= 0 or self.fractions[-1] != 1:
            raise ValueError(
                f"HeadTraining.fractions: expected ascending shares above 0, the last of them 1; got {self.fractions}"
            )


@dataclass(frozen=True)
class Code:
    """The codes of all chunks, and how a code is read."""

    ids: Int[Tensor, "N L"]
    """Ids below V; behind a code shorter than L stand V, its end, and then -1, as `measures.token_probe.Codes` has it."""
    vocab_size: int
    digits: tuple[int, ...] | None
    """As `Tokenizer.digits`; None: an id is told at once."""
    read: Callable[[Int[Tensor, "M L"]], Float[Tensor, "M T D"]]
    """Scaled chunks of codes; rows of NaN where a code cannot be read, for which the mean chunk is executed."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Values of what is told one after the other: digits, or the whole id and the end."""
        varies = bool(((self.ids < 0) | (self.ids >= self.vocab_size)).any())
        return self.digits or (self.vocab_size + varies,)


@dataclass(frozen=True)
class Executed:
    """What heads would execute on test chunks, by fraction of the training demonstrations and seed."""

    fractions: tuple[float, ...]
    errors: Float[np.ndarray, "fractions seeds N"]
    """Mean squared error of a chunk's scaled values: of the likeliest code as it is read, or of the regression."""
    bits: Float[np.ndarray, "fractions seeds N"] | None
    """Code length of every chunk given the features, in bits; None without a code."""
    rows: Int[np.ndarray, " N"]
    """Which of all chunks were tested."""
    demonstration: Int[np.ndarray, " N"]
    way: str
    """How the features were used; validation demonstrations chose."""


@dataclass(frozen=True)
class _Data:
    """What replicas learn: each from rows of its own."""

    inputs: Float[Tensor, "N F"]
    target: Tensor
    """Digits [N, P] or chunks [N, A]."""
    rows: tuple[Int[Tensor, " _M"], ...]
    seeds: tuple[int, ...]


class _Heads(nn.Module):
    """A module with a loss, for `train`."""

    def __init__(self, model: ChunkHeads | CodeHeads) -> None:
        super().__init__()
        self.model = model

    def each(self, seen: Float[Tensor, "R B F"], target: Tensor) -> Float[Tensor, "R B"]:
        if isinstance(self.model, CodeHeads):
            return self.model.nats(seen, target)
        return self.model.errors(seen, target)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Loss:
        each = self.each(*batch)
        return Loss(each.mean(dim=1).sum(), {"mean": each.detach().mean()})


def retrain_heads(
    features: Float[Tensor, "N F"],
    chunks: Float[Tensor, "N T D"],
    code: Code | None,
    demonstration: Int[Tensor, " N"],
    training: HeadTraining,
    folder: Path,
    report: Report,
) -> Executed:
    """Trains a head for every fraction and seed, and executes it on the test demonstrations.

    `chunks` are scaled as the policy's own; `code` None: the head is a regression. What is trained is kept in `folder`,
    so that a killed call goes on from there; a call that was finished returns what is there. Raises ValueError if rows
    do not match, numbers are not finite, or there are too few demonstrations to split.
    """
    split = Split(demonstration)
    _check(features, chunks, code, split)
    rows = _evenly(split.rows(TEST), training.judged)
    tested = (rows.cpu().numpy(), demonstration[rows].cpu().numpy())
    if (folder / RESULT).exists():
        kept = load_file(folder / RESULT)
        bits = kept["bits"].numpy() if "bits" in kept else None
        way = WAYS[int(kept["way"])]
        return Executed(training.fractions, kept["errors"].numpy(), bits, *tested, way)
    folder.mkdir(parents=True, exist_ok=True)
    target = chunks.flatten(1) if code is None else in_digits(code.ids, code.levels).flatten(1)
    inputs = _inputs(features, chunks.flatten(1), split)
    way = WAYS[0]
    if features.shape[1] > NARROW:
        way = _better(inputs, target, code, split, training, folder / "trial", _part_of(report, 0.0, 0.3))
        report = _part_of(report, 0.3, 1.0)
    replicas = [(fraction, seed) for fraction in training.fractions for seed in training.seeds]
    own = tuple(split.rows(TRAIN, fraction) for fraction, _ in replicas)
    data = _Data(inputs[way], target, own, tuple(seed for _, seed in replicas))
    heads, _ = _trained(data, code, split, training, folder, report)
    shape = (len(training.fractions), len(training.seeds), len(rows))
    mean = chunks[split.rows(TRAIN)].mean(dim=0).flatten()
    errors = _executed(heads.model, inputs[way][rows], chunks[rows], code, mean)
    result = {"errors": errors.view(shape), "way": torch.tensor(WAYS.index(way))}
    if code is not None:
        result["bits"] = _evaluated(heads, inputs[way][rows], target[rows]).view(shape) / np.log(2)
    save_tensors(result, folder / RESULT)
    bits = result["bits"].cpu().numpy() if code is not None else None
    return Executed(training.fractions, result["errors"].cpu().numpy(), bits, *tested, way)


def _check(features: Tensor, chunks: Tensor, code: Code | None, split: Split) -> None:
    count = len(chunks)
    for name, values in {"features": features, "demonstration": split.demonstration}.items():
        if len(values) != count:
            raise ValueError(f"{name}: expected {count} rows, one a chunk; got {len(values)}")
    if code is not None and len(code.ids) != count:
        raise ValueError(f"code: expected {count} rows, one a chunk; got {len(code.ids)}")
    for name, values in {"features": features, "chunks": chunks}.items():
        wrong = torch.nonzero(~torch.isfinite(values).flatten(1).all(dim=1)).flatten()
        if len(wrong):
            raise ValueError(
                f"{name}: expected finite numbers, got NaN or infinite ones in {len(wrong)} of {count} chunks, the "
                f"first of them number {int(wrong[0])}"
            )
    if split.fewest == 0:
        raise ValueError(
            f"demonstration: heads need demonstrations to learn from, to stop by and to be tested on, at least "
            f"{EVERY}; got {len(torch.unique(split.demonstration))}"
        )


def _evenly(rows: Int[Tensor, " M"], most: int) -> Int[Tensor, " m"]:
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most, device=rows.device).long()]


def _part_of(report: Report, first: float, last: float) -> Report:
    def told(done: float, text: str) -> None:
        report(first + (last - first) * done, text)

    return told


def _standardised(values: Float[Tensor, "N F"], rows: Int[Tensor, " M"]) -> Float[Tensor, "N F"]:
    spread, mean = torch.std_mean(values[rows].double(), dim=0, correction=0)
    return ((values.double() - mean) / spread.clamp(min=1e-6)).where(spread > 1e-6, 0.0).float()


def _inputs(
    features: Float[Tensor, "N F"], chunks: Float[Tensor, "N A"], split: Split
) -> dict[str, Float[Tensor, "N _F"]]:
    """Both ways of using the features: with what ridge regression reads from them of the chunks, or only that."""
    rows = split.rows(TRAIN)
    scaled = _standardised(features, rows)
    if len(torch.unique(split.demonstration[rows])) < 2:
        return {"whole": scaled, "readout": scaled}
    centred = (chunks[rows] - chunks[rows].mean(dim=0)).double()
    _, directions = torch.linalg.eigh(centred.T @ centred)
    readout = fit_ridge(scaled[rows], (centred @ directions[:, -DIRECTIONS:]).float(), split.demonstration[rows])
    read = readout(scaled)
    read[rows] = readout.unseen
    read = _standardised(read, rows)
    return {"whole": torch.cat([scaled, read], dim=1), "readout": read}


def _better(
    inputs: dict[str, Tensor],
    target: Tensor,
    code: Code | None,
    split: Split,
    training: HeadTraining,
    folder: Path,
    report: Report,
) -> str:
    """The way of using features with the smaller loss on validation demonstrations, for one seed and all the data."""
    losses = []
    for number, way in enumerate(WAYS):
        data = _Data(inputs[way], target, (split.rows(TRAIN),), training.seeds[:1])
        part = _part_of(report, number / len(WAYS), (number + 1) / len(WAYS))
        losses.append(float(_trained(data, code, split, training, folder / way, part)[1]))
    return WAYS[int(np.argmin(losses))]


def _trained(
    data: _Data, code: Code | None, split: Split, training: HeadTraining, folder: Path, report: Report
) -> tuple[_Heads, Float[Tensor, " R"]]:
    """Heads with the weights that do best on validation demonstrations, and their loss there; of each replica its own."""
    folder.mkdir(parents=True, exist_ok=True)
    heads = _untrained(data, code, training)
    rows = _evenly(split.rows(VALIDATION), training.judged)
    seen, target = data.inputs[rows], data.target[rows]

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        draws = []
        for own, seed in zip(data.rows, data.seeds, strict=True):
            drawn = np.random.default_rng([seed, step]).integers(len(own), size=training.batch)
            draws.append(own[torch.from_numpy(drawn).to(own.device)])
        chosen = torch.stack(draws)
        return data.inputs[chosen], data.target[chosen]

    few = torch.arange(min(ROWS, len(rows))).expand(len(data.rows), -1)
    milestones = sorted({training.steps * k // CANDIDATES for k in range(1, CANDIDATES)} - {0})
    files = [*(folder / f"weights-{step}.safetensors" for step in milestones), folder / WEIGHTS]
    if not all(file.exists() for file in files):
        watched = (seen[few], target[few])
        train(heads, batch_at, [watched], training, seed=0, folder=folder, report=report, milestones=milestones)
    candidates = [load_file(file) for file in files]
    losses = []
    for candidate in candidates:
        heads.load_state_dict(candidate)
        losses.append(_evaluated(heads, seen, target).mean(dim=1))
    best = torch.stack(losses).argmin(dim=0).tolist()
    chosen = {
        name: torch.stack([candidates[moment][name][replica] for replica, moment in enumerate(best)])
        for name in candidates[0]
    }
    heads.load_state_dict(chosen)
    return heads.eval(), torch.stack(losses).amin(dim=0)


def _untrained(data: _Data, code: Code | None, training: HeadTraining) -> _Heads:
    wide, out, count = data.inputs.shape[1], data.target.shape[1], len(data.rows)

    def build(replicas: int) -> ChunkHeads | CodeHeads:
        if code is None:
            return ChunkHeads(replicas, wide, out, training.width)
        return CodeHeads(replicas, wide, code.levels, code.ids.shape[1], training.width)

    model = build(count)
    with torch.no_grad():
        for replica, (seed, rows) in enumerate(zip(data.seeds, data.rows, strict=True)):
            torch.manual_seed(seed_of(seed, "heads"))
            for whole, one in zip(model.parameters(), build(1).parameters(), strict=True):
                whole[replica] = one[0]
            if isinstance(model, CodeHeads):
                model.fit(replica, data.target[rows].unflatten(1, (-1, len(model.levels))))
            else:
                model.offset[replica, 0] = data.target[rows].mean(dim=0)
    return _Heads(model).to(data.inputs.device)


@torch.no_grad()
def _evaluated(heads: _Heads, seen: Float[Tensor, "N F"], target: Tensor) -> Float[Tensor, "R N"]:
    """The loss of every row, by replica."""
    count = next(heads.parameters()).shape[0]
    pairs = zip(seen.split(ROWS), target.split(ROWS), strict=True)
    parts = [heads.each(x.expand(count, -1, -1), y.expand(count, -1, -1)) for x, y in pairs]
    return torch.cat(parts, dim=1).double()


@torch.no_grad()
def _executed(
    model: ChunkHeads | CodeHeads,
    seen: Float[Tensor, "N F"],
    chunks: Float[Tensor, "N T D"],
    code: Code | None,
    mean: Float[Tensor, " A"],
) -> Float[Tensor, "R N"]:
    """Mean squared errors of what is executed, by replica."""
    count, parts = next(model.parameters()).shape[0], []
    for x, wanted in zip(seen.split(ROWS), chunks.flatten(1).split(ROWS), strict=True):
        shown = x.expand(count, -1, -1)
        if isinstance(model, CodeHeads):
            assert code is not None, "a head over codes was built for one"
            ids = _ids(model.greedy(shown).flatten(0, 1), code)
            acted = code.read(ids).flatten(1).to(wanted)
            readable = torch.isfinite(acted).all(dim=1, keepdim=True)
            acted = torch.where(readable, acted, mean).unflatten(0, (count, -1))
        else:
            acted = model(shown)
        parts.append((acted - wanted).square().mean(dim=2))
    return torch.cat(parts, dim=1).double()


def _ids(digits: Int[Tensor, "M P"], code: Code) -> Int[Tensor, "M L"]:
    """Ids from digits; -1 behind the first end."""
    levels = torch.tensor(code.levels, device=digits.device)
    radix = torch.cat([levels.new_ones(1), levels[:-1].cumprod(0)])
    ids = (digits.unflatten(1, (-1, len(levels))) * radix).sum(dim=2)
    ended = (ids == code.vocab_size).cumsum(dim=1)
    behind = (ended - (ids == code.vocab_size).long()) > 0
    return ids.masked_fill(behind, PADDING)
