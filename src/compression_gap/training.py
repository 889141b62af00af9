"""One loop for anything that has a loss: tokenizers, supervised encoders, agents, probes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compression_gap.config import Spec
from compression_gap.seeds import seed_of
from compression_gap.shapes import Loss

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
CURVE = "curve.parquet"
SECONDS_BETWEEN_CHECKPOINTS = 15.0
CURVE_POINTS = 20

Report = Callable[[float, str], None]  # fraction done, what is going on


def part_of(report: Report, first: float, last: float) -> Report:
    """For a part of the work, which begins and ends when these fractions of the whole are done."""
    return lambda done, text: report(first + (last - first) * done, text)


@dataclass(frozen=True)
class LearningCost:
    """What training a part takes on one core of a laptop: estimates for planning, never for results."""

    row: float = 3e-4
    """Seconds for one row of a batch."""
    weights_mb: float = 2.0
    """Megabytes of its weights."""

    @classmethod
    def of_transformer(cls, width: int, layers: int, positions: float) -> LearningCost:
        """As measured for widths from 64 to 384, where it is good to a factor of two."""
        return cls(1e-4 + 1.5e-9 * width**2 * layers * positions, 64e-6 * width**2 * layers)


@dataclass(frozen=True)
class Training(Spec, family="settings", kind="training", version=1):
    """How something is trained. Which weights count is fixed in advance: the EMA weights after the last step."""

    steps: int
    """Optimiser steps."""
    batch: int = 128
    """Windows, chunks or frames a step."""
    learning_rate: float = 1e-3
    """Of AdamW, betas (0.9, 0.95), no weight decay."""
    encoder_learning_rate: float | None = None
    """For the weights of an encoder trained with the policy; None: as the rest."""
    schedule: Literal["constant", "cosine"] = "constant"
    """After the warm-up: constant, so that stopping early equals having trained shorter; or a cosine to zero."""
    warmup: int = 100
    """Steps of linear warm-up."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema_power: float = 0.75
    """The average's decay after n steps is 1 - (1 + n)^-power, at most `ema_max`."""
    ema_max: float = 0.9999
    """Largest decay of the average."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"training needs at least one step and one row a batch, got {self.steps} and {self.batch}")

    def rate(self, step: int) -> float:
        """The learning rate's factor at a step."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        if self.schedule == "constant":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))

    def decay(self, step: int) -> float:
        """The average's decay at a step."""
        return min(self.ema_max, 1 - (1 + step) ** -self.ema_power)


