"""Multi-output ridge regression whose penalties and errors come from demonstrations that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

FOLDS = 5
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Times the number of rows, for inputs of unit variance."""


@dataclass(frozen=True)
class Ridge:
    """A linear readout of each of Y targets, with a penalty of its own for each."""

    weights: Float[Tensor, "F Y"]
    offset: Float[Tensor, " Y"]
    unseen: Float[Tensor, "N Y"]
    """Predictions of the training rows by fits without their fold: what follows must not trust the readout more there
    than on demonstrations that are new to it."""

    def __call__(self, inputs: Float[Tensor, "M F"]) -> Float[Tensor, "M Y"]:
        """Predictions for other rows."""
        return (inputs.double() @ self.weights.double() + self.offset.double()).float()


def fit_ridge(inputs: Float[Tensor, "N F"], targets: Float[Tensor, "N Y"], demonstration: Int[Tensor, " N"]) -> Ridge:
    """Fits standardised `inputs`; each target takes the penalty with the least error on left-out demonstrations.

    Raises ValueError if there is only one demonstration.
    """
    _, group = torch.unique(demonstration, return_inverse=True)
    folds = min(FOLDS, int(group.max()) + 1)
    if folds < 2:
        raise ValueError("a readout needs at least two demonstrations to be fitted on, got 1")
    x = torch.cat([inputs.double(), torch.ones(len(inputs), 1, dtype=torch.float64, device=inputs.device)], dim=1)
    y, fold = targets.double(), group % folds
    penalised = torch.ones(x.shape[1], dtype=torch.float64, device=x.device)
    penalised[-1] = 0.0

    def solve(square: Tensor, cross: Tensor, penalty: float, rows: int) -> Tensor:
        ridged = square + torch.diag(penalty * rows * penalised + 1e-9 * rows)
        return torch.cholesky_solve(cross, torch.linalg.cholesky(ridged))

    parts = [x[fold == k] for k in range(folds)]
    squares = [part.T @ part for part in parts]
    crosses = [part.T @ y[fold == k] for k, part in enumerate(parts)]
    square, cross = torch.stack(squares).sum(0), torch.stack(crosses).sum(0)
    unseen, least = torch.zeros_like(y), torch.full((y.shape[1],), torch.inf, dtype=torch.float64, device=y.device)
    weights = torch.zeros_like(cross)
    for penalty in PENALTIES:
        predicted = torch.empty_like(y)
        for k, part in enumerate(parts):
            left = len(x) - len(part)
            predicted[fold == k] = part @ solve(square - squares[k], cross - crosses[k], penalty, left)
        error = (predicted - y).square().sum(dim=0)
        better = error < least
        least = torch.where(better, error, least)
        unseen[:, better] = predicted[:, better]
        weights[:, better] = solve(square, cross[:, better], penalty, len(x))
    return Ridge(weights[:-1].float(), weights[-1].float(), unseen.float())
