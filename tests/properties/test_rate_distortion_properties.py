"""What holds for the rate-distortion function of every Gaussian."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compression_gap.measures.rate_distortion import gaussian_distortion, gaussian_rate, spectrum

variances = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=12)


@given(variances, st.lists(st.floats(1e-6, 0.999), min_size=1, max_size=5))
@settings(max_examples=100)
def test_distortion_and_rate_undo_each_other(spread: list[float], shares: list[float]):
    source = spectrum(np.diag(spread))
    distortion = np.array(shares) * source.total
    rate = gaussian_rate(source, distortion).values
    np.testing.assert_allclose(gaussian_distortion(source, rate).values, distortion, rtol=1e-6)


@given(variances)
@settings(max_examples=100)
def test_the_rate_falls_and_is_convex(spread: list[float]):
    source = spectrum(np.diag(spread))
    distortion = np.linspace(1e-3, 1.2, 60) * source.total
    rate = gaussian_rate(source, distortion).values
    scale = 1e-9 * (1 + rate.max())
    assert (np.diff(rate) <= scale).all()
    assert (np.diff(rate, 2) >= -scale).all()
    assert (rate[distortion >= source.total] == 0).all()


@given(variances, st.floats(0.1, 10))
@settings(max_examples=50)
def test_units_do_not_matter(spread: list[float], unit: float):
    here, there = spectrum(np.diag(spread)), spectrum(np.diag(spread) * unit**2)
    distortion = np.array([0.01, 0.1, 0.6]) * here.total
    rates = [gaussian_rate(here, distortion).values, gaussian_rate(there, distortion * unit**2).values]
    np.testing.assert_allclose(*rates, rtol=1e-6, atol=1e-9)
