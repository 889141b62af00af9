"""Pipelines whose every upgrade can really be made, in seconds: to check verdicts and predictions with.

A state leads through a random nonlinear map to a chunk. An encoder shows the state through noise, mixed with values
that mean nothing. A residual vector code, fitted on the pipeline's own demonstrations, writes the chunk. A policy
succeeds where its chunk's root mean square error stays below a tolerance that differs from case to case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.seeds import seed_of

Upgrade = Literal["encoder", "codebook", "data"]
Waves = Literal["sines", "steps", "triangles", "peaks", "bumps", "ridges"]
UPGRADES: tuple[Upgrade, ...] = ("encoder", "codebook", "data")

WINDOWS = 8  # a demonstration
NUISANCE = 6  # values in the features that have nothing to do with the state
EXPERT_NOISE = 0.05  # of the demonstrated actions; the task wants the chunk without it
LESS_NOISE = 0.25  # times the encoder's noise, after its upgrade
MORE_TOKENS = 2  # times the tokens of a code, after the codebook's upgrade
MORE_DATA = 2  # times the demonstrations
TOLERANCE_SPREAD = 0.4  # of the logarithm of the tolerance, from case to case
ROUNDS = 12  # of Lloyd's algorithm, for each token of a code


@dataclass(frozen=True)
class Pipeline:
    """One choice of everything, and what an upgrade makes of it."""

    name: str
    waves: Waves
    """What the map from states to chunks is made of."""
    state: int
    """Dimensions of the state (S)."""
    steps: int
    """Actions a chunk (T)."""
    actions: int
    """Dimensions of an action (D)."""
    noise: float
    """Standard deviation of the encoder's noise, where the state's is 1."""
    tokens: int
    """Tokens a code (L)."""
    values: int
    """Values of a token (V)."""
    demonstrations: int
    tolerance: float
    """Median of the error that a case tolerates, where actions have variance 1."""

    @property
    def nominal_bits(self) -> float:
        """Of a code."""
        return self.tokens * math.log2(self.values)

    def upgraded(self, what: Upgrade) -> Pipeline:
        """The same pipeline with one part better; what is drawn at random stays the same."""
        if what == "encoder":
            return replace(self, noise=LESS_NOISE * self.noise)
        if what == "codebook":
            return replace(self, tokens=MORE_TOKENS * self.tokens)
        return replace(self, demonstrations=MORE_DATA * self.demonstrations)


@dataclass(frozen=True)
class Cases:
    """Windows of demonstrations, or situations to be judged in."""

    state: Float[Tensor, "N S"]
    wanted: Float[Tensor, "N A"]
    """The chunk that the task wants, its T x D values in a row."""
    shown: Float[Tensor, "N A"]
    """The chunk that the expert shows."""
    demonstration: Int[Tensor, " N"]
    unseen: Float[Tensor, "N _more"]
    """The encoder's noise and the values that mean nothing, standard normal."""

    def first(self, count: int) -> Cases:
        """The first of them."""
        return Cases(*(getattr(self, field.name)[:count] for field in fields(self)))


