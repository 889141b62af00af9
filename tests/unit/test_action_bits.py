"""Bits about actions against sources whose bits are known: none are missed, and none are invented."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compression_gap.data.split import TEST, TRAIN, VALIDATION, parts_of
from compression_gap.encoders.channel import ChannelEncoder
from compression_gap.measures.denoising import ActionBits, Errors, action_bits
from compression_gap.measures.early_stopping import CHOSEN
from compression_gap.measures.encoder_probe import ProbeData, Probing, Quality, fit, probe, told_nothing
from compression_gap.suites.tabletop.suite import Tabletop

SIGMA = 0.025
QUICK = Probing(steps=40, batch=64, seeds=(0,), width=48)
WINDOWS = 10  # of a demonstration


def quiet(fraction: float, text: str) -> None:
    pass


def source(chunk: torch.Tensor, state: torch.Tensor | None = None) -> ProbeData:
    """Rows as windows of demonstrations, of which five in seven are to train on."""
    demonstration = torch.arange(len(chunk)) // WINDOWS
    part = torch.from_numpy(parts_of(np.zeros(len(chunk) // WINDOWS, dtype=np.int64)))[demonstration]
    state = chunk[:, :1] if state is None else state
    return ProbeData(chunk, state, torch.zeros(len(chunk), 1), demonstration, part)


def gaussian(values: int, bits: float, rows: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Chunks, features that tell `bits` about them among 16 that tell nothing, and the bits at SIGMA."""
    rng = np.random.default_rng(values)
    told = 1 - 2 ** (-2 * bits / values)
    seen, hidden = rng.standard_normal((2, rows, values))
    turn = np.linalg.qr(rng.standard_normal((values, values)))[0]
    chunk = 0.4 * (math.sqrt(told) * seen + math.sqrt(1 - told) * hidden) @ turn
    features = np.concatenate([seen, rng.standard_normal((rows, 16))], axis=1)
    features = features @ np.linalg.qr(rng.standard_normal((values + 16, values + 16)))[0]
    truth = 0.5 * values * math.log2((0.16 + SIGMA**2) / (0.16 * (1 - told) + SIGMA**2))
    return torch.from_numpy(chunk).float(), torch.from_numpy(features).float(), truth


def measured(data: ProbeData, features: torch.Tensor, folder: Path, probing: Probing = QUICK) -> Quality:
    """The probe, with the denoisers that it is compared with."""
    nothing = [fit(told_nothing(data), data, probing, s, folder / f"nothing-{s}", quiet) for s in probing.seeds]
    return probe(features, None, data, nothing, probing, folder / "probe", quiet)


@pytest.mark.parametrize(("values", "bits", "rows"), [(8, 4.0, 3500), (32, 40.0, 5600)])
def test_gaussian_bits_are_found_and_noise_takes_them_away(values: int, bits: float, rows: int, tmp_path: Path):
    chunk, features, truth = gaussian(values, bits, rows)
    data = source(chunk)
    found = measured(data, features, tmp_path / "clear")
    assert found.actions.bits.value == pytest.approx(truth, abs=0.5 if truth < 5 else 0.1 * truth)
    assert found.actions.bits.low < found.actions.bits.value < found.actions.bits.high
    assert found.actions.converged
    assert found.linear_bits == pytest.approx(truth, rel=0.1, abs=0.5)
    noisy = features + torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    less = measured(data, noisy, tmp_path / "noisy").actions
    lost = found.actions.beyond(less)
    assert lost.low > 0
    assert less.bits.value < truth - 0.3


@pytest.mark.parametrize("rows", [1000, 4200])
def test_features_of_other_windows_tell_nothing(rows: int, tmp_path: Path):
    chunk, features, _ = gaussian(16, 20.0, rows)
    shuffled = features[torch.randperm(rows, generator=torch.Generator().manual_seed(0))]
    found = measured(source(chunk), shuffled, tmp_path).actions
    assert abs(found.bits.value) < 0.3
    assert found.converged


def test_a_thousand_windows_give_no_false_bits(tmp_path: Path):
    chunk, features, truth = gaussian(16, 20.0, 1400)
    found = measured(source(chunk), features, tmp_path).actions
    assert 0.85 * truth < found.bits.value < truth + 1.0


def test_what_is_not_linearly_there_is_found(tmp_path: Path):
    rng = torch.Generator().manual_seed(0)
    seen, noise = torch.randn(2800, 2, generator=rng), torch.randn(2800, 2, generator=rng)
    clean = torch.stack([seen[:, 0].square() - 1, seen[:, 0] * seen[:, 1]], dim=1) / 4
    found = measured(source(clean + 0.05 * noise), seen, tmp_path, replace(QUICK, steps=300, batch=128))
    assert found.linear_bits < 0.2
    assert found.interface.startswith("features")
    assert (
        3.0 < found.actions.bits.value < 2 * math.log2(0.3 / 0.05)
    )  # a Gaussian of this variance would tell the latter