def train(
    module: nn.Module,
    batch_at: Callable[[int], Any],
    held_out: Sequence[Any],
    training: Training,
    *,
    seed: int,
    folder: Path,
    report: Report,
    milestones: Sequence[int] = (),
) -> nn.Module:
    """Trains `module` in place, leaves it with its averaged weights in evaluation mode, and returns it.

    Every step seeds torch's global generator from (seed, step), so a killed run that goes on from the checkpoint in
    `folder` ends with the same weights to the last bit. Writes weights.safetensors, weights-<step>.safetensors for each
    of the `milestones`, and curve.parquet (step, train, held_out: mean total losses; held-out with averaged weights).

    Raises FloatingPointError when the loss is no longer finite.
    """
    own = {name: p for name, p in module.named_parameters() if p.requires_grad}
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in own.items():
        encoder = name.startswith("encoder.") and training.encoder_learning_rate is not None
        groups.setdefault(training.encoder_learning_rate if encoder else training.learning_rate, []).append(parameter)  # type: ignore[arg-type]
    optimiser = torch.optim.AdamW(
        [{"params": params, "lr": rate, "base": rate} for rate, params in groups.items()],
        betas=(0.9, 0.95),
        weight_decay=0.0,
        fused=True,
    )
    loss_of = cast("Callable[[Any], Loss]", module.loss)
    average = {name: p.detach().clone() for name, p in own.items()}
    curve: list[dict[str, float]] = []
    first = _restore(folder, own, average, optimiser, curve)
    every = max(1, training.steps // CURVE_POINTS)
    recent: list[Tensor] = []
    saved = time.monotonic()

    module.train()
    for step in range(first, training.steps):
        torch.manual_seed(seed_of(seed, step))
        loss = loss_of(batch_at(step)).total
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(own.values(), training.clip)
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * training.rate(step)
        optimiser.step()
        with torch.no_grad():
            for name, parameter in own.items():
                average[name].lerp_(parameter, 1 - training.decay(step))
        recent.append(loss.detach())
        done = step + 1
        if done % every == 0 or done == training.steps:
            train_loss = torch.stack(recent).mean().item()
            if not math.isfinite(train_loss):
                raise FloatingPointError(f"the loss is {train_loss} at step {done}; lower the learning rate")
            held = _held_out_loss(module, loss_of, own, average, held_out, seed)
            curve.append({"step": done, "train": train_loss, "held_out": held})
            recent = []
            report(done / training.steps, f"loss {held:.4g}")
        if done in milestones:
            save_tensors({**dict(_buffers(module)), **average}, folder / f"weights-{done}.safetensors")
        if done % every == 0 and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            _checkpoint(folder, done, own, average, optimiser, curve)
            saved = time.monotonic()

    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(average[name])
    module.eval()
    save_tensors(dict(module.state_dict()), folder / WEIGHTS)
    schema = {"step": pl.Int64, "train": pl.Float64, "held_out": pl.Float64}
    pl.DataFrame(curve, schema=schema).write_parquet(folder / CURVE)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return module


def _held_out_loss(
    module: nn.Module,
    loss_of: Callable[[Any], Loss],
    own: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    batches: Sequence[Any],
    seed: int,
) -> float:
    """Mean loss with averaged weights, in evaluation mode, with the same draws every time."""
    if not batches:
        return math.nan
    backup = {name: p.detach().clone() for name, p in own.items()}
    module.eval()
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(average[name])
        total = 0.0
        for number, batch in enumerate(batches):
            torch.manual_seed(seed_of(seed, "held out", number))
            total += loss_of(batch).total.item()
        for name, parameter in own.items():
            parameter.copy_(backup[name])
    module.train()
    return total / len(batches)


def _buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    """What a state dict holds besides trainable weights: buffers and frozen parameters."""
    trainable = {name for name, p in module.named_parameters() if p.requires_grad}
    return [(name, t) for name, t in module.state_dict().items() if name not in trainable]


def _checkpoint(
    folder: Path,
    step: int,
    own: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    curve: list[dict[str, float]],
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, parameter in own.items():
        tensors[f"weight/{name}"], tensors[f"average/{name}"] = parameter.detach(), average[name]
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser/{key}/{name}"] = value
    for key in ("step", "train", "held_out"):
        tensors[f"curve/{key}"] = torch.tensor([row[key] for row in curve], dtype=torch.float64)
    save_tensors(tensors, folder / CHECKPOINT, {"step": str(step)})


def _restore(
    folder: Path,
    own: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    curve: list[dict[str, float]],
) -> int:
    """Takes everything back from the checkpoint and returns the step to go on with; 0 if there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[f"weight/{name}"])
            average[name].copy_(tensors[f"average/{name}"])
    keys = {name.split("/")[1] for name in tensors if name.startswith("optimiser/")}
    for name, parameter in own.items():
        state = {key: tensors[f"optimiser/{key}/{name}"] for key in keys if f"optimiser/{key}/{name}" in tensors}
        optimiser.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
    columns = {key: tensors[f"curve/{key}"].tolist() for key in ("step", "train", "held_out")}
    curve.extend(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    with safe_open(path, framework="pt") as file:
        return int(file.metadata()["step"])


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, written beside and renamed, so that a kill leaves the older file whole."""
    beside = path.with_suffix(".new")
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, beside, metadata)
    beside.replace(path)