class World:
    """What a pipeline's name decides: the map, the mixing, and every draw."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        draw = self._generator("map")
        size, chunk = 24, pipeline.steps * pipeline.actions
        self.direction = torch.randn(size, pipeline.state, generator=draw) / math.sqrt(pipeline.state)
        self.phase = 2 * math.pi * torch.rand(size, generator=draw)
        time = torch.linspace(0, 1, pipeline.steps)
        smooth = torch.stack([torch.cos(math.pi * order * time) / (1 + order) for order in range(3)], dim=1)
        weight = torch.randn(size, 3, pipeline.actions, generator=draw)
        self.weight = torch.einsum("to,moa->mta", smooth, weight).reshape(size, chunk)
        sample = self._waves(torch.randn(4096, pipeline.state, generator=draw)) @ self.weight
        self.centre, self.scale = sample.mean(dim=0), sample.std(dim=0).mean()
        mixed = pipeline.state + NUISANCE
        self.mix = torch.linalg.qr(torch.randn(mixed, mixed, generator=draw))[0]

    def _generator(self, *purpose: object) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of("pipeline", self.pipeline.name, *purpose))

    def _waves(self, state: Float[Tensor, "N S"]) -> Float[Tensor, "N M"]:
        turned = state @ self.direction.T + self.phase
        if self.pipeline.waves == "triangles":
            return torch.asin(torch.sin(turned))
        if self.pipeline.waves == "peaks":
            return torch.exp(torch.sin(turned))
        if self.pipeline.waves == "bumps":
            return torch.relu(torch.sin(turned))
        if self.pipeline.waves == "ridges":
            return torch.sin(turned).abs()
        return torch.sin(turned) if self.pipeline.waves == "sines" else torch.tanh(2 * torch.sin(turned))

    def cases(self, purpose: str, demonstrations: int) -> Cases:
        """That many demonstrations for a purpose; those of a smaller number are among those of a larger one."""
        parts = []
        for number in range(demonstrations):
            draw = self._generator(purpose, number)
            width = self.pipeline.state
            around = torch.randn(1, width, generator=draw)
            inside = torch.randn(WINDOWS, width, generator=draw)
            noise = torch.randn(WINDOWS, self.pipeline.steps * self.pipeline.actions, generator=draw)
            unseen = torch.randn(WINDOWS, width + NUISANCE, generator=draw)
            parts.append((math.sqrt(0.5) * (around + inside), noise, unseen))
        state, noise, unseen = (torch.cat(part) for part in zip(*parts, strict=True))
        wanted = self.wanted(state)
        demonstration = torch.arange(demonstrations).repeat_interleave(WINDOWS)
        return Cases(state, wanted, wanted + EXPERT_NOISE * noise, demonstration, unseen)

    def wanted(self, state: Float[Tensor, "N S"]) -> Float[Tensor, "N A"]:
        """The chunks that the task wants in these states."""
        return (self._waves(state) @ self.weight - self.centre) / self.scale

    def features(self, cases: Cases, noise: float) -> Float[Tensor, "N F"]:
        """What an encoder with that much noise shows of them."""
        state, nuisance = cases.unseen.split([self.pipeline.state, NUISANCE], dim=1)
        mixed = torch.cat([cases.state + noise * state, nuisance], dim=1) @ self.mix
        return mixed + 0.3 * torch.tanh(2 * mixed)

    def success(self, squared: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """Probability that cases succeed with these mean squared errors of their chunks."""
        over = (squared.clamp(min=1e-12).log() / 2 - math.log(self.pipeline.tolerance)) / TOLERANCE_SPREAD
        return torch.special.ndtr(-over)


@dataclass(frozen=True)
class ResidualCode:
    """Each token says which of V vectors comes nearest to what the tokens before have left."""

    vectors: Float[Tensor, "L V A"]

    @classmethod
    def fit(cls, chunks: Float[Tensor, "N A"], tokens: int, values: int, seed: int) -> ResidualCode:
        """Vectors by Lloyd's algorithm; the first tokens of a longer code are those of a shorter one."""
        draw, rest, vectors = torch.Generator().manual_seed(seed), chunks, []
        for _ in range(tokens):
            centre = rest[torch.randperm(len(rest), generator=draw)[:values]].clone()
            for _ in range(ROUNDS):
                own = torch.cdist(rest, centre).argmin(dim=1)
                count = torch.bincount(own, minlength=values)
                mean = torch.zeros_like(centre).index_add_(0, own, rest) / count.clamp(min=1)[:, None]
                centre = torch.where(count[:, None] > 0, mean, centre)
            vectors.append(centre)
            rest = rest - centre[torch.cdist(rest, centre).argmin(dim=1)]
        return cls(torch.stack(vectors))

    def encode(self, chunks: Float[Tensor, "N A"]) -> Int[Tensor, "N L"]:
        """Codes of chunks."""
        rest, ids = chunks, []
        for centre in self.vectors:
            ids.append(torch.cdist(rest, centre).argmin(dim=1))
            rest = rest - centre[ids[-1]]
        return torch.stack(ids, dim=1)

    def decode(self, ids: Int[Tensor, "N l"]) -> Float[Tensor, "N A"]:
        """Chunks that codes, or the first tokens of codes, stand for."""
        parts = [centre[ids[:, place]] for place, centre in enumerate(self.vectors[: ids.shape[1]])]
        return torch.stack(parts).sum(dim=0)


