"""Entropy of token positions. Their sum bounds a code's entropy from above (up to O(1/N))."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int


def miller_madow(ids: Int[np.ndarray, " N"]) -> float:
    """Plug-in entropy in bits with Miller and Madow's correction: + (values seen - 1) / (2 N ln 2)."""
    counts = np.unique(ids, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum() + (len(counts) - 1) / (2 * counts.sum() * math.log(2)))


def sum_of_marginals(ids: Int[np.ndarray, "N L"]) -> float:
    """Upper bound on the bits of a code: the sum of its positions' entropies. The end of a code and the padding behind
    it are values like others."""
    return sum(miller_madow(ids[:, position]) for position in range(ids.shape[1]))


def utilisation(ids: Int[np.ndarray, "N L"], vocab_size: int) -> float:
    """Share of the vocabulary that a position uses, averaged over the positions that some code has; biased low for few
    chunks. Numbers outside the vocabulary mark the end of a code and what is behind it."""
    columns = [column[(column >= 0) & (column < vocab_size)] for column in ids.T]
    return float(np.mean([len(np.unique(column)) / vocab_size for column in columns if len(column)]))
