"""A network that finds the noise in noisy action chunks, at any noise level, with or without being told something."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from compression_gap.measures.early_stopping import train_and_stop
from compression_gap.seeds import seed_of
from compression_gap.shapes import Loss
from compression_gap.training import Report, Training

LOWEST = -9.0
"""Log-SNR below which what is left is told by its slope: 0.002 bits for a chunk of total variance 22."""
WAVES = 8  # sines and cosines of the log-SNR that the network is shown
SMALLEST_VARIANCE = 1e-12  # of a direction in which chunks do not vary
VALIDATION_DRAWS = 16
TIGHTENING = 5.0  # times the learning rate, at which the spread around the mean follows the mean


@dataclass(frozen=True)
class ToldChunks:
    """Chunks with what a denoiser is told about them."""

    chunk: Float[Tensor, "N A"]
    """The values that are measured, scaled."""
    mean: Float[Tensor, "N A"]
    """What a linear readout of the condition expects them to be."""
    context: Float[Tensor, "N C"]
    """Further numbers of unit size; a single 0 for a denoiser that is told nothing."""

    def at(self, rows: np.ndarray | Tensor | slice) -> ToldChunks:
        """Some of them."""
        return ToldChunks(self.chunk[rows], self.mean[rows], self.context[rows])


class Denoiser(nn.Module):
    """Estimates e in x = sqrt(a) chunk + sqrt(1 - a) e, where a = sigmoid(log-SNR).

    If chunks are normal around their linear readout, the best estimate is known: it is what the network starts from,
    and the network learns what is missing. So with few demonstrations it is a linear readout, with many it is more,
    and stopping early lies in between. In the eigenbasis of the readout's errors (variances v) the estimate is
    sqrt(1-a) r / s + sqrt(a v) network / s, with s^2 = a v + 1 - a and the residual r = x - sqrt(a) (mean + shift): the
    scaling of Karras et al. 2022 (arXiv 2206.00364, table 1), direction by direction, around a mean that is learnt too.
    """

    basis: Tensor
    scale: Tensor

    def __init__(self, values: int, context: int, sigma: float, width: int = 192, haste: float = 0.0) -> None:
        super().__init__()
        self.haste = haste
        self.low, self.high = LOWEST, -2 * math.log(sigma)
        self.register_buffer("basis", torch.eye(values))
        self.register_buffer("scale", torch.ones(values))
        self.tightening = nn.Parameter(torch.zeros(values))
        self.read = nn.Sequential(nn.Linear(context, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.shift = nn.Linear(width, values)
        self.enter = nn.Linear(values + 2 * WAVES, width)
        self.hidden = nn.Linear(width, width)
        self.leave = nn.Linear(width, values)
        for last in (self.shift, self.leave):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def fit(self, error: Float[Tensor, "N A"]) -> None:
        """Takes the covariance of the readout's errors, on rows that it was not fitted on."""
        error = error.double()
        values, vectors = torch.linalg.eigh(error.T @ error / len(error))
        values = values.clamp(min=SMALLEST_VARIANCE)
        self.basis.copy_(vectors)
        self.scale.copy_(values.sqrt())

    def forward(
        self, noisy: Float[Tensor, "B A"], log_snr: Float[Tensor, " B"], rows: ToldChunks
    ) -> Float[Tensor, "B A"]:
        """The noise in `noisy`, as far as it can be told."""
        told = self.read(rows.context)
        return self._noise(noisy, log_snr, told, self._expected(rows, told))

    def loss(self, rows: ToldChunks) -> Loss:
        """Squared error of the noise, at log-SNRs spread evenly over the range that is integrated over.

        They are dealt to the rows at random: some demonstrations must not be looked at in heavy noise alone.

        `haste` times the error of the mean is added: most bits hang on it, and in noise it is learnt late. With few
        demonstrations it is memorised early instead.
        """
        size, told = len(rows.chunk), self.read(rows.context)
        expected = self._expected(rows, told)
        device = rows.chunk.device
        place = (torch.randperm(size, device=device) + torch.rand(size, device=device)) / size
        log_snr = self.low + (self.high - self.low) * place
        noise = torch.randn_like(rows.chunk)
        found = self._noise(noised(rows.chunk, noise, log_snr), log_snr, told, expected)
        error = (noise - found).square().mean()
        finest = math.exp(-self.high)
        of_mean = ((rows.chunk @ self.basis - expected).square() / (self.scale.square() + finest)).mean()
        bits = error.detach() * self.basis.shape[0] * (self.high - self.low) / (2 * math.log(2))
        return Loss(error + self.haste * of_mean, {"bits": bits})

    def _expected(self, rows: ToldChunks, told: Float[Tensor, "B W"]) -> Float[Tensor, "B A"]:
        """The mean of chunks in the eigenbasis."""
        return rows.mean @ self.basis + self.scale * self.shift(told)

    def _noise(
        self,
        noisy: Float[Tensor, "B A"],
        log_snr: Float[Tensor, " B"],
        told: Float[Tensor, "B W"],
        expected: Float[Tensor, "B A"],
    ) -> Float[Tensor, "B A"]:
        signal, noise = torch.sigmoid(log_snr).sqrt()[:, None], torch.sigmoid(-log_snr).sqrt()[:, None]
        deviation = self.scale * (TIGHTENING * self.tightening).exp()
        spread = ((signal * deviation).square() + noise.square()).sqrt()
        surprise = (noisy @ self.basis - signal * expected) / spread
        place = (log_snr[:, None] - self.low) / (self.high - self.low)
        angle = math.pi * place * torch.arange(1, WAVES + 1, device=noisy.device)
        hidden = functional.silu(told + self.enter(torch.cat([surprise, angle.sin(), angle.cos()], dim=1)))
        hidden = hidden + functional.silu(self.hidden(hidden))
        learnt = signal * deviation / spread * self.leave(hidden)
        return (noise / spread * surprise + learnt) @ self.basis.T


def noised(
    chunk: Float[Tensor, "B A"], noise: Float[Tensor, "B A"], log_snr: Float[Tensor, " B"]
) -> Float[Tensor, "B A"]:
    """Chunks in noise at the given log-SNRs."""
    return torch.sigmoid(log_snr).sqrt()[:, None] * chunk + torch.sigmoid(-log_snr).sqrt()[:, None] * noise


def train_denoiser(
    denoiser: Denoiser,
    rows: ToldChunks,
    validation: ToldChunks,
    training: Training,
    *,
    seed: int,
    folder: Path,
    report: Report,
) -> Denoiser:
    """Trains in place and keeps the weights that do best on the validation demonstrations.

    Candidates are the averaged weights after none, an eighth, a quarter, a half and all of the steps. Goes on from what
    a killed call left in `folder`, and ends with the same weights to the last bit.
    """
    milestones = sorted({training.steps // part for part in (8, 4, 2)} - {0})
    train_and_stop(
        denoiser,
        rows.at,
        len(rows.chunk),
        validation,
        lambda: loss_of_many_draws(denoiser, validation),
        milestones,
        training,
        seed=seed,
        folder=folder,
        report=report,
    )
    return denoiser


@torch.no_grad()
def loss_of_many_draws(denoiser: Denoiser, rows: ToldChunks) -> float:
    """The loss in bits a chunk, as the integral has it, with the same draws every time."""
    torch.manual_seed(seed_of("validation draws"))
    return sum(denoiser.loss(rows).parts["bits"].item() for _ in range(VALIDATION_DRAWS)) / VALIDATION_DRAWS