@dataclass(frozen=True)
class Factors:
    """The values from which pipelines are drawn, every combination being as likely."""

    waves: tuple[Waves, ...]
    chunk: tuple[tuple[int, int, int], ...]
    """Dimensions of the state, actions a chunk, dimensions of an action."""
    noise: tuple[float, ...]
    code: tuple[tuple[int, int], ...]
    """Tokens, and values of a token."""
    demonstrations: tuple[int, ...]
    tolerance: tuple[float, ...]

    def draw(self, name: str, count: int) -> list[Pipeline]:
        """That many different ones."""
        grid = list(product(self.waves, self.chunk, self.noise, self.code, self.demonstrations, self.tolerance))
        chosen = np.random.default_rng(seed_of("factors", name)).permutation(len(grid))[:count]
        drawn = []
        for number, place in enumerate(chosen):
            waves, (state, steps, actions), noise, (tokens, values), demonstrations, tolerance = grid[place]
            factors = (waves, state, steps, actions, noise, tokens, values, demonstrations, tolerance)
            drawn.append(Pipeline(f"{name}-{number}", *factors))
        return drawn


DEVELOPMENT = Factors(
    waves=("sines",),
    chunk=((2, 4, 2), (4, 3, 3)),
    noise=(0.03, 0.2, 0.5),
    code=((1, 8), (2, 12), (4, 8)),
    demonstrations=(60, 150, 400),
    tolerance=(0.2, 0.4, 0.7),
)
HELD_OUT = Factors(
    waves=("steps",),
    chunk=((3, 5, 2), (3, 3, 4)),
    noise=(0.1, 0.3, 0.4),
    code=((1, 16), (2, 8), (3, 12)),
    demonstrations=(80, 200, 320),
    tolerance=(0.25, 0.5, 0.6),
)
CONFIRMATION = Factors(
    waves=("triangles",),
    chunk=((2, 5, 3), (4, 4, 2)),
    noise=(0.06, 0.15, 0.7),
    code=((1, 24), (2, 6), (3, 16)),
    demonstrations=(100, 250, 360),
    tolerance=(0.3, 0.45, 0.8),
)
JOINT = Factors(
    waves=("peaks",),
    chunk=((3, 4, 3), (2, 3, 4)),
    noise=(0.08, 0.25, 0.6),
    code=((1, 12), (2, 16), (4, 6)),
    demonstrations=(70, 180, 300),
    tolerance=(0.22, 0.35, 0.65),
)
SCARCE = Factors(
    waves=("bumps",),
    chunk=((5, 3, 3), (6, 4, 2)),
    noise=(0.02, 0.12, 0.35),
    code=((2, 10), (3, 24), (5, 12)),
    demonstrations=(45, 75, 130),
    tolerance=(0.33, 0.52, 0.75),
)
FEW = Factors(
    waves=("ridges",),
    chunk=((4, 5, 2), (2, 4, 3)),
    noise=(0.04, 0.18, 0.45),
    code=((1, 20), (2, 9), (3, 20)),
    demonstrations=(24, 36, 54),
    tolerance=(0.38, 0.58, 0.85),
)
COUNT = 30
"""Pipelines drawn from each."""
