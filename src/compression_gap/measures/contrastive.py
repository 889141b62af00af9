"""A lower bound on I(Z; A) that holds with 95 %, whatever Z and A are: few bits, but certain ones.

As in InfoNCE (van den Oord et al. 2018, arXiv 1807.03748), a critic f tells which of K chunks belongs to the features.
Its K - 1 competitors are fixed chunks a_j of demonstrations that it was trained on, so the score of a pair,

    g(z, a) = log K e^f(z, a) / (e^f(z, a) + e^f(z, a_1) + ... + e^f(z, a_K-1)) <= log K,

is one bounded function, and Donsker and Varadhan's bound I >= E g(Z, A) - log E e^g(Z, A') holds for it, where A' is of
another demonstration. Fixed competitors may flatter the first term; the second takes that away. Both expectations are
bounded by exact confidence limits over independent demonstrations. Both halves of these take their turn, and so do some
K; the best bound is reported, and its risk of 5 % is that of all together. No such bound can be much above log2 of the
number of demonstrations (McAllester & Stratos 2020, arXiv 1811.04251): it says that there is something, not how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from compression_gap.config import added_later, counted
from compression_gap.data.normalise import Standardise
from compression_gap.data.split import FEWEST_DEMONSTRATIONS
from compression_gap.measures.clusters import LEVEL
from compression_gap.measures.early_stopping import train_and_stop
from compression_gap.measures.quantity import BITS, DEMONSTRATIONS, Quantity
from compression_gap.measures.ridge import fit_ridge
from compression_gap.seeds import seed_of
from compression_gap.shapes import Loss
from compression_gap.training import Report, Training

CHUNKS = 8  # of a demonstration that are looked at, at most: they are nearly copies
RIVALS = (4, 16, 64, 256, 1024)
FEWEST_PER_RIVAL = 4  # demonstrations that are tested on: among more chunks, what pairs have by chance is not known
GUESSED = 0.05  # of every score is that of a critic that knows nothing, so that no score is endlessly bad
MATCHINGS = 32
STAKES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
VALIDATION_EVERY = 5  # demonstrations
SMALLEST_VARIANCE = 1e-4  # beside the largest


@dataclass(frozen=True)
class Contrast(Training, family="settings", kind="contrast", version=1):
    """How critics are built and trained."""

    steps: int = 300
    """Optimiser steps; validation demonstrations choose none, an eighth, a quarter, a half or all of them."""
    batch: int = 128
    """Pairs a step, each of which competes with all others."""
    learning_rate: float = 1e-3
    """Of AdamW, betas (0.9, 0.95), no weight decay."""
    width: int = 64
    """Of the critics."""
    most: int = added_later(4096)
    """Demonstrations that are looked at; of more, so many are drawn. Every one is matched with every other of its half,
    so time and memory grow with the square, and what can be certified only with the logarithm."""


@dataclass(frozen=True)
class Pairs:
    """Features with their chunks, and what a linear readout of the features makes of the chunks."""

    features: Float[Tensor, "B F"]
    read: Float[Tensor, "B A"]
    chunk: Float[Tensor, "B A"]

    def at(self, rows: np.ndarray | Tensor) -> Pairs:
        """Some of them."""
        return Pairs(self.features[rows], self.read[rows], self.chunk[rows])


class Critic(nn.Module):
    """How much more likely a chunk is with the features than without, in nats and up to what the features decide.

    It starts from log p(a | z) - log p(a) as it is if chunks are normal around their linear readout, and learns the
    rest: -|u(z) - v(a)|^2 / 2 + b(a).
    """

    precision: Tensor

    def __init__(self, features: int, values: int, width: int) -> None:
        super().__init__()
        self.near = nn.Parameter(torch.eye(values))
        self.register_buffer("precision", torch.eye(values))
        self.of_features = nn.Sequential(nn.Linear(features + values, width), nn.SiLU(), nn.Linear(width, values))
        self.of_chunk = nn.Sequential(nn.Linear(values, width), nn.SiLU(), nn.Linear(width, values + 1))
        for last in (self.of_features[-1], self.of_chunk[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def fit(self, pairs: Pairs) -> None:
        """Takes the covariances of the chunks, whose mean is zero, and of the readout's errors."""
        with torch.no_grad():
            self.near.copy_(_whitening(pairs.chunk - pairs.read))
        whitening = _whitening(pairs.chunk)
        self.precision.copy_(whitening.T @ whitening)

    def forward(self, shown: Pairs, chunk: Float[Tensor, "M A"]) -> Float[Tensor, "B M"]:
        """Scores of every one of M chunks for each of B features."""
        u = shown.read @ self.near.T + self.of_features(torch.cat([shown.features, shown.read], dim=1))
        learnt = self.of_chunk(chunk)
        v = chunk @ self.near.T + learnt[:, :-1]
        alone = 0.5 * ((chunk @ self.precision) * chunk).sum(dim=1) + learnt[:, -1] - 0.5 * v.square().sum(dim=1)
        return u @ v.T + alone - 0.5 * u.square().sum(dim=1, keepdim=True)

    def loss(self, pairs: Pairs) -> Loss:
        """InfoNCE: bits that are missing to tell each chunk among all of the batch."""
        own = torch.arange(len(pairs.chunk), device=pairs.chunk.device)
        bits = functional.cross_entropy(self(pairs, pairs.chunk), own) / math.log(2)
        return Loss(bits, {"bits": bits.detach()})


