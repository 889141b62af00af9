"""The source that measures are checked with: its exact numbers against the enumeration of all its codes."""

from itertools import pairwise, product

import numpy as np
import pytest

from compression_gap.testing.token_source import TokenSource

SMALL = TokenSource.random(3, levels=(3, 2), length=3)


def every_code(source: TokenSource) -> dict[tuple[int, ...], float]:
    """Its probability, for each code."""
    given, classes = source.given_class(), len(source.start)
    shares = {}
    for ids in product(range(source.vocab_size), repeat=source.length):
        kinds = [one % classes for one in ids]
        chain = source.start[kinds[0]] * np.prod([source.step[a, b] for a, b in pairwise(kinds)])
        shares[ids] = chain * np.prod([given[kind, one] for kind, one in zip(kinds, ids, strict=True)])
    return shares


def entropy(p) -> float:
    p = np.array(list(p))
    return float(-(p[p > 0] * np.log2(p[p > 0])).sum())


def test_exact_entropies_equal_those_of_the_enumerated_codes():
    codes = every_code(SMALL)
    assert sum(codes.values()) == pytest.approx(1.0)
    assert SMALL.bits == pytest.approx(entropy(codes.values()))
    alone = 0.0
    for position in range(SMALL.length):
        share = np.zeros(SMALL.vocab_size)
        for ids, p in codes.items():
            share[ids[position]] += p
        alone += entropy(share)
    assert SMALL.marginal_bits == pytest.approx(alone)


def test_shared_bits_equal_those_of_the_enumerated_codes():
    noise, known, classes = 0.3, ((0, 0.3), (2, 0.3)), 3
    shown = np.zeros((classes, classes))
    for ids, p in every_code(SMALL).items():
        rows = [(1 - noise) * np.eye(classes)[ids[k] % classes] + noise / classes for k in (0, 2)]
        shown += p * np.outer(*rows)
    given = 2 * entropy([1 - noise + noise / classes, *[noise / classes] * (classes - 1)])
    assert SMALL.shared_bits(known) == pytest.approx(entropy(shown.flatten()) - given)


def test_codes_are_drawn_from_these_probabilities():
    ids = SMALL.draw(40_000, seed=0)
    index = ids @ SMALL.vocab_size ** np.arange(SMALL.length)
    seen = np.bincount(index, minlength=SMALL.vocab_size**SMALL.length) / len(ids)
    for code, p in every_code(SMALL).items():
        place = int(np.array(code) @ SMALL.vocab_size ** np.arange(SMALL.length))
        assert seen[place] == pytest.approx(p, abs=5 * (p / len(ids)) ** 0.5 + 1e-4)
