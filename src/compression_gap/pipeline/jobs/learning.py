"""Training on rows that are drawn anew for every step: what encoders, tokenizers and probes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from compression_gap.pipeline.job import Context
from compression_gap.training import Training, train


def learn(
    module: nn.Module,
    take: Callable[[np.ndarray], Any],
    rows: int,
    held_out: Any,
    training: Training,
    seed: int,
    context: Context,
) -> None:
    """Trains `module` in place and writes its weights and loss curve.

    `take` makes a batch of the row numbers it is given, which follow from seed and step alone; `held_out` is one batch.
    """

    def batch_at(step: int) -> Any:
        return take(np.random.default_rng([seed, step]).integers(rows, size=training.batch))

    train(module, batch_at, [held_out], training, seed=seed, folder=context.folder, report=context.report)