def certified_information(
    features: Float[Tensor, "N F"],
    chunk: Float[Tensor, "M A"],
    demonstration: Int[Tensor, " N"],
    contrast: Contrast,
    folder: Path,
    report: Report,
) -> Quantity:
    """Lower bound on the bits that features and chunk of a demonstration share; holds with 95 %.

    Demonstrations have to be independent and count alike, long or short. For bits at a resolution, give chunks with
    the noise. What is trained is kept in `folder`, so that a killed call goes on from there. Undetermined with fewer
    than 16 demonstrations. Raises ValueError if rows do not match or numbers are not finite.
    """
    rows = {len(features), len(chunk), len(demonstration)}
    if len(rows) > 1 or not (torch.isfinite(features).all() and torch.isfinite(chunk).all()):
        raise ValueError(f"expected finite features and chunks of the same windows, got {sorted(rows)} rows")
    names, number = torch.unique(demonstration, return_inverse=True)
    if len(names) < 2 * FEWEST_DEMONSTRATIONS:
        note = f"undetermined: {counted(len(names), 'demonstration')}, at least {2 * FEWEST_DEMONSTRATIONS} are needed"
        return Quantity(None, "lower bound", BITS, DEMONSTRATIONS, note=note)
    order = torch.from_numpy(np.random.default_rng(seed_of("halves")).permutation(len(names)))
    place = order.to(number.device)[number]
    if len(names) > contrast.most:
        drawn = place < contrast.most
        features, chunk, place = features[drawn], chunk[drawn], place[drawn]
    found: list[tuple[float, int]] = []
    for half in (0, 1):

        def along(fraction: float, text: str, half: int = half) -> None:
            report((half + fraction) / 2, text)

        pairs = _read(features, chunk, place, place % 2 != half)
        critic = _trained(pairs, place, half, contrast, folder / str(half), along)
        found += _bounds(critic, pairs, place, half)
    bits, rivals = max(found)
    note = f"with {100 * LEVEL:g} %, and at most {math.log2(rivals):.1f}: the score is among {rivals} chunks"
    return Quantity(max(0.0, bits), "lower bound", BITS, DEMONSTRATIONS, note=note)


def largest_mean(values: Float[np.ndarray, "R n"], risk: float) -> float:
    """Upper confidence limit, with probability 1 - `risk`, for the mean of independent numbers in [0, 1].

    Whoever bets at fair odds that it is less than m multiplies the capital by 1 + stake (m - x) / (1 - m) at each x. A
    capital of 1 / `risk` refutes m (Waudby-Smith & Ramdas 2024, arXiv 2010.09686). Capitals are averaged over stakes,
    and over R arrangements of the same data, each a row of independent numbers: an average of fair bets is one.
    """
    low, high = float(values.mean()), 1.0
    for _ in range(40):
        m = (low + high) / 2
        gain = (m - values) / (1 - m)
        with np.errstate(divide="ignore"):
            capital = np.stack([np.log1p(stake * gain).sum(axis=1) for stake in STAKES])
        refuted = np.logaddexp.reduce(capital.ravel()) - math.log(capital.size) >= -math.log(risk)
        low, high = (low, m) if refuted else (m, high)
    return high


