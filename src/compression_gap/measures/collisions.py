"""How often two independent chunks have the same code: the one thing that bounds a code's entropy from below for sure.

Entropy is never below the collision entropy, H >= H_2 = -log2 P(T = T'). From N independent chunks not much more than
2 log2 N bits can be certified, however many there are.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int
from scipy import sparse, special

from compression_gap.config import counted
from compression_gap.data.split import FEWEST_DEMONSTRATIONS
from compression_gap.measures.clusters import DRAWS, LEVEL
from compression_gap.measures.quantity import BITS, DEMONSTRATIONS, Quantity

ONE_CHUNK = "other demonstrations, one chunk of each"


def certified_entropy(ids: Int[np.ndarray, "N L"], demonstration: Int[np.ndarray, " N"]) -> Quantity:
    """Lower bound on the entropy of a code that holds with 95 %, whatever the distribution is.

    Only independent chunks certify anything, so one chunk of each demonstration is drawn, always the same. If n chunks
    have c pairs of equal codes, P(T = T') is at most `largest_rate(c)` divided by the n (n - 1) / 2 pairs. A bootstrap
    would promise more than it keeps: where collisions are few, its 95 % are 85 to 90 % (benchmarks/token_bits.py).
    Undetermined with one demonstration.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(ids))
    _, first = np.unique(demonstration[order], return_index=True)
    codes = _numbered(ids[order[first]])
    n = len(codes)
    if n < 2:
        return Quantity(None, "lower bound", BITS, ONE_CHUNK, note=f"undetermined: {n} demonstration, 2 make a pair")
    counts = np.bincount(codes)
    pairs, equal = n * (n - 1) // 2, int((counts * (counts - 1)).sum()) // 2
    bits = -math.log2(min(1.0, largest_rate(equal) / pairs))
    return Quantity(max(0.0, bits), "lower bound", BITS, ONE_CHUNK, note=f"{equal} equal pairs among {pairs}")


def largest_rate(equal: int) -> float:
    """Largest expected number of equal pairs with which 5 % of samples still have `equal` or fewer; 11.25 for 0.

    Pairs share samples, so they vary most if one code has all the collisions. That code comes Poisson(x) times and k
    times make k (k - 1) / 2 pairs, of which x^2 / 2 are expected: with no pair, (1 + x) exp(-x) = 0.05 at x = 4.74.
    """
    most = (1 + math.isqrt(1 + 8 * equal)) // 2
    return float(special.pdtri(most, 1 - LEVEL)) ** 2 / 2


def collision_entropy(ids: Int[np.ndarray, "N L"], demonstration: Int[np.ndarray, " N"]) -> Quantity:
    """The collision entropy -log2 P(T = T'), from all pairs of chunks of different demonstrations.

    It uses every chunk, so it resolves more than the certified bound, but its interval, a percentile bootstrap over
    demonstrations, is only as good as the collisions are many. Undetermined without any. The upper end is infinite if
    some draws have none.
    """
    _, cluster = np.unique(demonstration, return_inverse=True)
    codes = _numbered(ids)
    seen = sparse.csr_array((np.ones(len(codes)), (cluster, codes)))  # [demonstrations, codes]
    equal, sizes = (seen @ seen.T).toarray(), np.asarray(seen.sum(axis=1))
    np.fill_diagonal(equal, 0.0)
    if not equal.any():
        note = f"undetermined: no two of {counted(len(sizes), 'demonstration')} have a code in common"
        return Quantity(None, "estimate", BITS, DEMONSTRATIONS, note=note)
    bits = -math.log2(equal.sum() / (sizes.sum() ** 2 - (sizes**2).sum()))
    if len(sizes) < FEWEST_DEMONSTRATIONS:
        note = f"no interval: {counted(len(sizes), 'demonstration')}, at least {FEWEST_DEMONSTRATIONS} are needed"
        return Quantity(bits, "estimate", BITS, DEMONSTRATIONS, note=note)
    drawn = np.random.default_rng(0).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), DRAWS)
    pairs = (drawn @ sizes) ** 2 - (drawn**2) @ sizes**2
    with np.errstate(divide="ignore"):
        each = -np.log2(((drawn @ equal) * drawn).sum(axis=1) / pairs)
    low, high = np.quantile(each, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return Quantity(bits, "estimate", BITS, DEMONSTRATIONS, float(low), float(high))


def _numbered(ids: Int[np.ndarray, "N L"]) -> Int[np.ndarray, " N"]:
    """A number for every code, equal where codes are equal."""
    return np.unique(ids, axis=0, return_inverse=True)[1].reshape(-1)
