"""Random numbers by purpose, task and number, so that no draw depends on what else was drawn."""

from __future__ import annotations

import numpy as np

PURPOSES = ("demonstrations", "development", "test", "style")


def stream(purpose: str, task: int, number: int) -> np.random.Generator:
    """The generator of one initial state, or of one episode's style."""
    key = np.array([PURPOSES.index(purpose) << 32 | task, number], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