def _bounds(critic: Critic, pairs: Pairs, place: Int[Tensor, " N"], half: int) -> list[tuple[float, int]]:
    """Bits that the critic certifies on the demonstrations that it has not seen, and among how many chunks."""
    shown = _some(place, half)
    (n, looks), chunk = shown.shape, pairs.chunk[shown.flatten()]
    tried = [rivals for rivals in RIVALS if rivals == RIVALS[0] or rivals * FEWEST_PER_RIVAL <= n]
    against = pairs.chunk[_some(place, 1 - half)[: max(tried) - 1, 0]]
    own, mixed = np.empty((len(tried), n)), np.empty((len(tried), n, n))
    with torch.no_grad():
        for i, rows in enumerate(shown):
            seen, at = pairs.at(rows), slice(i * looks, (i + 1) * looks)
            score, others = critic(seen, chunk).double(), critic(seen, against).double()  # [looks, ...]
            for k, rivals in enumerate(tried):
                rest = torch.logsumexp(others[:, : rivals - 1], dim=1, keepdim=True)
                share = (1 - GUESSED) * torch.sigmoid(score - rest) + GUESSED / rivals
                mixed[k, i] = share.view(looks, n, looks).mean(dim=(0, 2)).cpu().numpy()
                own[k, i] = float(torch.log(share[:, at].diagonal()).mean())
    risk = (1 - LEVEL) / (2 * 2 * len(tried))  # halves, expectations, numbers of rivals
    return [(_certain(own[k], mixed[k], rivals, risk), rivals) for k, rivals in enumerate(tried)]


def _certain(own: Float[np.ndarray, " n"], mixed: Float[np.ndarray, "n n"], rivals: int, risk: float) -> float:
    """Donsker and Varadhan's bound in bits, from the logarithms of the shares that demonstrations give their own chunk,
    and the shares that they give those of others."""
    most, least = math.log(1 - GUESSED + GUESSED / rivals), math.log(GUESSED / rivals)
    missing = largest_mean((most - own)[None] / (most - least), risk) * (most - least)
    n, rng = len(own), np.random.default_rng(seed_of("matchings"))
    order = np.stack([rng.permutation(n)[: n // 2 * 2] for _ in range(MATCHINGS)]).reshape(MATCHINGS, -1, 2)
    one, other = order[..., 0], order[..., 1]
    by_chance = largest_mean((mixed[one, other] + mixed[other, one]) / 2, risk)
    return min((most - missing - math.log(by_chance)) / math.log(2), math.log2(rivals))


def _some(place: Int[Tensor, " N"], half: int) -> Int[Tensor, "n looks"]:
    """Row numbers of as many windows of each demonstration of a half, evenly spread; short ones show some twice."""
    count = min(CHUNKS, int(torch.bincount(place).max()))
    rows = [torch.nonzero(place == one).flatten() for one in range(half, int(place.max()) + 1, 2)]
    return torch.stack([own[torch.linspace(0, len(own) - 1, count).round().long()] for own in rows])


def _read(
    features: Float[Tensor, "N F"], chunk: Float[Tensor, "N A"], place: Int[Tensor, " N"], train: Tensor
) -> Pairs:
    """Everything standardised, and chunks read linearly, by the training rows."""
    scaled = []
    for values in (features, chunk):
        scale = Standardise(values.shape[1]).to(values.device)
        scale.fit(values[train].float())
        scaled.append(scale(values.float()))
    readout = fit_ridge(scaled[0][train], scaled[1][train], place[train])
    read = readout(scaled[0])
    read[train] = readout.unseen
    return Pairs(scaled[0], read, scaled[1])


def _trained(
    pairs: Pairs, place: Int[Tensor, " N"], half: int, contrast: Contrast, folder: Path, report: Report
) -> Critic:
    torch.manual_seed(seed_of("critic", half))
    critic = Critic(pairs.features.shape[1], pairs.chunk.shape[1], contrast.width).to(pairs.chunk.device)
    mine, watched = place % 2 != half, place // 2 % VALIDATION_EVERY == 0
    rows, validation = (torch.nonzero(mine & some).flatten() for some in (~watched, watched))
    critic.fit(pairs.at(rows))
    spread = torch.linspace(0, len(validation) - 1, min(contrast.batch, len(validation))).round().long()
    held_out = pairs.at(validation[spread])

    @torch.no_grad()
    def score() -> float:
        return float(critic.loss(held_out).total)

    train_and_stop(
        critic,
        lambda draws: pairs.at(rows[torch.from_numpy(draws)]),
        len(rows),
        held_out,
        score,
        sorted({contrast.steps // part for part in (8, 4, 2)} - {0}),
        contrast,
        seed=half,
        folder=folder,
        report=report,
    )
    return critic


def _whitening(values: Float[Tensor, "N A"]) -> Float[Tensor, "A A"]:
    """What turns them to unit variance in every direction."""
    variances, directions = torch.linalg.eigh((values.double().T @ values.double()) / len(values))
    variances = variances.clamp(min=SMALLEST_VARIANCE * float(variances.max()))
    return (directions / variances.sqrt()).T.float()
