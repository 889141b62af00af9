"""What upgrades of a pipeline really bring: each is made, policies are trained with several seeds, and judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor
from torch.nn import functional

from compression_gap.seeds import seed_of
from compression_gap.testing.pipelines import (
    NUISANCE,
    TOLERANCE_SPREAD,
    UPGRADES,
    Cases,
    Pipeline,
    ResidualCode,
    Upgrade,
    World,
)

SEEDS = 4
STEPS, BATCH, WIDTH, RATE = 300, 64, 48, 2e-2
JUDGED = 250  # fresh demonstrations
STATES = 300  # initial states of a ladder
LEVEL = 0.95
Arm = Upgrade | None


@dataclass(frozen=True)
class Gain:
    """What an upgrade brings, with an interval for other training seeds."""

    value: float
    low: float
    high: float

    def clears(self, threshold: float) -> bool | None:
        """Whether the gain is above a threshold; None where its own interval has both sides in it."""
        if self.low > threshold:
            return True
        return False if self.high < threshold else None


@dataclass(frozen=True)
class Judged:
    """Policies of one pipeline, one a training seed, on fresh cases."""

    success: Float[np.ndarray, " seeds"]
    """In points."""
    distortion: Float[np.ndarray, " seeds"]
    """Mean squared error of an action value, against the chunk that the task wants."""


def gain(before: Float[np.ndarray, " seeds"], after: Float[np.ndarray, " seeds"]) -> Gain:
    """After minus before, with Welch's t interval."""
    parts = [values.var(ddof=1) / len(values) for values in (before, after)]
    value, total = float(after.mean() - before.mean()), float(sum(parts))
    if total == 0:
        return Gain(value, value, value)
    freedom = total**2 / sum(part**2 / (len(before) - 1) for part in parts)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(total)
    return Gain(value, value - half, value + half)


def codes_of(world: World) -> dict[str, ResidualCode]:
    """The pipeline's code and the larger one, fitted on its own demonstrations."""
    pipeline = world.pipeline
    larger = pipeline.upgraded("codebook")
    shown = world.cases("demonstrations", pipeline.demonstrations).shown
    whole = ResidualCode.fit(shown, larger.tokens, larger.values, seed_of("code", pipeline.name))
    return {"own": ResidualCode(whole.vectors[: pipeline.tokens]), "larger": whole}


def judge(pipeline: Pipeline) -> dict[Arm, Judged]:
    """Trains and judges the pipeline as it is (None) and with each upgrade."""
    world = World(pipeline)
    codes = codes_of(world)
    judged = _judge(world, [None, "encoder", "data"], codes["own"])
    return {**judged, **_judge(world, ["codebook"], codes["larger"])}


def gains(judged: dict[Arm, Judged]) -> dict[Upgrade, tuple[Gain, Gain]]:
    """Of every upgrade: in points, and as a share of the distortion that goes away."""
    before = judged[None]
    scale = float(before.distortion.mean())
    return {
        what: (
            gain(before.success, judged[what].success),
            gain(-before.distortion / scale, -judged[what].distortion / scale),
        )
        for what in UPGRADES
    }


def rungs(pipeline: Pipeline, states: int = STATES) -> dict[str, Bool[np.ndarray, "_seeds states"]]:
    """Rollouts for a ladder, on the same initial states: the expert, its chunks through the code, and policies that
    see the true state or the features, one row a training seed.

    Each initial state has a tolerance of its own, which all rungs share.
    """
    world = World(pipeline)
    code = codes_of(world)["own"]
    cases = world.cases("judged", JUDGED).first(states)
    draw = torch.Generator().manual_seed(seed_of("tolerances", pipeline.name))
    spread = TOLERANCE_SPREAD * torch.randn(states, generator=draw)
    limit = (math.log(pipeline.tolerance) + spread).exp()

    def within(chunks: Float[Tensor, "R N A"]) -> Bool[np.ndarray, "R N"]:
        return ((chunks - cases.wanted).square().mean(dim=2).sqrt() < limit).numpy()

    chunks = _act(world, ["state", None], code, cases)
    told = {"expert": cases.shown[None], "replay": code.decode(code.encode(cases.shown))[None]}
    told |= {"state": chunks["state"], "policy": chunks[None]}
    return {name: within(values) for name, values in told.items()}


def _judge(world: World, arms: Sequence[Arm], code: ResidualCode) -> dict[Arm, Judged]:
    cases, results = world.cases("judged", JUDGED), {}
    for arm, chunks in _act(world, arms, code, cases).items():
        squared = (chunks - cases.wanted).square().mean(dim=2)
        success = 100 * world.success(squared).mean(dim=1)
        results[arm] = Judged(success.double().numpy(), squared.mean(dim=1).double().numpy())
    return results


