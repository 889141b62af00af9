"""The denoiser's upper bound on rate-distortion: above curves that are known, and below the Gaussian's where it may."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from compression_gap.measures.denoiser import Denoiser, ToldChunks, train_denoiser
from compression_gap.measures.denoising import own_errors
from compression_gap.measures.diffusion_rate import DiffusionCurve, diffusion_curve, least_rate
from compression_gap.measures.rate_distortion import Spectrum, gaussian_rate, spectrum
from compression_gap.training import Training

SIGMA = 0.025
TRAINING = Training(steps=3000, batch=256, learning_rate=1e-2, warmup=10)


def rows_of(chunk: np.ndarray, mean: np.ndarray) -> ToldChunks:
    values = torch.from_numpy(chunk).float()
    return ToldChunks(values, torch.from_numpy(mean).float().expand_as(values), torch.zeros(len(values), 1))


def curve_of(denoiser: Denoiser, rows: ToldChunks) -> DiffusionCurve:
    return diffusion_curve(*own_errors(denoiser, rows), np.arange(len(rows.chunk)) // 10)


def blahut_arimoto(p: np.ndarray, squared: np.ndarray, slope: float) -> tuple[float, float]:
    """(distortion, bits) of a discrete source at one slope of its rate-distortion curve (Blahut 1972)."""
    q = np.full(squared.shape[1], 1 / squared.shape[1])
    kernel = np.exp(-slope * squared)
    for _ in range(1500):
        q = q * ((p / (kernel @ q)) @ kernel)
    distortion = float((p / (kernel @ q) * ((kernel * squared) @ q)).sum())
    return distortion, float(-slope * distortion / math.log(2) - p @ np.log2(kernel @ q))


def test_a_gaussian_costs_a_few_bits_more_than_its_curve_and_never_less():
    """A smooth chunk of 64 values, read by the best denoiser there is: what the denoiser starts as."""
    rng, place = np.random.default_rng(0), np.arange(64)
    covariance = 0.1 * np.exp(-0.5 * ((place[:, None] - place) / 6) ** 2) + 1e-3 * np.eye(64)
    factor = np.linalg.cholesky(covariance)
    train, held = (rng.standard_normal((count, 64)) @ factor.T for count in (20_000, 1500))
    denoiser = Denoiser(64, 1, SIGMA, width=8)
    denoiser.fit(torch.from_numpy(train).float())
    found = curve_of(denoiser, rows_of(held, np.zeros(64)))
    truth, certainly = (
        gaussian_rate(spectrum(covariance), some).values for some in (found.distortion, found.distortion_ends[1])
    )
    assert (found.bits_ends[1] >= certainly).all()
    between = (truth > 5) & (truth < 30)
    assert ((found.bits - truth)[between] > 0.2).all()
    assert ((found.bits - truth)[between] < 4).all()
    assert found.bits_ends[0, -1] < found.bits[-1] < found.bits_ends[1, -1]


HUMPS = np.linspace(-1, 1, 41)
WEIGHT = np.exp(-((abs(HUMPS) - 0.8) ** 2) / 0.005)
ATOMS = {
    "three atoms": (np.array([-0.8, 0.1, 0.8]), np.ones(3) / 3),
    "two humps": (HUMPS, WEIGHT / WEIGHT.sum()),
}


def known(shape: str) -> tuple[np.ndarray, np.ndarray, Spectrum]:
    """Distortions and bits along a discrete source's rate-distortion function, and its variance."""
    atoms, p = ATOMS[shape]
    variance = float(p @ atoms**2 - (p @ atoms) ** 2)
    squared = (atoms[:, None] - np.linspace(-1, 1, 161)) ** 2
    points = [blahut_arimoto(p, squared, factor / variance) for factor in (0.6, 0.8, 1, 1.3, 1.8, 2.5, 3.5, 5)]
    distortion, bits = (np.array(column) for column in zip(*points, strict=True))
    return distortion, bits, spectrum(np.array([[variance]]))