def test_bits_through_the_channel_follow_its_signal_to_noise_ratio(tmp_path: Path):
    legend = Tabletop(image_size=16).build().legend
    rng = torch.Generator().manual_seed(1)
    rows, size = 4200, len(legend.state)
    scale = torch.tensor(legend.state_scale)
    state = 10 * scale * torch.randn(rows, size, generator=rng)  # a spread of 10 mm
    mix = torch.randn(size, 6, generator=rng) / math.sqrt(size)
    rest = 0.05 * torch.randn(rows, 6, generator=rng)
    chunk = 0.3 * (state / scale / 10) @ mix + rest
    stamp = torch.stack([torch.arange(rows) // WINDOWS, torch.arange(rows) % WINDOWS, torch.zeros(rows).long()], dim=1)
    data = source(chunk, state)
    found, closed = [], []
    for sigma in (20.0, 5.0, 1.0):
        features = ChannelEncoder(legend, sigma).encode({"state": state, "stamp": stamp})[:, 0]
        found.append(measured(data, features, tmp_path / str(sigma)).actions.bits.value)
        unknown = 1 - 100 / (100 + sigma**2)  # the share of the state's variance that the channel leaves
        covariance, around = 0.09 * mix.T @ mix, torch.eye(6) * (0.05**2 + SIGMA**2)
        ratio = torch.linalg.slogdet(covariance + around)[1] - torch.linalg.slogdet(unknown * covariance + around)[1]
        closed.append(ratio.item() / (2 * math.log(2)))
    assert found == sorted(found)
    for bits, truth in zip(found, closed, strict=True):
        assert bits == pytest.approx(truth, rel=0.1, abs=0.0 if truth > 5 else 0.5)


def test_equal_data_equal_bits_and_a_killed_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("compression_gap.training.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    chunk, features, _ = gaussian(4, 4.0, 1400)
    data = source(chunk)
    once = measured(data, features, tmp_path / "once").actions.recalibrated

    def killed(fraction: float, text: str) -> None:
        if fraction > 0.4:  # in the second of the two trainings
            raise KeyboardInterrupt

    nothing = [fit(told_nothing(data), data, QUICK, 0, tmp_path / "nothing", quiet)]
    with pytest.raises(KeyboardInterrupt):
        probe(features, None, data, nothing, QUICK, tmp_path / "twice", killed)
    assert list(tmp_path.glob(f"twice/*/{CHOSEN}")) or list(tmp_path.glob("twice/*/checkpoint.safetensors"))
    again = probe(features, None, data, nothing, QUICK, tmp_path / "twice", quiet).actions.recalibrated
    np.testing.assert_array_equal(again, once)


def errors_of(excess: float) -> Errors:
    """Of the best unconditional denoiser of a standard normal, and of one that adds noise of its own to it."""
    rng = np.random.default_rng(0)
    log_snr = np.linspace(-9, 7.4, 80)
    best = np.broadcast_to(1 / (1 + np.exp(-log_snr)), (400, 80)) * rng.chisquare(8, (400, 80))
    return Errors(best, best + excess, np.full_like(best, excess), log_snr)


def test_what_a_denoiser_memorised_counts_as_nothing_and_is_told():
    found = action_bits([errors_of(excess=1.0)], np.arange(400) // 10, SIGMA)
    assert found.difference.mean() < -10
    assert found.pair.mean() > 10
    assert found.bits.value == pytest.approx(0, abs=0.01)
    assert not found.converged
    assert action_bits([errors_of(excess=0.0)], np.arange(400) // 10, SIGMA).converged


def test_the_integral_of_known_errors_is_the_closed_form():
    sigma = math.exp(-7.4 / 2)
    snr = np.exp(np.linspace(-9, 7.4, 80))
    total, left = 1.0, 0.05
    u, c = (np.broadcast_to(snr * v / (snr * v + 1), (40, 80)).copy() for v in (total, left))
    found = action_bits([Errors(u, c, u - c, np.log(snr))], np.arange(40) // 4, sigma)
    truth = 0.5 * math.log2((total + sigma**2) / (left + sigma**2))
    assert found.bits.value == pytest.approx(truth, abs=0.003)
    assert found.pair.mean() == pytest.approx(truth, abs=0.003)


def test_bits_of_other_chunks_are_not_compared():
    one = action_bits([errors_of(0.0)], np.arange(400) // 10, SIGMA)
    other = ActionBits(one.recalibrated, one.difference, one.pair, np.arange(400) // 20, SIGMA)
    with pytest.raises(ValueError, match="only on the same chunks, at the same sigma"):
        one.beyond(other)


def test_five_of_seven_demonstrations_of_every_task_are_for_training():
    task = np.array([0, 1] * 70)
    part = parts_of(task)
    for one in (0, 1):
        assert [(part[task == one] == p).sum() for p in (TRAIN, VALIDATION, TEST)] == [50, 10, 10]


def test_bad_input_is_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(ValueError, match=r"at least 8 demonstrations to test on, got 5 of 40: .* so more are needed"):
        parts_of(np.zeros(40, dtype=np.int64))
    with pytest.raises(ValueError, match=r"Probing\.sigma is a noise on actions scaled to \[-1, 1\]"):
        Probing(sigma=0.0)
    with pytest.raises(ValueError, match=r"Probing\.seeds: expected at least one, each once"):
        Probing(seeds=(1, 1))
    chunk, features, _ = gaussian(4, 4.0, 1400)
    data = source(chunk)
    with pytest.raises(ValueError, match="expected features of 1400 windows, one a chunk; got 1399"):
        probe(features[1:], None, data, [], QUICK, tmp_path, quiet)
    features[7, 3] = torch.nan
    with pytest.raises(
        ValueError, match=r"features: expected finite numbers, got NaN .* in 1 of 1400 windows, .* number 7"
    ):
        probe(features, None, data, [], QUICK, tmp_path, quiet)