def _act(
    world: World, arms: Sequence[Arm | Literal["state"]], code: ResidualCode, judged: Cases
) -> dict[Any, Float[Tensor, "seeds N A"]]:
    """Chunks of policies that share a code, trained side by side: a replica for every arm and seed."""
    inputs, targets, fresh = [], [], []
    for arm in arms:
        pipeline = world.pipeline.upgraded(arm) if arm in UPGRADES else world.pipeline
        cases = world.cases("demonstrations", pipeline.demonstrations)
        seen, new = (
            functional.pad(some.state, (0, NUISANCE)) if arm == "state" else world.features(some, pipeline.noise)
            for some in (cases, judged)
        )
        mean, spread = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-6)
        inputs.append((seen - mean) / spread)
        targets.append(code.encode(cases.shown))
        fresh.append((new - mean) / spread)
    policies = _Policies(world, len(arms) * SEEDS, inputs[0].shape[1], code)
    replicas = [number for number in range(len(arms)) for _ in range(SEEDS)]
    policies.learn([inputs[number] for number in replicas], [targets[number] for number in replicas])
    chunks = policies.act(torch.stack(fresh).repeat_interleave(SEEDS, dim=0))
    return {arm: chunks[number * SEEDS : (number + 1) * SEEDS] for number, arm in enumerate(arms)}


class _Policies:
    """Every token has a perceptron of its own, which sees the features and what the tokens before stand for."""

    def __init__(self, world: World, replicas: int, features: int, code: ResidualCode) -> None:
        self.code, self.replicas = code, replicas
        self.tokens, self.values, chunk = code.vectors.shape
        draw = torch.Generator().manual_seed(seed_of("policies", world.pipeline.name, self.tokens))
        sizes = [features + chunk, WIDTH, WIDTH, self.values]
        self.weights = [
            torch.randn(replicas * self.tokens, a, b, generator=draw).mul_(a**-0.5).requires_grad_()
            for a, b in pairwise(sizes)
        ]
        self.offsets = [torch.zeros(replicas * self.tokens, 1, b, requires_grad=True) for b in sizes[1:]]
        self.draw = np.random.default_rng(seed_of("batches", world.pipeline.name, self.tokens))

    def _logits(self, x: Float[Tensor, "M B X"], own: Int[Tensor, " M"] | slice) -> Float[Tensor, "M B V"]:
        for weight, offset in zip(self.weights[:-1], self.offsets[:-1], strict=True):
            x = functional.silu(torch.baddbmm(offset[own], x, weight[own]))
        return torch.baddbmm(self.offsets[-1][own], x, self.weights[-1][own])

    def learn(self, inputs: Sequence[Float[Tensor, "_N F"]], targets: Sequence[Int[Tensor, "_N L"]]) -> None:
        """Trains all replicas at once, each on its own demonstrations."""
        x, y = [], []
        for seen, ids in zip(inputs, targets, strict=True):
            before = [self.code.decode(ids[:, :place]) for place in range(1, self.tokens)]
            partial = torch.stack([torch.zeros(len(ids), self.code.vectors.shape[2]), *before], dim=1)
            x.append(torch.cat([seen[:, None].expand(-1, self.tokens, -1), partial], dim=2))
            y.append(ids)
        first = torch.tensor([0, *(len(part) for part in x)][:-1]).cumsum(0)[:, None]
        size = np.array([len(part) for part in x])[None, :, None]
        rows = torch.from_numpy(self.draw.integers(size, size=(STEPS, len(x), BATCH))) + first
        x, y = torch.cat(x), torch.cat(y)
        weights = [*self.weights, *self.offsets]
        optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=1e-2, fused=True)
        for step in range(STEPS):
            drawn = rows[step]  # [replicas, batch]
            logits = self._logits(x[drawn].transpose(1, 2).flatten(0, 1), slice(None))
            target = y[drawn].transpose(1, 2).flatten()
            loss = functional.cross_entropy(logits.flatten(0, 1), target, reduction="sum") / BATCH
            for group in optimiser.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    @torch.no_grad()
    def act(self, seen: Float[Tensor, "R N F"]) -> Float[Tensor, "R N A"]:
        """Chunks of the likeliest tokens, one after the other."""
        replica = torch.arange(self.replicas)
        chunk = torch.zeros(*seen.shape[:2], self.code.vectors.shape[2])
        for place in range(self.tokens):
            own = replica * self.tokens + place
            logits = self._logits(torch.cat([seen, chunk], dim=2), own)
            chunk = chunk + self.code.vectors[place][logits.argmax(dim=2)]
        return chunk