def errors_of(shape: str, doubt: float, log_snr: np.ndarray) -> np.ndarray:
    """Of whoever knows the source and takes the noise for `doubt` times what it is; 1 is the best there is."""
    rng, (atoms, p) = np.random.default_rng(0), ATOMS[shape]
    chunk, noise = rng.choice(atoms, 4000, p=p), rng.standard_normal((len(log_snr), 4000))
    signal, spread = np.sqrt(1 / (1 + np.exp(-log_snr)))[:, None], np.sqrt(1 / (1 + np.exp(log_snr)))[:, None]
    noisy = signal * chunk + spread * noise
    away = (noisy[..., None] - signal[..., None] * atoms) / (doubt * spread[..., None])
    weight = p * np.exp(-0.5 * (away**2 - (away**2).min(axis=2, keepdims=True)))
    guess = (weight @ atoms) / weight.sum(axis=2)
    return ((noise - (noisy - signal * guess) / spread) ** 2).T


@pytest.mark.parametrize("shape", ATOMS)
@pytest.mark.parametrize("doubt", [1.0, 0.5, 3.0])
def test_the_bounds_enclose_a_discrete_source_at_every_point_whatever_the_denoiser(shape: str, doubt: float):
    (distortion, bits, source), log_snr = known(shape), np.linspace(-9, 7.4, 80)
    found = diffusion_curve(errors_of(shape, doubt, log_snr), log_snr, np.arange(4000) // 10)
    bound = least_rate(source, found, distortion)
    assert bound.kind == "upper bound"
    slack = (found.bits_ends[1] - found.bits).max()
    assert slack < 0.1
    assert (found.rate(distortion).values + slack >= bits).all()
    assert (bound.values + slack >= bits).all()
    assert (bound.values <= gaussian_rate(source, distortion).values).all()
    assert bits.max() - bits.min() > 0.6  # the curve was really walked along
    assert doubt != 1 or (gaussian_rate(source, distortion).values - bound.values).max() > 0.5


def test_a_denoiser_that_has_learnt_what_chunks_are_like_beats_the_gaussian(tmp_path: Path):
    rng, (atoms, p) = np.random.default_rng(0), ATOMS["three atoms"]
    mean = np.array([p @ atoms])
    train, validation, held = (rows_of(rng.choice(atoms, (n, 1), p=p), mean) for n in (4000, 1000, 4000))
    torch.manual_seed(0)
    denoiser = Denoiser(1, 1, SIGMA, width=64)
    denoiser.fit(train.chunk - train.mean)
    denoiser = train_denoiser(
        denoiser, train, validation, TRAINING, seed=0, folder=tmp_path, report=lambda fraction, text: None
    )
    found = curve_of(denoiser, held)
    (distortion, bits, source), fine = known("three atoms"), np.array([2e-3])
    assert (found.rate(distortion).values + 0.05 >= bits).all()
    assert found.rate(fine).values[0] > math.log2(3)
    assert found.rate(fine).values[0] < gaussian_rate(source, fine).values[0] - 1


def test_the_curve_of_known_errors_is_the_closed_form():
    log_snr = np.linspace(-9, 7.4, 80)
    snr = np.exp(log_snr)
    found = diffusion_curve(np.broadcast_to(snr / (snr + 1), (40, 80)).copy(), log_snr, np.arange(40) // 4)
    np.testing.assert_allclose(found.distortion, 1 / (snr + 1))
    np.testing.assert_allclose(found.bits, 0.5 * np.log2(1 + snr), atol=2e-3)
    np.testing.assert_allclose(found.bits_ends[0], found.bits_ends[1])
    assert found.rate(np.array([1e-9])).values[0] == math.inf
    assert least_rate(spectrum(np.eye(1)), found, np.array([1e-4])).values[0] == pytest.approx(math.log2(100))
    assert found.bits_ends is not None
    alone = diffusion_curve(np.broadcast_to(snr / (snr + 1), (3, 80)).copy(), log_snr, np.zeros(3, dtype=np.int64))
    np.testing.assert_allclose(alone.bits, found.bits)
    assert alone.bits_ends is alone.distortion_ends is None  # of other demonstrations nothing is known
