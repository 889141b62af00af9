"""Entropy of token positions, and how much of the vocabulary they use.

The sum of the positions' entropies bounds a code's entropy from above. Taken from the same chunks that tell the shares
it is too small where ids outnumber chunks, also with Miller and Madow's correction: 50 chunks of a code of 62 bits give
49 (benchmarks/token_bits.py). So bounds that are published are lengths of held-out codes (`held_out_marginals`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.measures.collisions import certified_entropy
from compression_gap.measures.quantity import (
    BITS,
    DEMONSTRATIONS,
    Bracket,
    Quantity,
    mean_over_demonstrations,
    tightest,
)
from compression_gap.tokenizers.base import Tokenizer

SHARED = np.geomspace(1e-3, 1.0, 13)
"""How often an id that was not seen may count as seen."""


def miller_madow(ids: Int[np.ndarray, " N"]) -> float:
    """Plug-in entropy in bits with Miller and Madow's correction: + (values seen - 1) / (2 N ln 2)."""
    counts = np.unique(ids, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum() + _correction(counts))


def sum_of_marginals(ids: Int[np.ndarray, "N L"]) -> float:
    """The sum of the positions' Miller-Madow entropies: an estimate of a bound on the bits of a code, good from about a
    hundred chunks an id. The end of a code and the padding behind it are values like others."""
    return sum(miller_madow(ids[:, position]) for position in range(ids.shape[1]))


def held_out_marginals(
    learnt: Int[np.ndarray, "N L"], ids: Int[np.ndarray, "M L"], demonstration: Int[np.ndarray, " M"], vocab_size: int
) -> Quantity:
    """Upper bound on the bits of a code, for any number of chunks: the mean length in which held-out codes are written,
    each position alone by the shares of its ids among the `learnt` ones.

    Shares are (n + a) / (N + a K) over K = `vocab_size` ids, the end of a code and the padding behind it. Of some a the
    one is taken that writes every learnt id best by the others (Lidstone, deleted estimation); held-out codes choose
    nothing. `demonstration` numbers the held-out codes'. Raises ValueError if there is no learnt or no held-out code.
    """
    if not learnt.size or not ids.size:
        raise ValueError(f"ids: expected codes to learn from and to write, got shapes {learnt.shape} and {ids.shape}")
    bits = np.zeros(len(ids))
    for seen, written in zip(learnt.T, ids.T, strict=True):
        values, counts = np.unique(seen, return_counts=True)
        more = SHARED[:, None]
        rest = np.log2(len(seen) - 1 + more[:, 0] * (vocab_size + 2))
        lengths = -(counts * np.log2(counts - 1 + more)).sum(axis=1) + len(seen) * rest
        added = float(SHARED[np.argmin(lengths)])
        place = np.searchsorted(values, written).clip(max=len(values) - 1)
        there = np.where(values[place] == written, counts[place], 0)
        bits -= np.log2((there + added) / (len(seen) + added * (vocab_size + 2)))
    return mean_over_demonstrations(bits[None], demonstration, kind="upper bound")


def nominal_bits(tokenizer: Tokenizer, length: Int[Tensor, " N"]) -> float:
    """Bits of codes that had `length` tokens, in chunks like these, were all of them equally likely: log2 V a token.

    Where codes vary in length, log2 `max_tokens` is added for the length, which makes it an upper bound there too; all
    codes of a shape (`Tokenizer.nominal_bits`) are many times longer than those that are written.
    """
    if not tokenizer.varies:
        return tokenizer.nominal_bits
    written = float(length.double().mean()) * math.log2(tokenizer.vocab_size) + math.log2(tokenizer.max_tokens)
    return min(written, tokenizer.nominal_bits)


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


def positions(
    ids: Int[np.ndarray, "N L"], demonstration: Int[np.ndarray, " N"], vocab_size: int
) -> tuple[Position, ...]:
    """Entropies and use of the vocabulary, position by position; intervals over demonstrations.

    A code that is shorter than L has numbers outside the vocabulary behind it, which are values like others for the
    entropy and do not count as use of the vocabulary. Raises ValueError if there is no code.
    """
    if ids.size == 0:
        raise ValueError(f"ids: expected at least one code of at least one token, got an array of shape {ids.shape}")
    return tuple(_position(column, demonstration, vocab_size) for column in ids.T)


def entropy_bracket(
    ids: Int[np.ndarray, "N L"], demonstration: Int[np.ndarray, " N"], lengths: Sequence[Quantity], nominal_bits: float
) -> Bracket:
    """What is known of a code's entropy, which is never one number.

    It is at least what equal codes certify, and at most the least of its held-out `lengths` (of a probe, of
    `held_out_marginals`) and the nominal one.

    Raises ValueError if a length is no upper bound in bits a chunk.
    """
    nominal = Quantity(nominal_bits, "upper bound", BITS, "all codes of this shape")
    return Bracket(certified_entropy(ids, demonstration), tightest([*lengths, nominal]))


def _position(ids: Int[np.ndarray, " N"], demonstration: Int[np.ndarray, " N"], vocab_size: int) -> Position:
    entropy, surprise = miller_madow(ids), _surprise(ids)
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
