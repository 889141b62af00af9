"""How many bits a condition gives about action chunks, from the errors of two denoisers.

The bits are I(Z; A + sigma noise): chunks are looked at through noise of a stated size, because exact actions could
share endlessly many bits with anything. The integral over log-SNR is that of Guo, Shamai and Verdu (2005, arXiv
cs/0412108), as in Franzese et al. 2024 (MINDE, arXiv 2310.09031).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.measures.clusters import ClusterMean, cluster_mean
from compression_gap.measures.denoiser import Denoiser, ToldChunks, noised
from compression_gap.seeds import seed_of

POINTS = 80
"""Of the even grid of log-SNRs."""
NOT_CONVERGED = 1.15
"""Ratio of the pair estimate to the recalibrated one above which a denoiser has memorised or has not learnt."""
NEGLIGIBLE = 0.3  # bits below which that ratio is a ratio of noise
LARGEST_SHARE = 1.5  # of the way from one denoiser to the other


@dataclass(frozen=True)
class Errors:
    """Of two denoisers on the same chunks in the same noise, for G log-SNRs; squared norms summed over a chunk."""

    unconditional: Float[np.ndarray, "N G"]
    conditional: Float[np.ndarray, "N G"]
    pair: Float[np.ndarray, "N G"]
    """Between the two estimates."""
    log_snr: Float[np.ndarray, " G"]


@dataclass(frozen=True)
class ActionBits:
    """Bits a chunk, by probe seed and chunk: three estimates of one number."""

    recalibrated: Float[np.ndarray, "seeds N"]
    """The one to use: the conditional denoiser is moved towards the unconditional one as far as other demonstrations
    say, so that what it only memorised counts as nothing."""
    difference: Float[np.ndarray, "seeds N"]
    """Unconditional minus conditional error. Below zero where a denoiser has memorised."""
    pair: Float[np.ndarray, "seeds N"]
    """From the distance between the two estimates. Never below zero, and too large where a denoiser has memorised."""
    demonstration: Int[np.ndarray, " N"]
    sigma: float
    """Resolution, in units of the scaled actions, whose range is [-1, 1]."""
    gripper: Float[np.ndarray, "seeds N"] | None = None
    """Bits about gripper commands, where these are measured: the others are then what is told beyond them."""

    @property
    def whole(self) -> Float[np.ndarray, "seeds N"]:
        """The recalibrated estimate, and the bits about gripper commands."""
        return self.recalibrated if self.gripper is None else self.recalibrated + self.gripper

    @property
    def bits(self) -> ClusterMean:
        """Of the whole."""
        return cluster_mean(self.whole, self.demonstration)

    @property
    def converged(self) -> bool:
        """False says "denoiser not converged": the pair estimate is more than 15 %, and more than 0.3 bits, larger."""
        pair, bits = self.pair.mean(), self.recalibrated.mean()
        return bool(pair <= max(NOT_CONVERGED * bits, bits + NEGLIGIBLE))

    def beyond(self, other: ActionBits) -> ClusterMean:
        """Bits more than another condition gives, chunk by chunk: the unconditional errors cancel.

        Raises ValueError if they are not of the same chunks at the same sigma, with as many probe seeds.
        """
        same = np.array_equal(self.demonstration, other.demonstration) and self.sigma == other.sigma
        same = same and (self.gripper is None) == (other.gripper is None)
        if not same or self.recalibrated.shape != other.recalibrated.shape:
            raise ValueError(
                "bits can be compared only on the same chunks, at the same sigma, with as many probe seeds, and both "
                "with the grippers or without"
            )
        return cluster_mean(self.whole - other.whole, self.demonstration)


@torch.no_grad()
def noise_errors(unconditional: Denoiser, told_nothing: ToldChunks, conditional: Denoiser, told: ToldChunks) -> Errors:
    """Errors of both denoisers in noise that is the same for every encoder: it follows from the chunk's number alone.

    Raises ValueError if the denoisers cover different ranges of log-SNR.
    """
    if unconditional.high != conditional.high:
        raise ValueError("the two denoisers were trained for different sigmas")
    columns: list[list[Tensor]] = [[], [], []]
    for noise, noisy, log_snr in _in_noise(conditional, told):
        without, with_ = unconditional(noisy, log_snr, told_nothing), conditional(noisy, log_snr, told)
        for column, error in zip(columns, (noise - without, noise - with_, without - with_), strict=True):
            column.append(error.double().square().sum(dim=1))
    u, c, p = (torch.stack(column, dim=1).cpu().numpy() for column in columns)
    return Errors(u, c, p, _grid(conditional).double().numpy())


@torch.no_grad()
def own_errors(denoiser: Denoiser, rows: ToldChunks) -> tuple[Float[np.ndarray, "N G"], Float[np.ndarray, " G"]]:
    """Squared errors of one denoiser, in the noise of `noise_errors`, and the log-SNRs."""
    errors = [
        (noise - denoiser(noisy, log_snr, rows)).double().square().sum(dim=1)
        for noise, noisy, log_snr in _in_noise(denoiser, rows)
    ]
    return torch.stack(errors, dim=1).cpu().numpy(), _grid(denoiser).double().numpy()


def action_bits(errors: Sequence[Errors], demonstration: Int[np.ndarray, " N"], sigma: float) -> ActionBits:
    """The three estimates, one row a probe seed."""
    rows = [_estimates(one, demonstration) for one in errors]
    recalibrated, difference, pair = (np.stack(column) for column in zip(*rows, strict=True))
    return ActionBits(recalibrated, difference, pair, demonstration, sigma)


def _estimates(errors: Errors, demonstration: Int[np.ndarray, " N"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bits of each chunk: recalibrated, difference, pair."""
    u, c, p = errors.unconditional, errors.conditional, errors.pair
    _, number = np.unique(demonstration, return_inverse=True)
    share = np.ones_like(u)
    for half in (0, 1):
        # the share of the way to the conditional estimate with the least error, on the other half of demonstrations
        other = number % 2 != half
        if not other.any():  # a single demonstration: nothing to find the share on
            continue
        best = (u - c + p)[other].mean(axis=0) / (2 * np.maximum(p[other].mean(axis=0), 1e-12))
        share[~other] = best.clip(0, LARGEST_SHARE)
    gaps = (share * (u - c + p) - share**2 * p, u - c, p)
    recalibrated, difference, pair = (_integral(gap, errors.log_snr) for gap in gaps)
    return recalibrated, difference, pair


def _integral(gap: Float[np.ndarray, "N G"], log_snr: Float[np.ndarray, " G"]) -> Float[np.ndarray, " N"]:
    """In bits; below the grid the gap is proportional to the SNR, so what lies there is the gap at its lower end."""
    return (np.trapezoid(gap, log_snr, axis=1) + gap[:, 0]) / (2 * math.log(2))


def _grid(denoiser: Denoiser) -> Float[Tensor, " G"]:
    return torch.linspace(denoiser.low, denoiser.high, POINTS)


def _in_noise(denoiser: Denoiser, rows: ToldChunks) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Noise, noisy chunks and log-SNRs, level by level."""
    chunk = rows.chunk
    for number, level in enumerate(_grid(denoiser).tolist()):
        generator = torch.Generator().manual_seed(seed_of("noise in chunks", number))
        noise = torch.randn(chunk.shape, generator=generator).to(chunk.device)
        log_snr = torch.full((len(chunk),), level, device=chunk.device)
        yield noise, noised(chunk, noise, log_snr), log_snr
