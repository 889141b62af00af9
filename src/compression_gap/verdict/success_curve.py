"""How success falls with distortion: replays in which the expert's chunks were executed less and less exactly.

Used where verdicts are calibrated in points (`benchmarks/calibration.py`). An audit judges by the error of actions:
points by noise are far too few where a policy looks again (docs/measurement.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.optimize import isotonic_regression

KNOTS = 50
DRAWS = 40
FEWEST = 20
"""Replays below which no curve is worth fitting."""


@dataclass(frozen=True)
class SuccessCurve:
    """Success against mean squared error, falling, with what other replays would have given."""

    distortion: Float[np.ndarray, " K"]
    """Ascending, in the unit of the heads' errors."""
    success: Float[np.ndarray, "draws K"]
    """Shares, never rising. The first row is the fit to all replays, the others to replays drawn again."""

    @classmethod
    def fit(cls, distortion: Float[np.ndarray, " M"], success: Shaped[np.ndarray, " M"]) -> SuccessCurve:
        """Isotonic regression (Barlow et al. 1972) of success, a truth value or a share, on each replay's own
        distortion; replays of one distortion count as one, with their mean.

        Raises ValueError with fewer than 20 replays, or if they are not finite.
        """
        if len(distortion) != len(success) or len(distortion) < FEWEST:
            raise ValueError(
                f"a distortion-success curve needs at least {FEWEST} replays, each with its success; got "
                f"{len(distortion)} distortions and {len(success)} successes"
            )
        if not (np.isfinite(distortion).all() and np.isfinite(success).all()):
            raise ValueError("a distortion-success curve needs finite numbers, got NaN or infinite ones")
        success = success.astype(float)
        rng = np.random.default_rng(0)
        knots = np.unique(np.quantile(distortion, np.linspace(0, 1, KNOTS)))
        samples = [np.arange(len(distortion)), *rng.integers(len(distortion), size=(DRAWS, len(distortion)))]
        rows = []
        for sample in samples:
            at, which, count = np.unique(distortion[sample], return_inverse=True, return_counts=True)
            mean = np.bincount(which, success[sample]) / count
            rows.append(np.interp(knots, at, isotonic_regression(mean, weights=count, increasing=False).x))
        return cls(knots, np.stack(rows))

    def points(
        self, errors: Float[np.ndarray, "fractions seeds N"], episode: Int[np.ndarray, " N"] | None, draw: int = 0
    ) -> Float[np.ndarray, "fractions seeds N"]:
        """Success in points at the errors, which are averaged over each episode first; None: every chunk is one."""
        if episode is not None:
            _, group = np.unique(episode, return_inverse=True)
            flat = errors.reshape(-1, errors.shape[2])
            mean = np.stack([np.bincount(group, row) for row in flat]) / np.bincount(group)
            errors = mean[:, group].reshape(errors.shape)
        return 100 * np.interp(errors, self.distortion, self.success[draw])
