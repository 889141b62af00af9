"""Heads as they are learned: replicas side by side, with their weights at several moments to choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from compression_gap.config import added_later
from compression_gap.data.split import VALIDATION, Split
from compression_gap.measures.token_probe import PADDING
from compression_gap.seeds import seed_of
from compression_gap.shapes import Loss
from compression_gap.tokenizers.base import Tokenizer
from compression_gap.training import WEIGHTS, Report, Training, train
from compression_gap.verdict.head_models import ChunkHeads, CodeHeads
from compression_gap.verdict.policy_heads import PolicyHeads

CANDIDATES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the steps, among which validation demonstrations choose
ROWS = 512  # evaluated at once


@dataclass(frozen=True)
class HeadTraining(Training, family="settings", kind="head_training", version=1):
    """How heads are built and trained: the same for every encoder and code, so that they compare."""

    steps: int = 400
    """Optimiser steps; validation demonstrations choose after which of five shares of them to stop, for each replica,
    and for what is executed and for code lengths apart: code lengths suffer from memorising much sooner."""
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
    layers: int = added_later(0)
    """Of heads over codes that are policies (`verdict.policy_heads`), which take steps of many times the cost; 0: such
    as sum up what the tokens before tell (`verdict.head_models`)."""
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
    """Ids below V; behind a code shorter than L stand V, its end, and then -1, as in `measures.token_probe.Codes`."""
    vocab_size: int
    digits: tuple[int, ...] | None
    """As `Tokenizer.digits`; None: an id is told at once."""
    read: Callable[[Int[Tensor, "M L"]], Float[Tensor, "M T D"]]
    """Scaled chunks of codes; rows of NaN where a code cannot be read, for which the mean chunk is executed."""
    tokenizer: Tokenizer | None = None
    """Which ids can follow which; heads that are policies keep to it, and there are none without."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Values of what is told one after the other: digits, or the whole id and the end."""
        varies = bool(((self.ids < 0) | (self.ids >= self.vocab_size)).any())
        return self.digits or (self.vocab_size + varies,)


@dataclass(frozen=True)
class Inputs:
    """What each of R replicas is shown of every chunk: features, and a linear readout of them."""

    features: Float[Tensor, "N F"]
    """The same for all; no columns where only the readout is used."""
    readouts: Float[Tensor, "A N K"]
    """One for each amount of demonstrations: what a replica is shown was fitted on no more than it learns from."""
    amount: Int[Tensor, " R"]
    """Which of them is the replica's."""

    @property
    def width(self) -> int:
        return self.features.shape[1] + self.readouts.shape[2]

    def of_each(self, rows: Int[Tensor, "R B"]) -> Float[Tensor, "R B W"]:
        """Of rows of its own for each replica."""
        return torch.cat([self.features[rows], self.readouts[self.amount[:, None], rows]], dim=2)

    def of_all(self, rows: Int[Tensor, " M"]) -> Float[Tensor, "R M W"]:
        """Of the same rows for all."""
        return self.of_each(rows.expand(len(self.amount), -1))


@dataclass(frozen=True)
class Lessons:
    """What replicas learn: each from rows of its own."""

    inputs: Inputs
    target: Tensor
    """Digits [N, P] or chunks [N, A]."""
    rows: tuple[Int[Tensor, " _M"], ...]
    seeds: tuple[int, ...]


class Heads(nn.Module):
    """A module with a loss, for `train`."""

    def __init__(self, model: ChunkHeads | CodeHeads | PolicyHeads) -> None:
        super().__init__()
        self.model = model

    def each(self, seen: Float[Tensor, "R B F"], target: Tensor) -> Float[Tensor, "R B"]:
        """Code length in nats, or mean squared error, of every row."""
        if isinstance(self.model, ChunkHeads):
            return self.model.errors(seen, target)
        return self.model.nats(seen, target)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Loss:
        """The sum over replicas, so that each has the gradient that it would have alone."""
        each = self.each(*batch)
        return Loss(each.mean(dim=1).sum(), {"mean": each.detach().mean()})


