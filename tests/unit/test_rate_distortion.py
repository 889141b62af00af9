"""Rate-distortion bounds against sources whose curve is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compression_gap.measures.rate_distortion import (
    Spectrum,
    excess,
    gaussian_distortion,
    gaussian_rate,
    held_out_spectrum,
    shannon_rate,
    spectrum,
)


def diagonal(*variances: float) -> Spectrum:
    return spectrum(np.diag(variances))


def blahut_arimoto(p: np.ndarray, squared: np.ndarray, slope: float, steps: int = 1500) -> tuple[float, float]:
    """(distortion, bits) of a discrete source at one slope of its rate-distortion curve (Blahut 1972)."""
    q = np.full(squared.shape[1], 1 / squared.shape[1])
    kernel = np.exp(-slope * squared)
    for _ in range(steps):
        q = q * ((p / (kernel @ q)) @ kernel)
    distortion = float((p / (kernel @ q) * ((kernel * squared) @ q)).sum())
    return distortion, float(-slope * distortion / math.log(2) - p @ np.log2(kernel @ q))


def test_white_gaussian_has_the_closed_form():
    distortion = np.array([0.01, 0.5, 2.0, 7.9])
    found = gaussian_rate(diagonal(*[2.0] * 4), distortion)
    np.testing.assert_allclose(found.values, 4 / 2 * np.log2(4 * 2.0 / distortion))
    assert (found.unit, found.kind) == ("bits", "upper bound")


def test_diagonal_gaussian_has_the_closed_form():
    """Water level 1: the directions of variance 16 and 4 cost 2 and 1 bits, the one of 0.25 keeps its variance."""
    source = diagonal(4.0, 0.25, 16.0)
    np.testing.assert_allclose(gaussian_rate(source, np.array([2.25])).values, [3.0])
    np.testing.assert_allclose(gaussian_distortion(source, np.array([3.0])).values, [2.25])


def test_at_no_bits_the_distortion_is_the_variance_and_beyond_it_the_rate_is_zero():
    source = diagonal(3.0, 1.0)
    np.testing.assert_allclose(gaussian_distortion(source, np.array([0.0])).values, [4.0])
    np.testing.assert_allclose(gaussian_rate(source, np.array([4.0, 5.0, 100.0])).values, [0.0, 0.0, 0.0])


def test_rotation_changes_nothing():
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    variances = np.array([9.0, 4.0, 1.0, 0.3, 0.01])
    distortion = np.geomspace(0.01, 14, 7)
    turned = gaussian_rate(spectrum(rotation @ np.diag(variances) @ rotation.T), distortion)
    np.testing.assert_allclose(turned.values, gaussian_rate(diagonal(*variances), distortion).values, rtol=1e-9)


def test_constant_values_and_copies_are_left_out_and_named():
    values = np.random.default_rng(1).standard_normal((500, 2))
    vectors = np.column_stack([values[:, 0], np.full(500, 3.0), values[:, 1], values[:, 1]])
    found = spectrum(np.cov(vectors.T))
    assert found.constant == (1,)
    assert (len(found.variances), found.singular) == (2, 2)
    np.testing.assert_allclose(found.total, np.trace(np.cov(vectors.T)))


def test_nothing_varies_or_is_finite():
    with pytest.raises(ValueError, match="nothing varies"):
        gaussian_rate(diagonal(0.0, 0.0), np.array([1.0]))
    with pytest.raises(ValueError, match="NaN or infinite"):
        spectrum(np.array([[1.0, np.nan], [np.nan, 1.0]]))
    with pytest.raises(ValueError, match="distortions above 0, got 0"):
        gaussian_rate(diagonal(1.0), np.array([0.0]))
    with pytest.raises(ValueError, match="at least 0 bits, got -1"):
        gaussian_distortion(diagonal(1.0), np.array([-1.0]))
    with pytest.raises(ValueError, match="drop what is constant"):
        shannon_rate(-math.inf, 1, np.array([1.0]), exact=True)


def test_shannons_bound_meets_the_gaussian_where_every_direction_costs_bits():
    variances = np.array([5.0, 2.0, 0.5])
    entropy = 0.5 * np.log2(2 * math.pi * math.e * variances).sum()
    distortion = np.array([0.1, 1.0, 1.5, 4.0])
    below = shannon_rate(entropy, 3, distortion, exact=True)
    above = gaussian_rate(diagonal(*variances), distortion)
    np.testing.assert_allclose(below.values[:3], above.values[:3])  # up to 3 * 0.5
    assert below.values[3] < above.values[3]
    assert below.kind == "lower bound"
    assert shannon_rate(entropy, 3, distortion, exact=False).kind == "estimate"


@pytest.mark.parametrize("shape", ["two humps", "uniform", "heavy tails"])
def test_the_bounds_enclose_a_discrete_source_at_every_point(shape: str):
    """Its curve is computed by Blahut and Arimoto's algorithm on a grid of atoms.

    Spread evenly over their cells, the atoms have a density whose entropy is exact; what decodes an atom decodes the
    spread value with a cell's variance more, which places the lower bound.
    """
    atoms = np.linspace(-1, 1, 81)
    width = atoms[1] - atoms[0]
    density = {
        "two humps": np.exp(-((np.abs(atoms) - 0.7) ** 2) / 0.03),
        "uniform": np.ones(81),
        "heavy tails": 1 / (0.01 + atoms**2),
    }[shape]
    p = density / density.sum()
    squared = (atoms[:, None] - np.linspace(-1, 1, 161)) ** 2
    variance = float(p @ atoms**2)
    points = [blahut_arimoto(p, squared, factor / variance) for factor in (1, 2, 6, 30, 150)]
    distortion, bits = (np.array(column) for column in zip(*points, strict=True))
    above = gaussian_rate(diagonal(variance), distortion).values
    entropy = float(-(p * np.log2(p)).sum() + np.log2(width))
    below = shannon_rate(entropy, 1, distortion + width**2 / 12, exact=True).values
    assert (below <= bits + 1e-6).all()
    assert (bits <= above + 1e-6).all()
    assert bits.max() - bits.min() > 1.5  # the curve was really walked along
    assert (above - bits).max() > 0.02  # and is not the Gaussian's


def test_excess_of_a_scalar_quantizer_is_the_quarter_bit():
    """Fine uniform bins of a Gaussian: 1.53 dB, or 0.254 bits, above its curve (Gish & Pierce 1968)."""
    step = 0.1
    edges = np.arange(-80, 81) * step
    cumulative = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in edges])
    p = np.diff(cumulative)
    bits = float(-(p[p > 0] * np.log2(p[p > 0])).sum())
    found = excess(diagonal(1.0), bits, step**2 / 12)
    assert found.bits == pytest.approx(0.5 * math.log2(2 * math.pi * math.e / 12), abs=2e-3)
    assert found.decibels == pytest.approx(1.53, abs=0.01)


@pytest.mark.parametrize("chunks", [20, 45, 100, 400])
def test_the_bound_holds_for_any_number_of_vectors_to_learn_from(chunks: int):
    """112 correlated values: the covariance of few vectors promises far too few bits, held-out variances do not."""
    rng = np.random.default_rng(chunks)
    mixing = rng.standard_normal((112, 112)) * np.linspace(1.0, 0.05, 112)
    learnt, held = (rng.standard_normal((count, 112)) @ mixing.T + 3 for count in (chunks, 500))
    truth = spectrum(mixing @ mixing.T)
    error = np.array([0.01 * truth.total])
    bits = float(gaussian_rate(truth, error).values[0])
    promised = float(gaussian_rate(spectrum(np.cov(learnt, rowvar=False)), error).values[0])
    found = float(gaussian_rate(held_out_spectrum(learnt, held), error).values[0])
    assert promised < 0.97 * bits
    assert bits - 112 / (2 * 500 * math.log(2)) - 3 < found


def test_with_many_vectors_the_bound_is_the_gaussians():
    rng = np.random.default_rng(0)
    variances = np.array([4.0, 1.0, 0.25])
    learnt, held = (rng.standard_normal((20_000, 3)) * np.sqrt(variances) for _ in range(2))
    found = held_out_spectrum(learnt, held)
    np.testing.assert_allclose(found.variances, variances, rtol=0.05)
    still = held_out_spectrum(np.c_[learnt, np.ones(20_000)], np.c_[held, np.ones(20_000)])
    assert (still.constant, still.singular) == ((3,), 1)
    assert held_out_spectrum(np.ones((9, 2)), np.ones((5, 2))).variances.size == 0
    with pytest.raises(ValueError, match="vectors to learn from and to measure, got 3 and 0"):
        held_out_spectrum(learnt[:3], held[:0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        held_out_spectrum(learnt, held * np.nan)
