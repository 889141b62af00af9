"""Probes whose training validation demonstrations stop: one that memorises would measure its own training instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import nn

from compression_gap.training import WEIGHTS, Report, Training, save_tensors, train

CHOSEN = "chosen.safetensors"


def train_and_stop(
    module: nn.Module,
    take: Callable[[np.ndarray], Any],
    rows: int,
    watched: Any,
    score: Callable[[], float],
    milestones: Sequence[int],
    training: Training,
    *,
    seed: int,
    folder: Path,
    report: Report,
) -> None:
    """Trains in place and keeps the weights with the least `score`, which is that of `module` as it stands.

    Candidates are the weights as they come, and the averaged ones after each of the `milestones` and the last step.
    `take` makes a batch of the row numbers it is given, of `rows`; `watched` is the batch of the loss curve. Goes on
    from what a killed call left in `folder`, and ends with the same weights to the last bit.
    """
    if (folder / CHOSEN).exists():
        module.load_state_dict(load_file(folder / CHOSEN))
        module.eval()
        return
    folder.mkdir(parents=True, exist_ok=True)
    candidates = [{name: value.clone() for name, value in module.state_dict().items()}]

    def batch_at(step: int) -> Any:
        return take(np.random.default_rng([seed, step]).integers(rows, size=training.batch))

    train(module, batch_at, [watched], training, seed=seed, folder=folder, report=report, milestones=milestones)
    files = [*(folder / f"weights-{step}.safetensors" for step in milestones), folder / WEIGHTS]
    candidates += [load_file(file) for file in files]
    scores = []
    for candidate in candidates:
        module.load_state_dict(candidate)
        scores.append(score())
    module.load_state_dict(candidates[int(np.argmin(scores))])
    save_tensors(module.state_dict(), folder / CHOSEN)
    for file in files:
        file.unlink()
