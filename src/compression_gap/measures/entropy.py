"""Entropy of token positions, and how much of the vocabulary they use.

The sum of the positions' entropies bounds a code's entropy from above (up to O(1/N)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from compression_gap.measures.collisions import certified_entropy
from compression_gap.measures.quantity import (
    BITS,
    DEMONSTRATIONS,
    Bracket,
    Quantity,
    mean_over_demonstrations,
    tightest,
)


def miller_madow(ids: Int[np.ndarray, " N"]) -> float:
    """Plug-in entropy in bits with Miller and Madow's correction: + (values seen - 1) / (2 N ln 2)."""
    counts = np.unique(ids, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum() + _correction(counts))


def sum_of_marginals(ids: Int[np.ndarray, "N L"]) -> float:
    """Upper bound on the bits of a code: the sum of its positions' entropies. The end of a code and the padding behind
    it are values like others."""
    return sum(miller_madow(ids[:, position]) for position in range(ids.shape[1]))


def utilisation(ids: Int[np.ndarray, "N L"], vocab_size: int) -> float:
    """Share of the vocabulary that a position uses, averaged over the positions as often as codes reach them; biased
    low for few chunks. Numbers outside the vocabulary mark the end of a code and what is behind it."""
    columns = [column[(column >= 0) & (column < vocab_size)] for column in ids.T]
    shares = [len(np.unique(column)) / vocab_size for column in columns]
    return float(np.average(shares, weights=[len(column) for column in columns]))


@dataclass(frozen=True)
class Position:
    """One position of a code."""

    plug_in: Quantity
    """Entropy of the shares that were seen, in bits: below the true one in expectation."""
    miller_madow: Quantity
    """Its bias for independent chunks taken away."""
    perplexity: Quantity
    """As many equally frequent values have its entropy: 2 ** miller_madow."""
    used: Quantity
    """Share of the vocabulary that was seen."""
    unseen: Quantity
    """Probability that the next chunk's id is one that was not seen yet: ids seen once / N (Good 1953)."""
    dead: Quantity
    """Ids that never come, at most: what was not seen, less what must still be in use if f1 ids came once and f2 twice,
    f1 (f1 - 1) / (2 (f2 + 1)) (Chao 1984, from Good and Turing's shares)."""


@dataclass(frozen=True)
class Marginals:
    """The positions of a code, and what they say about the whole."""

    total: Quantity
    """Sum of the positions' Miller-Madow entropies, which leaves out what tokens have in common: an upper bound up to
    O(1 / N), where N is the number of independent chunks. Overlapping chunks of one demonstration count for less."""
    positions: tuple[Position, ...]


def marginals(ids: Int[np.ndarray, "N L"], demonstration: Int[np.ndarray, " N"], vocab_size: int) -> Marginals:
    """Entropies and use of the vocabulary, position by position; intervals over demonstrations.

    A code that is shorter than L has numbers outside the vocabulary behind it, which are values like others for the
    entropy and do not count as use of the vocabulary. Raises ValueError if there is no code.
    """
    if ids.size == 0:
        raise ValueError(f"ids: expected at least one code of at least one token, got an array of shape {ids.shape}")
    columns = list(ids.T)
    surprise = np.stack([_surprise(column) for column in columns])  # [L, N]
    shift = sum_of_marginals(ids) - float(surprise.sum(axis=0).mean())
    total = mean_over_demonstrations(surprise.sum(axis=0)[None], demonstration, kind="upper bound", shift=shift)
    positions = tuple(_position(*both, demonstration, vocab_size) for both in zip(columns, surprise, strict=True))
    return Marginals(total, positions)


def entropy_bracket(
    ids: Int[np.ndarray, "N L"], demonstration: Int[np.ndarray, " N"], code_length: Quantity, nominal_bits: float
) -> Bracket:
    """What is known of a code's entropy, which is never one number.

    It is at least what equal codes certify, and at most the least of its held-out code length, the sum of its
    positions' entropies and `Tokenizer.nominal_bits`.

    Raises ValueError if the code length is no upper bound in bits a chunk.
    """
    alone = Quantity(sum_of_marginals(ids), "upper bound", BITS, DEMONSTRATIONS, note="up to O(1 / N)")
    nominal = Quantity(nominal_bits, "upper bound", BITS, "all codes of this shape")
    return Bracket(certified_entropy(ids, demonstration), tightest([code_length, alone, nominal]))


def _position(
    ids: Int[np.ndarray, " N"], surprise: Float[np.ndarray, " N"], demonstration: Int[np.ndarray, " N"], vocab_size: int
) -> Position:
    entropy = miller_madow(ids)
    plug_in = mean_over_demonstrations(surprise[None], demonstration, kind="lower bound", unit="bits a token")
    corrected = mean_over_demonstrations(
        surprise[None], demonstration, kind="estimate", unit="bits a token", shift=entropy - float(surprise.mean())
    )
    inside = ids[(ids >= 0) & (ids < vocab_size)]
    counts = np.unique(inside, return_counts=True)[1]
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    never = max(0.0, vocab_size - len(counts) - once * (once - 1) / (2 * (twice + 1)))
    return Position(
        plug_in,
        corrected,
        Quantity(2.0**entropy, "estimate", "ids", DEMONSTRATIONS),
        Quantity(len(counts) / vocab_size, "lower bound", "share of the vocabulary", DEMONSTRATIONS),
        Quantity(once / max(1, len(inside)), "estimate", "share of chunks", DEMONSTRATIONS),
        Quantity(never, "upper bound", "ids", DEMONSTRATIONS),
    )


def _surprise(ids: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Bits of every id under the shares that were seen. Their mean is the plug-in entropy, and to first order their
    spread is its spread."""
    _, place, counts = np.unique(ids, return_inverse=True, return_counts=True)
    return -np.log2(counts / counts.sum())[place]


def _correction(counts: Int[np.ndarray, " K"]) -> float:
    return (len(counts) - 1) / (2 * int(counts.sum()) * math.log(2))
