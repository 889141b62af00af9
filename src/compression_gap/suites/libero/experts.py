"""The scripted expert: a script in the style of its episode, with noise on what is executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from compression_gap.suites.base import Expert, Simulators
from compression_gap.suites.libero.primitives import Arm, Style
from compression_gap.suites.libero.scripts import Script

NOISE_MEMORY = 0.8  # of Ornstein-Uhlenbeck noise: what is left of it after a step
TURNING = 0.25  # noise on turns, as a share of that on translations


class ScriptedExpert(Expert):
    """One script in E environments, each in the style of its episode.

    What is executed differs from the label by noise, whose standard deviation on translations is `noise`.
    """

    def __init__(self, script: Script, noise: float) -> None:
        self._script, self._noise = script, noise
        self._runs: list[_Run] = []

    def begin(self, episodes: Sequence[int]) -> None:
        self._runs = [_Run(self._script, self._noise, episode) for episode in episodes]

    def act(self, simulators: Simulators) -> tuple[Float[np.ndarray, "E 7"], Float[np.ndarray, "E 7"]]:
        seen = simulators.privileged()
        pairs = [run.act({name: rows[row] for name, rows in seen.items()}) for row, run in enumerate(self._runs)]
        labels, executed = zip(*pairs, strict=True)
        return np.stack(labels), np.stack(executed)

    def save(self) -> object:
        return [(run.episode, tuple(run.seen)) for run in self._runs]

    def restore(self, saved: object) -> None:
        self._runs = []
        for episode, seen in saved:  # type: ignore[attr-defined]
            run = _Run(self._script, self._noise, episode)
            for sight in seen:
                run.act(sight)
            self._runs.append(run)


class _Run:
    """A script under way. It remembers what it has seen: shown the same again, a new run stands at the same place."""

    def __init__(self, script: Script, noise: float, episode: int) -> None:
        self.episode = episode
        self.seen: list[Mapping[str, np.ndarray]] = []
        self._rng = np.random.default_rng(episode)
        self._arm = Arm(Style.draw(self._rng))
        self._moves = script(self._arm)
        self._noise = np.zeros(7)
        self._scale = noise * np.array([1.0] * 3 + [TURNING] * 3 + [0.0])

    def act(self, sight: Mapping[str, np.ndarray]) -> tuple[Float[np.ndarray, " 7"], Float[np.ndarray, " 7"]]:
        """(label, executed) for what is seen now."""
        self.seen.append(sight)
        self._arm.see = sight
        label = next(self._moves, None)
        if label is None:  # the script is over: stay
            label = self._arm.toward(self._arm.position)
        fresh = self._rng.normal(size=7) * self._scale
        self._noise = NOISE_MEMORY * self._noise + np.sqrt(1.0 - NOISE_MEMORY**2) * fresh
        return label, np.clip(label + self._noise, -1.0, 1.0)
