"""Bits about gripper commands beside the rest of the actions, on sources whose bits are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compression_gap.data.split import parts_of
from compression_gap.measures.encoder_probe import ProbeData, Probing, Quality, fit, probe, told_nothing
from compression_gap.measures.gripper_probe import GripperQuality, gripper_codes, lengths_without, probe_gripper
from compression_gap.measures.token_probe import TokenProbing

SIGMA, FLIPPED, WINDOWS = 0.025, 0.05, 10
PROBING = Probing(steps=40, batch=64, seeds=(0,), width=48, hastes=(0.0,))
GRIPPER = TokenProbing(steps=120, batch=64, learning_rate=1e-2, warmup=10, width=16, seeds=(0,), fractions=(0.5, 1.0))


def quiet(fraction: float, text: str) -> None:
    pass


def measured(chunk: Tensor, commands: Tensor, features: Tensor, folder: Path) -> tuple[GripperQuality, Quality]:
    demonstration = torch.arange(len(chunk)) // WINDOWS
    part = torch.from_numpy(parts_of(np.zeros(len(chunk) // WINDOWS, dtype=np.int64)))[demonstration]
    codes = gripper_codes(commands, demonstration)
    data = ProbeData(chunk, chunk[:, :1], torch.zeros(len(chunk), 1), demonstration, part, codes)
    without = lengths_without(codes, GRIPPER, folder / "without", quiet)
    gripper = probe_gripper(features, None, data, without, GRIPPER, folder / "gripper", quiet)
    nothing = [fit(told_nothing(data), data, PROBING, 0, folder / "nothing", quiet)]
    return gripper, probe(features, None, data, nothing, PROBING, folder / "rest", quiet)


def test_eight_gaussian_values_and_four_flipped_bits_have_the_bits_that_they_have(tmp_path: Path):
    rng, rows, told = np.random.default_rng(0), 4200, 1 - 2 ** (-2 * 8 / 8)
    seen, hidden = rng.standard_normal((2, rows, 8))
    chunk = 0.4 * (math.sqrt(told) * seen + math.sqrt(1 - told) * hidden)
    commands = rng.choice([-1.0, 1.0], size=(rows, 4))
    shown = commands * np.where(rng.random((rows, 4)) < FLIPPED, -1, 1)
    features = np.concatenate([seen, shown, rng.standard_normal((rows, 8))], axis=1)
    features = features @ np.linalg.qr(rng.standard_normal((20, 20)))[0]
    gripper, rest = measured(
        *(torch.from_numpy(some).float() for some in (chunk, commands[..., None], features)), tmp_path
    )
    of_gripper = 4 * (1 + FLIPPED * math.log2(FLIPPED) + (1 - FLIPPED) * math.log2(1 - FLIPPED))
    of_rest = 4 * math.log2((0.16 + SIGMA**2) / (0.16 * (1 - told) + SIGMA**2))
    assert of_gripper + of_rest == pytest.approx(10.81, abs=0.05)
    assert gripper.bits.mean() == pytest.approx(of_gripper, rel=0.1)
    assert gripper.told.bits.value == pytest.approx(gripper.bits.mean())
    assert rest.actions.bits.value == pytest.approx(of_rest, rel=0.1)
    assert gripper.bits.shape == rest.actions.recalibrated.shape


def test_what_is_known_from_the_gripper_is_not_counted_twice(tmp_path: Path):
    """The arm moves as the gripper does, and the features show the gripper's one command: one bit in all."""
    rng = torch.Generator().manual_seed(0)
    command = torch.randint(2, (2100, 1), generator=rng).float()
    chunk = 0.6 * command - 0.3 + 0.05 * torch.randn(2100, 2, generator=rng)
    gripper, rest = measured(chunk, command.repeat(1, 3)[..., None], command, tmp_path)
    assert gripper.bits.mean() == pytest.approx(1.0, abs=0.05)
    assert gripper.told.positions[1].value == pytest.approx(0.0, abs=0.05)
    assert rest.actions.bits.value == pytest.approx(0.0, abs=0.05)


def test_commands_become_codes_of_a_digit_a_gripper():
    commands = torch.tensor([[[-1.0, 0.0], [1.0, 2.0]], [[1.0, 5.0], [-1.0, 0.0]]]).repeat(7, 1, 1)
    codes = gripper_codes(commands, torch.arange(14) % 7)
    assert codes.digits == (2, 3)
    assert codes.ids[:2].tolist() == [[0, 3], [5, 0]]


def test_a_gripper_that_is_moved_continuously_is_refused():
    with pytest.raises(ValueError, match="gripper 0: expected at most 16 different commands, got 70; one that"):
        gripper_codes(torch.rand(70, 1, 1), torch.arange(70) % 7)