def evenly(rows: Int[Tensor, " M"], most: int) -> Int[Tensor, " m"]:
    """At most that many rows, from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most, device=rows.device).long()]


def trained(
    data: Lessons, code: Code | None, split: Split, training: HeadTraining, folder: Path, report: Report
) -> tuple[Heads, list[dict[str, Tensor]]]:
    """Heads, and their weights at several moments of training."""
    folder.mkdir(parents=True, exist_ok=True)
    heads = _untrained(data, code, training)

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        draws = []
        for own, seed in zip(data.rows, data.seeds, strict=True):
            drawn = np.random.default_rng([seed, step]).integers(len(own), size=training.batch)
            draws.append(own[torch.from_numpy(drawn).to(own.device)])
        chosen = torch.stack(draws)
        return data.inputs.of_each(chosen), data.target[chosen]

    few = split.rows(VALIDATION)[:ROWS]
    watched = (data.inputs.of_all(few), data.target[few].expand(len(data.rows), -1, -1))
    milestones = sorted({int(training.steps * share) for share in CANDIDATES} - {0, training.steps})
    files = [*(folder / f"weights-{step}.safetensors" for step in milestones), folder / WEIGHTS]
    if not all(file.exists() for file in files):
        train(heads, batch_at, [watched], training, seed=0, folder=folder, report=report, milestones=milestones)
    return heads.eval(), [load_file(file) for file in files]


def choose(
    heads: Heads, moments: list[dict[str, Tensor]], loss: Callable[[], Float[Tensor, " R"]]
) -> Float[Tensor, " R"]:
    """Gives each replica the weights of the moment at which its own loss is least, and returns these losses."""
    losses = []
    for moment in moments:
        heads.load_state_dict(moment)
        losses.append(loss())
    best = torch.stack(losses).argmin(dim=0).tolist()
    if isinstance(heads.model, PolicyHeads):
        mixed = heads.model.mixed(moments, best, "model.")
    else:
        mixed = {
            name: torch.stack([moments[m][name][replica] for replica, m in enumerate(best)]) for name in moments[0]
        }
    heads.load_state_dict(mixed)
    return torch.stack(losses).amin(dim=0)


def _untrained(data: Lessons, code: Code | None, training: HeadTraining) -> Heads:
    wide, out, count = data.inputs.width, data.target.shape[1], len(data.rows)
    if code is not None and training.layers:
        assert code.tokenizer is not None, "who asks for policies gives them a tokenizer"
        heads = PolicyHeads(data.seeds, wide, code.tokenizer, training.width, training.layers)
        return Heads(heads).to(data.target.device)

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
    return Heads(model).to(data.target.device)


def mean_loss(heads: Heads, data: Lessons, rows: Int[Tensor, " M"]) -> Float[Tensor, " R"]:
    """The mean loss of some rows, by replica."""
    return loss_of_rows(heads, data, rows).mean(dim=1)


@torch.no_grad()
def loss_of_rows(heads: Heads, data: Lessons, rows: Int[Tensor, " M"]) -> Float[Tensor, "R M"]:
    """The loss of each of some rows, by replica."""
    count = len(data.rows)
    parts = [heads.each(data.inputs.of_all(some), data.target[some].expand(count, -1, -1)) for some in rows.split(ROWS)]
    return torch.cat(parts, dim=1).double()


@torch.no_grad()
def errors_of_rows(
    model: ChunkHeads | CodeHeads | PolicyHeads,
    inputs: Inputs,
    rows: Int[Tensor, " M"],
    chunks: Float[Tensor, "N T D"],
    code: Code | None,
    mean: Float[Tensor, " A"],
) -> Float[Tensor, "R M"]:
    """Mean squared errors of what is executed at some rows, by replica."""
    parts = [executed(model, inputs, some, code, mean) - chunks[some].flatten(1) for some in rows.split(ROWS)]
    return torch.cat([part.square().mean(dim=2) for part in parts], dim=1).double()


@torch.no_grad()
def executed(
    model: ChunkHeads | CodeHeads | PolicyHeads,
    inputs: Inputs,
    rows: Int[Tensor, " M"],
    code: Code | None,
    mean: Float[Tensor, " A"],
) -> Float[Tensor, "R M A"]:
    """Chunks that are executed at some rows, by replica: regressed, or read from the likeliest codes; the mean chunk
    where a code cannot be read."""
    shown = inputs.of_all(rows)
    if isinstance(model, ChunkHeads):
        return model(shown)
    assert code is not None, "a head over codes was built for one"
    ids = _ids(model.greedy(shown).flatten(0, 1), code)
    acted = code.read(ids).flatten(1).to(shown)
    readable = torch.isfinite(acted).all(dim=1, keepdim=True)
    return torch.where(readable, acted, mean).unflatten(0, shown.shape[:2])


def _ids(digits: Int[Tensor, "M P"], code: Code) -> Int[Tensor, "M L"]:
    """Ids from digits; -1 behind the first end."""
    levels = torch.tensor(code.levels, device=digits.device)
    radix = torch.cat([levels.new_ones(1), levels[:-1].cumprod(0)])
    ids = (digits.unflatten(1, (-1, len(levels))) * radix).sum(dim=2)
    ended = (ids == code.vocab_size).cumsum(dim=1)
    behind = (ended - (ids == code.vocab_size).long()) > 0
    return ids.masked_fill(behind, PADDING)
