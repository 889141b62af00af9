"""The rollouts of one cell, counted: one row per training seed, which is the replicate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

Unit = Literal["points", "log-odds"]

FLOOR, CEILING = 0.10, 0.90


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Successes of one cell. Every seed is judged on the same initial states, so all seeds share one `episodes`.

    A stratum is a fixed part of the evaluation, such as a task. Raises ValueError if the counts cannot be counts.
    """

    successes: Integer[np.ndarray, "seeds strata"]
    """Successful episodes."""

    episodes: Integer[np.ndarray, " strata"]
    """Episodes of one seed."""

    trained: bool = True
    """False for what no training seed touches, such as the scripted expert: all its rows are rollouts of one thing."""

    def __post_init__(self) -> None:
        if self.successes.ndim != 2 or self.episodes.shape != self.successes.shape[1:] or self.successes.size == 0:
            raise ValueError(
                f"Outcomes: expected successes [seeds, strata] and episodes [strata], at least one of each; "
                f"got shapes {self.successes.shape} and {self.episodes.shape}"
            )
        whole = all(np.issubdtype(counts.dtype, np.integer) for counts in (self.successes, self.episodes))
        if not (
            whole and (self.episodes >= 1).all() and ((self.successes >= 0) & (self.successes <= self.episodes)).all()
        ):
            raise ValueError(
                f"Outcomes: expected whole numbers 0 <= successes <= episodes and at least one episode; "
                f"got {self.successes.tolist()} of {self.episodes.tolist()}"
            )

    @classmethod
    def from_counts(
        cls,
        successes: Integer[np.ndarray, " seeds"],
        episodes: int | Integer[np.ndarray, " seeds"],
        *,
        trained: bool = True,
    ) -> Outcomes:
        """From k of n per seed; raises ValueError if n differs between seeds."""
        sizes = np.unique(episodes)
        if sizes.size != 1:
            raise ValueError(
                f"Outcomes: the seeds have {sizes.tolist()} episodes; "
                "evaluate every seed on the same initial states, or leave the incomplete seed out"
            )
        return cls(np.asarray(successes)[:, None], sizes, trained)

    @classmethod
    def from_episodes(
        cls,
        success: Bool[np.ndarray, "seeds episodes"],
        strata: Shaped[np.ndarray, " episodes"] | None = None,
        *,
        trained: bool = True,
    ) -> Outcomes:
        """From one boolean per episode; column i is the same initial state for every seed and cell.

        strata: a label per column, such as the task; without it the evaluation is one stratum.
        """
        if success.dtype != bool or success.ndim != 2 or (strata is not None and strata.shape != success.shape[1:]):
            raise ValueError(
                f"Outcomes: expected booleans [seeds, episodes] and one stratum label per episode; "
                f"got {success.dtype} {success.shape} and {None if strata is None else strata.shape}"
            )
        _, column = np.unique(np.zeros(success.shape[1]) if strata is None else strata, return_inverse=True)
        member = np.eye(column.max(initial=0) + 1, dtype=np.int64)[column]  # [episodes, strata]
        return cls(success.astype(np.int64) @ member, member.sum(axis=0), trained)

    @property
    def seeds(self) -> int:
        return len(self.successes)

    @property
    def rate(self) -> float:
        """Success rate over all seeds, 0 to 1."""
        return float(self.successes.sum() / (self.seeds * self.episodes.sum()))

    @property
    def extreme(self) -> Literal["floor", "ceiling"] | None:
        """Whether the cell has no room left on the percentage scale (below 10 % or above 90 %)."""
        return "floor" if self.rate < FLOOR else "ceiling" if self.rate > CEILING else None

    def seed_values(self, unit: Unit) -> Float[np.ndarray, " seeds"]:
        """Each seed's success: percentage points, or log-odds of (k + 0.5) / (n + 1), finite at 0 and 100 %."""
        k, n = self.successes.sum(axis=1), int(self.episodes.sum())
        match unit:
            case "points":
                return 100 * k / n
            case "log-odds":
                return np.log((k + 0.5) / (n - k + 0.5))
            case _:
                assert_never(unit)

    def sampling_variance(self, unit: Unit) -> float:
        """Variance that finitely many rollouts alone give one seed's value; positive at 0 and 100 % too.

        Points: stratified binomial variance, every stratum's rate pulled to 1/2 by one pseudo-episode in all.
        Log-odds: mean over seeds of 1 / (k + 0.5) + 1 / (n - k + 0.5) (Gart and Zweifel 1967).
        """
        n = self.episodes.sum()
        match unit:
            case "points":
                total = self.seeds * n
                rates = (self.successes.mean(axis=0) / self.episodes * total + 0.5) / (total + 1)
                return float(100**2 * (self.episodes * rates * (1 - rates)).sum() / n**2)
            case "log-odds":
                k = self.successes.sum(axis=1)
                return float((1 / (k + 0.5) + 1 / (n - k + 0.5)).mean())
            case _:
                assert_never(unit)


def flag_of(cells: Iterable[Outcomes]) -> str:
    """`floor`, `ceiling`, `floor and ceiling` or empty: whether some cell leaves points no room."""
    there = {cell.extreme for cell in cells}
    return " and ".join(kind for kind in ("floor", "ceiling") if kind in there)


def numbered(strata: Shaped[np.ndarray, " states"]) -> Integer[np.ndarray, " states"]:
    """A number from 0 on for each initial state's stratum.

    Those that are alone in theirs share one: by themselves they would seem to differ by nothing.
    """
    _, member, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    return np.unique(np.where(sizes[member] == 1, -1, member), return_inverse=True)[1]
