"""Noise of known size and shape, and the expert replayed with it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from compression_gap.measures.distortion import arm_of
from compression_gap.measures.noise import ChunkScale, coloured, executed_distortion, root, white, with_noise
from compression_gap.measures.replay import NoisyReplayDriver, ReplayDriver
from compression_gap.rollout import Driver, Rollouts, roll_out
from compression_gap.suites.tabletop.suite import Tabletop

SUITE = Tabletop(image_size=16).build()
LEGEND, HORIZON, DRAWS = SUITE.legend, 4, 20_000
ARM = arm_of(LEGEND)


def chunks(count: int = 400) -> np.ndarray:
    """Chunks that wander in x, y and yaw, by different ranges; the gripper closes halfway."""
    rng = np.random.default_rng(0)
    made = np.zeros((count, HORIZON, 7), dtype=np.float32)
    made[..., [0, 1, 5]] = np.clip(rng.normal(size=(count, 1, 3)), -2, 2) * [0.4, 0.1, 0.2]
    made[..., [0, 1, 5]] += 0.02 * rng.normal(size=(count, HORIZON, 3))
    made[..., 6] = np.repeat([-1.0, 1.0], HORIZON // 2)
    return made


SCALE = ChunkScale.of(chunks(), LEGEND)


def noise(covariance: np.ndarray, share: float) -> np.ndarray:
    """What is added to chunks at rest, [draws, n]."""
    normal = np.random.default_rng(1).standard_normal((DRAWS, len(covariance)))
    still = np.zeros((DRAWS, HORIZON, 7))
    return with_noise(still, normal, root(covariance), share, LEGEND)


def test_white_noise_is_white_where_actions_are_scaled_and_as_large_as_it_says():
    added = noise(white(SCALE, HORIZON), 0.25)
    assert SCALE.squared_error(np.zeros_like(added), added, LEGEND) == pytest.approx(0.25 * SCALE.variance, rel=0.02)
    moving = SCALE.half_range > 0
    assert moving.tolist() == [True, True, False, False, False, True]
    scaled = (added[..., ARM][..., moving] / SCALE.half_range[moving]).reshape(DRAWS, -1)
    covariance = np.cov(scaled, rowvar=False)
    each = 0.25 * SCALE.variance / len(covariance)
    np.testing.assert_allclose(covariance, each * np.eye(len(covariance)), atol=0.05 * each)
    assert not added[..., [2, 3, 4]].any(), "what never moves stays still"


def test_coloured_noise_has_the_covariance_of_the_errors():
    rng = np.random.default_rng(2)
    n = HORIZON * len(ARM)
    mix = rng.normal(size=(n, n)) * np.tile(SCALE.half_range > 0, HORIZON)
    error = np.zeros((5000, HORIZON, 7))
    error[..., ARM] = (0.01 * rng.normal(size=(5000, n)) @ mix).reshape(5000, HORIZON, -1) + 0.5
    error[..., 2] = 0.0
    error[..., 6] = rng.choice([-2.0, 2.0], size=(5000, HORIZON))
    of_errors = np.cov(error[..., ARM].reshape(5000, -1), rowvar=False, ddof=0)
    added = noise(coloured(error, SCALE, LEGEND), 0.5)
    assert SCALE.squared_error(np.zeros_like(added), added, LEGEND) == pytest.approx(0.5 * SCALE.variance, rel=0.03)
    covariance = np.cov(added[..., ARM].reshape(DRAWS, -1), rowvar=False)
    ratio = np.trace(covariance) / np.trace(of_errors)
    assert np.abs(covariance - ratio * of_errors).max() < 0.05 * np.diag(covariance).max()
    assert not added[..., 6].any(), "the gripper is nobody's noise"


def test_a_root_squared_is_the_covariance_even_of_a_singular_one():
    values = np.random.default_rng(0).normal(size=(3, 6))
    covariance = values.T @ values
    np.testing.assert_allclose(root(covariance) @ root(covariance), covariance, atol=1e-12)


def test_distortion_is_of_what_simulators_execute():
    chunk = np.full((2, HORIZON, 7), 0.9)
    decoded = chunk.copy()
    decoded[..., 0] = 5.0
    told = executed_distortion(chunk, decoded, SCALE, LEGEND)
    assert told["squared_error"] == pytest.approx(HORIZON * (0.1 / SCALE.half_range[0]) ** 2)
    assert told["mm"] == pytest.approx(10 * 0.1 * np.sqrt(np.mean(np.arange(1, HORIZON + 1) ** 2)))
    assert told["share"] == pytest.approx(told["squared_error"] / SCALE.variance)


def test_what_never_moves_or_never_errs_has_no_noise():
    with pytest.raises(ValueError, match="no action of the arm ever changes in the training chunks"):
        ChunkScale.of(np.ones((5, HORIZON, 7), dtype=np.float32), LEGEND)
    with pytest.raises(ValueError, match="the code makes no errors of the arm"):
        coloured(np.zeros((5, HORIZON, 7)), SCALE, LEGEND)


def roll(driver: Driver, batch: int) -> pl.DataFrame:
    return roll_out(driver, SUITE, Rollouts("test", 4, execute=2), (0, 1), batch, lambda fraction, text: None)


def test_the_noise_of_an_episode_does_not_depend_on_who_shares_its_batch_and_no_noise_is_the_expert():
    factor = root(white(SCALE, HORIZON))
    together, apart = (roll(NoisyReplayDriver(SUITE, HORIZON, factor, 0.5), batch) for batch in (4, 1))
    assert together.equals(apart)
    expert = roll(ReplayDriver(SUITE, HORIZON, None), 4)
    assert roll(NoisyReplayDriver(SUITE, HORIZON, factor, 0.0), 4).equals(expert)
    assert (together["error_mm"] != expert["error_mm"]).all()
    assert together["initial_state"].equals(expert["initial_state"])
