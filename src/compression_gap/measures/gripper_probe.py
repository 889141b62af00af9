"""Bits about gripper commands: they are a few values, so noise of some size says nothing about them.

By the chain rule I(Z; A) = I(Z; G) + I(Z; A' | G) for the commands G of a chunk and the rest A' of its actions. The
first is a difference of code lengths, as for tokens; for the second both denoisers are told G (`ProbeData.gripper`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.data.split import TEST, TRAIN, VALIDATION
from compression_gap.measures.code_lengths import CodeLengths, Information, information
from compression_gap.measures.encoder_probe import ProbeData, check, inputs_of, linearly, standardised
from compression_gap.measures.token_probe import Codes, TokenProbing, probe_tokens
from compression_gap.training import Report

MOST_VALUES = 16  # of a gripper's commands; more are a continuous action


@dataclass(frozen=True)
class Lengths:
    """Code lengths of the gripper commands of two parts, told the same things."""

    validation: CodeLengths
    test: CodeLengths


@dataclass(frozen=True)
class GripperQuality:
    """What the features of one encoder tell about gripper commands, on test demonstrations."""

    told: Information
    bits: Float[np.ndarray, "seeds N"]
    """Of every test chunk."""
    interface: str
    """"readout" or "features": which did better on validation demonstrations; "none" where a baseline without features
    did better still."""
    validation_bits: dict[str, float]
    """Bits of every way, there."""


def gripper_codes(
    commands: Float[Tensor, "N T G"], demonstration: Int[Tensor, " N"], task: Int[Tensor, " N"] | None = None
) -> Codes:
    """The commands of a chunk as a token a step, with a digit a gripper.

    Raises ValueError for a gripper with so many different commands that they are no discrete ones.
    """
    values = [torch.unique(column) for column in commands.flatten(0, 1).T]
    for number, found in enumerate(values):
        if len(found) > MOST_VALUES:
            raise ValueError(
                f"gripper {number}: expected at most {MOST_VALUES} different commands, got {len(found)}; one that is "
                "moved continuously is measured like the other actions, so leave it out of the legend's grippers"
            )
    ids, radix = torch.zeros(commands.shape[:2], dtype=torch.int64, device=commands.device), 1
    for found, column in zip(values, commands.unbind(dim=2), strict=True):
        ids += radix * torch.searchsorted(found, column.contiguous())
        radix *= len(found)
    digits = tuple(len(found) for found in values)
    return Codes(ids, demonstration, math.prod(digits), digits, task)


def lengths_without(codes: Codes, probing: TokenProbing, folder: Path, report: Report) -> Lengths:
    """Code lengths for who knows nothing but the earlier commands."""
    return Lengths(*(probe_tokens(codes, None, probing, folder, report, part) for part in (VALIDATION, TEST)))


def probe_gripper(
    features: Float[Tensor, "N F"],
    units: Sequence[float] | None,
    data: ProbeData,
    without: Lengths,
    probing: TokenProbing,
    folder: Path,
    report: Report,
) -> GripperQuality:
    """Measures an encoder by its features of every window, as `encoder_probe.probe` does for the rest of the actions.

    Raises ValueError if rows do not match or numbers are not finite.
    """
    codes = data.gripper
    assert codes is not None, "who measures grippers has their codes"
    check(features, data)
    inputs = inputs_of(features, units, data)
    targets = torch.cat([data.chunk, standardised(data.state, None, data), data.commands], dim=1)
    known = standardised(data.known, None, data)
    whole = probing.replace(fractions=(1.0,))

    def readout(fraction: float) -> Tensor:
        read = linearly(inputs, targets, data, codes.rows(TRAIN, fraction))
        return torch.cat([standardised(read, None, data), known], dim=1)

    ways = {"readout": readout(1.0), "features": inputs}
    validation_bits = {}
    for number, (way, shown) in enumerate(ways.items()):

        def along(fraction: float, text: str, number: int = number) -> None:
            report((number + fraction) / (len(ways) + 1), text)

        found = probe_tokens(codes, shown, whole, folder / way, along, VALIDATION)
        validation_bits[way] = without.validation.curve[-1] - found.curve[-1]
    best = max(ways, key=lambda way: validation_bits[way])
    shown = [readout(fraction) for fraction in probing.fractions] if best == "readout" else inputs
    given = probe_tokens(codes, shown, probing, folder / best, report)
    bits = (without.test.bits[-1] - given.bits[-1]).sum(axis=2)
    return GripperQuality(information(without.test, given), bits, best, validation_bits)
