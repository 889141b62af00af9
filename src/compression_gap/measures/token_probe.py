"""Held-out code length of tokens, without and with features: what an encoder tells about a code.

Every encoder gets the same probe, the same chunks and the same training. An id is told digit by digit, so that ids that
share a digit are learned together: from few demonstrations that comes much nearer to the truth than scoring every id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from compression_gap.data.split import EVERY, TEST, TRAIN, VALIDATION, Split
from compression_gap.measures.code_lengths import CodeLengths
from compression_gap.measures.early_stopping import train_and_stop
from compression_gap.measures.room import check_room
from compression_gap.seeds import seed_of
from compression_gap.shapes import Loss
from compression_gap.training import Report, Training
from compression_gap.transformer import Transformer, causal_mask

FRACTIONS = (0.25, 0.5, 1.0)
"""Of the training demonstrations, for the learning curve."""
PADDING = -1
CANDIDATES = 8  # evenly spaced moments of training, among which validation demonstrations choose
ROWS = 512  # evaluated at once


@dataclass(frozen=True)
class TokenProbing(Training, family="settings", kind="token_probing", version=1):
    """How probes of tokens are built and trained: the same for every encoder, so that their bits compare."""

    steps: int = 800
    """Optimiser steps; validation demonstrations choose after how many eighths of them to stop."""
    batch: int = 128
    """Chunks a step."""
    learning_rate: float = 3e-3
    """Of AdamW, betas (0.9, 0.95), no weight decay."""
    width: int = 64
    """Of the transformer."""
    layers: int = 1
    """Of the transformer."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each trains probes of its own; the interval covers them."""
    fractions: tuple[float, ...] = FRACTIONS
    """Of the training demonstrations: without a half, nothing can be said about convergence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"TokenProbing.seeds: expected at least one, each once; got {self.seeds}")
        ascending = list(self.fractions) == sorted(set(self.fractions))
        if not self.fractions or not ascending or self.fractions[0] <= 0 or self.fractions[-1] != 1:
            raise ValueError(
                f"TokenProbing.fractions: expected ascending shares above 0, the last of them 1; got {self.fractions}"
            )


@dataclass(frozen=True)
class Codes:
    """Codes of the chunks of several demonstrations. Raises ValueError if they cannot be measured."""

    ids: Int[Tensor, "N L"]
    """Ids below V; behind a code shorter than L stand V, its end, and then -1."""
    demonstration: Int[Tensor, " N"]
    vocab_size: int
    digits: tuple[int, ...] | None
    """As `Tokenizer.digits`; None: an id is told at once."""
    task: Int[Tensor, " N"] | None = None
    """Of every chunk: demonstrations are divided task by task. None: they are all of one."""

    def __post_init__(self) -> None:
        if self.ids.numel() == 0:
            raise ValueError(f"ids: expected codes of at least one token, got shape {tuple(self.ids.shape)}")
        if self.ids.min() < PADDING or self.ids.max() > self.vocab_size:
            raise ValueError(
                f"ids: expected 0 to {self.vocab_size - 1}, {self.vocab_size} for the end and -1 behind it; "
                f"got {int(self.ids.min())} to {int(self.ids.max())}"
            )
        if self.digits is not None and (math.prod(self.digits) != self.vocab_size or self.varies):
            raise ValueError(
                f"digits: expected all {self.vocab_size} ids of codes of one length as digits, got {self.digits}"
                f"{' and codes that end early' if self.varies else ''}; give None to tell ids at once"
            )
        if self.split.fewest == 0:
            count = len(torch.unique(self.demonstration))
            raise ValueError(
                f"demonstration: code lengths on held-out chunks need demonstrations of a task to train on, to stop by "
                f"and to test on, at least {EVERY}; got {count} of all tasks"
            )

    @property
    def varies(self) -> bool:
        """Whether some code ends early."""
        return bool(((self.ids < 0) | (self.ids >= self.vocab_size)).any())

    @cached_property
    def split(self) -> Split:
        """Which of them are for what."""
        return Split(self.demonstration, self.task)

    @property
    def part(self) -> Int[Tensor, " N"]:
        """TRAIN, VALIDATION or TEST of every chunk: by the number of its demonstration within its task."""
        return self.split.part

    @property
    def levels(self) -> tuple[int, ...]:
        """Values of what is told one after the other: digits, or the whole id and the end."""
        return self.digits or (self.vocab_size + self.varies,)

    def rows(self, part: int, fraction: float = 1.0) -> Int[Tensor, " M"]:
        """Row numbers of a part; of its demonstrations only a fraction, which a larger fraction contains."""
        return self.split.rows(part, fraction)


@dataclass(frozen=True)
class Told:
    """Codes in digits, and what the probe is told about them."""

    digit: Int[Tensor, "B L J"]
    """-1 behind the end."""
    features: Float[Tensor, "B F"]

    def at(self, rows: Tensor | np.ndarray) -> Told:
        """Some of them."""
        return Told(self.digit[rows], self.features[rows])


class TokenProbe(nn.Module):
    """Probabilities of codes, token by token and within a token digit by digit.

    A causal transformer reads the tokens before, and the features. A gated layer then reads the token's own digits
    before. It starts from the digits' shares at every position, so untrained it gives the sum of those entropies.
    """

    offset: Tensor
    mask: Tensor

    def __init__(self, levels: tuple[int, ...], length: int, features: int, probing: TokenProbing) -> None:
        super().__init__()
        width, total = probing.width, sum(levels)
        self.levels = levels
        self.register_buffer("offset", torch.tensor([sum(levels[:j]) for j in range(len(levels))]), persistent=False)
        self.register_buffer("mask", causal_mask(length), persistent=False)
        self.outer = nn.Parameter(torch.randn(total, width) / math.sqrt(len(levels)))
        self.inner = nn.Parameter(torch.randn(total, width) / math.sqrt(len(levels)))
        self.begin = nn.Parameter(torch.randn(1, width))
        self.position = nn.Parameter(torch.randn(length, width))
        self.turn = nn.Parameter(torch.randn(len(levels), width))
        self.trunk = Transformer(width, probing.layers, 4, gated=True)
        self.mix = nn.Linear(width, 2 * width)
        self.back = nn.Linear(width, width)
        self.write = nn.Parameter(torch.zeros(total, width))
        self.share = nn.Parameter(torch.zeros(length, total))
        self.read = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def fit(self, digit: Int[Tensor, "N L J"]) -> None:
        """Takes the digits' shares at every position, half a count added (Krichevsky & Trofimov 1981)."""
        for j, (levels, first) in enumerate(zip(self.levels, self.offset.tolist(), strict=True)):
            for place, values in enumerate(digit[:, :, j].T):
                seen = torch.bincount(values[values >= 0], minlength=levels) + 0.5
                with torch.no_grad():
                    self.share[place, first : first + levels] = (seen / seen.sum()).log()

    def nats(self, told: Told) -> Float[Tensor, "B L"]:
        """Code length of every token given those before it, in nats; 0 behind the end."""
        counts = told.digit >= 0
        place = told.digit.clamp(min=0) + self.offset
        tokens = functional.embedding(place[:, :-1], self.outer).sum(dim=2)
        begin = self.begin.expand(len(tokens), 1, -1)
        length = place.shape[1]
        x = torch.cat([begin, tokens], dim=1) + self.position[:length] + self.read(told.features)[:, None]
        x = self.trunk(x, self.mask[:length, :length])
        own = functional.embedding(place, self.inner)  # [B, L, J, W]
        before = functional.pad(own[:, :, :-1].cumsum(dim=2), (0, 0, 1, 0))
        x = x[:, :, None] + before + self.turn
        value, gate = self.mix(x).chunk(2, dim=-1)
        x = x + self.back(value * functional.silu(gate))
        total = torch.zeros(place.shape[:2], device=x.device)
        for j, (levels, first) in enumerate(zip(self.levels, self.offset.tolist(), strict=True)):
            these = slice(first, first + levels)
            logits = functional.linear(x[:, :, j], self.write[these]) + self.share[:length, these]
            target = told.digit[:, :, j].clamp(min=0)
            own_nats = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
            total = total + own_nats.view_as(total)
        return total * counts[:, :, 0]

    def loss(self, told: Told) -> Loss:
        """Code length in bits a chunk."""
        bits = self.nats(told).sum(dim=1).mean() / math.log(2)
        return Loss(bits, {"bits": bits.detach()})

    @torch.no_grad()
    def bits(self, told: Told) -> Float[Tensor, "N L"]:
        """Code length of every token, in bits."""
        parts = torch.arange(len(told.digit), device=told.digit.device).split(ROWS)
        return torch.cat([self.nats(told.at(part)) for part in parts]).double() / math.log(2)


