"""Which demonstrations probes learn from, stop by and are tested on: the same for everything that is compared."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

TRAIN, VALIDATION, TEST = 0, 1, 2
EVERY = 7  # of seven demonstrations of a task five are for training, one is for validation and one for testing


def parts_of(task: Int[np.ndarray, " E"], fewest: int = 8) -> Int[np.ndarray, " E"]:
    """TRAIN, VALIDATION or TEST for each demonstration: by its number within its task.

    Raises ValueError if there are fewer than `fewest` to validate or to test on; below 8, no interval is worth
    printing.
    """
    rank = np.empty_like(task)
    for one in np.unique(task):
        rank[task == one] = np.arange((task == one).sum())
    part = np.maximum(rank % EVERY - (EVERY - 3), TRAIN)
    found = min((part == VALIDATION).sum(), (part == TEST).sum())
    if found < fewest:
        raise ValueError(
            f"bits need at least {fewest} demonstrations to test on, got {found} of {len(task)}: "
            f"of each task every {EVERY}th is kept for that, so make more (--episodes)"
        )
    return part
