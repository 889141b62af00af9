"""What features tell about actions and about the state: the same readouts, data and search for every encoder.

Two ways to use the features, each learnt with and without haste, are tried with the same budget, and the validation
demonstrations choose: what a linear readout makes of them, or all of them. Through the first, wide features cannot
drown what matters; through the second, what is not linearly there is found. Nothing is ever reduced without regard to
the actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compression_gap.data.normalise import Standardise
from compression_gap.data.split import TEST, TRAIN, VALIDATION
from compression_gap.measures.denoiser import Denoiser, ToldChunks, loss_of_many_draws, train_denoiser
from compression_gap.measures.denoising import ActionBits, action_bits, noise_errors
from compression_gap.measures.ridge import fit_ridge
from compression_gap.measures.token_probe import Codes, in_digits
from compression_gap.seeds import seed_of
from compression_gap.training import Report, Training


@dataclass(frozen=True)
class Probing(Training, family="settings", kind="probing", version=1):
    """How denoisers are trained, and for which resolution: the same for every encoder, so that their bits compare."""

    steps: int = 1500
    """Optimiser steps; of these, validation demonstrations choose none, an eighth, a quarter, a half or all."""
    batch: int = 256
    """Chunks a step."""
    learning_rate: float = 3e-3
    """Of AdamW, betas (0.9, 0.95), no weight decay."""
    sigma: float = 0.025
    """Resolution: standard deviation of the noise through which actions are looked at, on the scale [-1, 1]."""
    width: int = 192
    """Of the denoisers."""
    hastes: tuple[float, ...] = (0.0, 0.3)
    """Weights of the mean's own error in the loss (`Denoiser.loss`): each is tried, for each way of using features."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each trains denoisers of its own; the interval covers them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sigma < 1:
            raise ValueError(
                f"Probing.sigma is a noise on actions scaled to [-1, 1], above 0 and below 1; got {self.sigma}"
            )
        if not self.hastes or min(self.hastes) < 0:
            raise ValueError(f"Probing.hastes: expected at least one, none below 0; got {self.hastes}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"Probing.seeds: expected at least one, each once; got {self.seeds}")


@dataclass(frozen=True)
class ProbeData:
    """Chunks of demonstrations and what stands beside them. N rows, one a window."""

    chunk: Float[Tensor, "N A"]
    """The values that are measured, scaled to [-1, 1]."""
    state: Float[Tensor, "N S"]
    """Privileged, in the suite's units."""
    known: Float[Tensor, "N P"]
    """Proprioception and task, which every encoder's features are joined with."""
    demonstration: Int[Tensor, " N"]
    part: Int[Tensor, " N"]
    """TRAIN, VALIDATION or TEST."""
    gripper: Codes | None = None
    """Gripper commands, which are measured by themselves (`gripper_probe`): whoever finds the chunk is told them."""

    @property
    def commands(self) -> Float[Tensor, "N G"]:
        """Which gripper command is given at each step, as zeros and ones; empty without grippers."""
        if self.gripper is None:
            return self.chunk[:, :0]
        digit = in_digits(self.gripper.ids, self.gripper.levels)  # [N, T, J]
        columns = [functional.one_hot(digit[:, :, j], n)[..., 1:] for j, n in enumerate(self.gripper.levels)]
        return torch.cat(columns, dim=2).flatten(1).float()

    def rows(self, part: int) -> Int[Tensor, " M"]:
        """Row numbers of a part."""
        return torch.nonzero(self.part == part).flatten()


@dataclass(frozen=True)
class Quality:
    """What the features of one encoder tell, on test demonstrations."""

    actions: ActionBits
    interface: str
    """Which way of using the features did better on validation demonstrations: "readout, haste 0", ...; "none" where a
    baseline without them did better still."""
    validation_bits: dict[str, float]
    """Bits of every way, there."""
    linear_bits: float
    """Of a linear readout if all were Gaussian: an index, no bound."""
    state: Float[Tensor, "M S"]
    """Linearly read from the features, in the suite's units."""


def untrained(values: int, context: int, probing: Probing, seed: int, haste: float = 0.0) -> Denoiser:
    """A denoiser whose weights follow from the seed."""
    torch.manual_seed(seed_of(seed, "denoiser"))
    return Denoiser(values, context, probing.sigma, probing.width, haste)


def told_nothing(data: ProbeData) -> ToldChunks:
    """Chunks for the denoiser that knows only what chunks are like, and the gripper commands if there are any."""
    if data.gripper is not None:
        commands = standardised(data.commands, None, data)
        return ToldChunks(data.chunk, linearly(commands, data.chunk, data), commands)
    mean = data.chunk[data.rows(TRAIN)].mean(dim=0).expand_as(data.chunk)
    return ToldChunks(data.chunk, mean, torch.zeros(len(data.chunk), 1, device=data.chunk.device))


def fit(
    rows: ToldChunks, data: ProbeData, probing: Probing, seed: int, folder: Path, report: Report, haste: float = 0.0
) -> Denoiser:
    """A denoiser trained on the training demonstrations; validation ones choose when to stop."""
    train, validation = data.rows(TRAIN), data.rows(VALIDATION)
    denoiser = untrained(rows.chunk.shape[1], rows.context.shape[1], probing, seed, haste).to(rows.chunk.device)
    denoiser.fit((rows.chunk - rows.mean)[train])
    return train_denoiser(
        denoiser, rows.at(train), rows.at(validation), probing, seed=seed, folder=folder, report=report
    )


def probe(
    features: Float[Tensor, "N F"],
    units: Sequence[float] | None,
    data: ProbeData,
    unconditional: Sequence[Denoiser],
    probing: Probing,
    folder: Path,
    report: Report,
) -> Quality:
    """Measures an encoder by its features of every window; `units` are its smallest changes that matter, if known.

    `unconditional` are the denoisers that know nothing, one a seed. What is trained is kept in `folder`, so that a
    killed call goes on from there. Raises ValueError if rows do not match or numbers are not finite.
    """
    check(features, data)
    validation, test = (data.rows(part) for part in (VALIDATION, TEST))
    inputs = inputs_of(features, units, data)
    chunk, state = _readout(inputs, data)
    given = [data.known]
    if data.gripper is not None:
        given.append(data.commands)
        inputs = torch.cat([inputs, standardised(data.commands, None, data)], dim=1)
        chunk = linearly(inputs, data.chunk, data)
    read = torch.cat([standardised(part, None, data) for part in (chunk, state, *given)], dim=1)
    shown = {"readout": ToldChunks(data.chunk, chunk, read), "features": ToldChunks(data.chunk, chunk, inputs)}
    ways = {f"{name}, haste {haste:g}": (rows, haste) for name, rows in shown.items() for haste in probing.hastes}
    denoisers: dict[str, list[Denoiser]] = {way: [] for way in ways}
    trainings = list(product(ways, probing.seeds))
    for number, (way, seed) in enumerate(trainings):

        def told(fraction: float, text: str, number: int = number) -> None:
            report((number + fraction) / len(trainings), text)

        rows, haste = ways[way]
        denoisers[way].append(fit(rows, data, probing, seed, folder / f"{number}", told, haste))
    nothing = told_nothing(data)
    entropy = [loss_of_many_draws(denoiser, nothing.at(validation)) for denoiser in unconditional]
    validation_bits = {
        way: float(np.mean(entropy) - np.mean([loss_of_many_draws(one, rows.at(validation)) for one in denoisers[way]]))
        for way, (rows, _) in ways.items()
    }
    best = max(ways, key=lambda way: validation_bits[way])
    errors = [
        noise_errors(without, nothing.at(test), one, ways[best][0].at(test))
        for without, one in zip(unconditional, denoisers[best], strict=True)
    ]
    actions = action_bits(errors, data.demonstration[test].cpu().numpy(), probing.sigma)
    linear_bits = _linear_bits(nothing, chunk, data, probing.sigma)
    return Quality(actions, best, validation_bits, linear_bits, state[test])


def usable(found: Quality, without: ActionBits, told: Mapping[str, float]) -> Quality:
    """Who reads features may also ignore them: the bits of who has none, if validation demonstrations prefer those, of
    which `told` has the bits."""
    if max(found.validation_bits.values()) >= max(told.values()):
        return found
    return replace(found, actions=without, interface="none")


def check(features: Float[Tensor, "M F"], data: ProbeData) -> None:
    """Raises ValueError if the features do not belong to the chunks, or something is not a finite number."""
    if len(features) != len(data.chunk):
        raise ValueError(f"expected features of {len(data.chunk)} windows, one a chunk; got {len(features)}")
    for name, values in {"features": features, "chunk": data.chunk, "state": data.state, "known": data.known}.items():
        wrong = torch.nonzero(~torch.isfinite(values).all(dim=1)).flatten()
        if len(wrong):
            raise ValueError(
                f"{name}: expected finite numbers, got NaN or infinite ones in {len(wrong)} of {len(values)} windows, "
                f"the first of them number {int(wrong[0])}"
            )


def inputs_of(features: Float[Tensor, "N F"], units: Sequence[float] | None, data: ProbeData) -> Float[Tensor, "N I"]:
    """Features beside what is known without them, standardised on training demonstrations."""
    return torch.cat([standardised(features, units, data), standardised(data.known, None, data)], dim=1)


def standardised(values: Float[Tensor, "N W"], units: Sequence[float] | None, data: ProbeData) -> Float[Tensor, "N W"]:
    """To zero mean and unit variance on training demonstrations."""
    scale = Standardise(values.shape[1], units).to(values.device)
    scale.fit(values[data.rows(TRAIN)].float())
    return scale(values.float())


def linearly(
    inputs: Float[Tensor, "N I"], targets: Float[Tensor, "N Y"], data: ProbeData, train: Int[Tensor, " M"] | None = None
) -> Float[Tensor, "N Y"]:
    """Targets read linearly: on training rows, all of them or these, by fits to other demonstrations."""
    train = data.rows(TRAIN) if train is None else train
    readout = fit_ridge(inputs[train], targets[train], data.demonstration[train])
    read = readout(inputs)
    read[train] = readout.unseen
    return read


def _readout(inputs: Float[Tensor, "N F"], data: ProbeData) -> tuple[Float[Tensor, "N A"], Float[Tensor, "N S"]]:
    """Chunk and state read linearly."""
    values, scale = data.chunk.shape[1], Standardise(data.state.shape[1]).to(inputs.device)
    scale.fit(data.state[data.rows(TRAIN)])
    read = linearly(inputs, torch.cat([data.chunk, scale(data.state)], dim=1), data)
    return read[:, :values], read[:, values:] * scale.std + scale.mean


def _linear_bits(nothing: ToldChunks, mean: Float[Tensor, "N A"], data: ProbeData, sigma: float) -> float:
    """Sum of 1/2 log2 of total over remaining variance along the principal directions of chunks, at the resolution."""
    train, test = data.rows(TRAIN), data.rows(TEST)
    centred = (data.chunk - nothing.mean).double()
    _, directions = torch.linalg.eigh(centred[train].T @ centred[train])
    total = (centred[test] @ directions).square().mean(dim=0)
    left = ((data.chunk - mean)[test].double() @ directions).square().mean(dim=0)
    return float(0.5 * torch.log2((total + sigma**2) / (left + sigma**2)).clamp(min=0).sum())