def in_digits(ids: Int[Tensor, "N L"], levels: tuple[int, ...]) -> Int[Tensor, "N L J"]:
    """Mixed-radix digits of ids, least significant first; -1 stays -1."""
    digits, rest = [], ids
    for values in levels:
        digits.append((rest % values).where(ids >= 0, PADDING))
        rest = rest // values
    return torch.stack(digits, dim=2)


def probe_tokens(
    codes: Codes,
    features: Float[Tensor, "N F"] | Sequence[Float[Tensor, "N F"]] | None,
    probing: TokenProbing,
    folder: Path,
    report: Report,
    part: int = TEST,
) -> CodeLengths:
    """Trains probes for every fraction and seed and measures the codes of the test demonstrations with them.

    `features` None: the probe knows nothing but the earlier tokens. They are standardised on training demonstrations;
    give wide features as a linear readout, which is the same for all encoders: one for each of the fractions, fitted
    on no more demonstrations than the probe learns from. What is trained is kept in `folder`, so
    that a killed call goes on from there. Those who choose between features look at those of the VALIDATION `part`.
    Raises ValueError if features do not match the codes or are not finite, or memory cannot hold the codes' scores.
    """
    if features is None:
        features = torch.zeros(len(codes.ids), 1, device=codes.ids.device)
    shown = [features] * len(probing.fractions) if isinstance(features, Tensor) else features
    for some in shown:
        if len(some) != len(codes.ids):
            raise ValueError(f"features: expected {len(codes.ids)} rows, one a code; got {len(some)}")
        if not torch.isfinite(some).all():
            raise ValueError(f"features: expected finite numbers, got {int((~torch.isfinite(some)).sum())} others")
    tokens = codes.ids.shape[1]
    at_once = max(probing.batch, min(ROWS, len(codes.rows(part))))
    check_room(codes.vocab_size, tokens, at_once * tokens * max(codes.levels), codes.ids.device)
    digit, rows = in_digits(codes.ids, codes.levels), codes.rows(TRAIN)
    runs = list(product(zip(probing.fractions, shown, strict=True), probing.seeds))
    bits = []
    for number, ((fraction, some), seed) in enumerate(runs):
        spread, mean = torch.std_mean(some[rows].double(), dim=0, correction=0)
        scaled = ((some.double() - mean) / spread.clamp(min=1e-6)).where(spread > 1e-6, 0.0).float()
        told = Told(digit, scaled)

        def along(done: float, text: str, number: int = number) -> None:
            report((number + done) / len(runs), text)

        own = folder / f"{fraction:g}-{seed}"
        probe = _trained(codes, told, fraction, probing, seed=seed, folder=own, report=along)
        bits.append(probe.bits(told.at(codes.rows(part))).cpu().numpy())
    shape = (len(probing.fractions), len(probing.seeds))
    tested = codes.demonstration[codes.rows(part)].cpu().numpy()
    return CodeLengths(probing.fractions, np.stack(bits).reshape(*shape, *bits[0].shape), tested)


def _trained(
    codes: Codes, told: Told, fraction: float, probing: TokenProbing, *, seed: int, folder: Path, report: Report
) -> TokenProbe:
    """A probe with the weights that do best on the validation demonstrations, of nine moments from untrained on."""
    train_rows = codes.rows(TRAIN, fraction).cpu()
    validation = told.at(codes.rows(VALIDATION))
    torch.manual_seed(seed_of(seed, "token probe"))
    probe = TokenProbe(codes.levels, codes.ids.shape[1], told.features.shape[1], probing).to(told.features.device)
    probe.fit(told.digit[train_rows])
    train_and_stop(
        probe,
        lambda draws: told.at(train_rows[draws]),
        len(train_rows),
        validation.at(torch.arange(min(ROWS, len(validation.digit)))),
        lambda: float(probe.bits(validation).sum(dim=1).mean()),
        sorted({probing.steps * k // CANDIDATES for k in range(1, CANDIDATES)} - {0}),
        probing,
        seed=seed,
        folder=folder,
        report=report,
    )
    return probe
