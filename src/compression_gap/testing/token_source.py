"""Codes whose entropies are known exactly, and features that know a known part of them: to check measures with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Known = tuple[tuple[int, float], ...]
"""Tokens whose class the features show, each with the probability that they show an arbitrary class instead."""


@dataclass(frozen=True)
class TokenSource:
    """Codes of L tokens with FSQ digits.

    The first digit of a token is its class, and classes follow one another as a Markov chain; every further digit
    depends on the class and the digit before it. So tokens have much in common, and every entropy is a finite sum.
    """

    start: Float[np.ndarray, " C"]
    """Probabilities of the first token's class."""
    step: Float[np.ndarray, "C C"]
    """Probabilities of the next class given the one before."""
    digit: tuple[Float[np.ndarray, "C _before _value"], ...]
    """Probabilities of every further digit given the class and the digit before it."""
    length: int
    """Tokens a code (L)."""

    @classmethod
    def random(cls, seed: int, *, levels: tuple[int, ...] = (8, 5, 5, 5), length: int = 8) -> TokenSource:
        """A source of its own for every seed: a class leads to few others, and digits have a most likely value."""
        rng = np.random.default_rng(seed)
        classes = levels[0]
        step = rng.dirichlet(np.full(classes, 0.3), classes)
        digits = []
        for before, values in pairwise(levels):
            centre = rng.uniform(0, values - 1, (classes, before, 1))
            weight = np.exp(-0.5 * ((np.arange(values) - centre) / rng.uniform(0.8, 1.6, (classes, before, 1))) ** 2)
            digits.append(weight / weight.sum(axis=2, keepdims=True))
        return cls(rng.dirichlet(np.full(classes, 2.0)), step, tuple(digits), length)

    @property
    def levels(self) -> tuple[int, ...]:
        """Values of every digit, least significant first, as `Tokenizer.digits` has them."""
        return (len(self.start), *(table.shape[2] for table in self.digit))

    @property
    def vocab_size(self) -> int:
        """Ids below which all are (V)."""
        return math.prod(self.levels)

    def classes(self) -> Float[np.ndarray, "L C"]:
        """Probabilities of every token's class."""
        rows = [self.start]
        for _ in range(self.length - 1):
            rows.append(rows[-1] @ self.step)
        return np.stack(rows)

    def given_class(self) -> Float[np.ndarray, "C V"]:
        """Probabilities of ids given their class."""
        shares = []
        for one in range(len(self.start)):
            joint = np.zeros(self.levels)
            for values in product(*map(range, self.levels)):
                if values[0] == one:
                    pairs = zip(self.digit, pairwise(values), strict=True)
                    joint[values] = math.prod(table[one, before, value] for table, (before, value) in pairs)
            shares.append(joint.flatten(order="F"))
        return np.stack(shares)

    @property
    def bits(self) -> float:
        """H(T): of the chain of classes, and of every id given its class."""
        classes = self.classes()
        inside = np.array([_entropy(row) for row in self.given_class()])
        following = np.array([_entropy(row) for row in self.step])
        return _entropy(self.start) + float((classes[:-1] @ following).sum() + (classes @ inside).sum())

    @property
    def marginal_bits(self) -> float:
        """Sum of the entropies of the tokens."""
        return sum(_entropy(row) for row in self.classes() @ self.given_class())

    def shared_bits(self, known: Known) -> float:
        """I(Z; T) of features that show the classes of some tokens: the sum over all that they can show."""
        size, noise = len(self.start), dict(known)
        confusion = {k: (1 - p) * np.eye(size) + p / size for k, p in known}
        alpha = self.start[None]  # [everything shown so far, class]
        for token in range(self.length):
            if token:
                alpha = alpha @ self.step
            if token in noise:
                alpha = (alpha[:, None, :] * confusion[token].T).reshape(-1, size)
        return _entropy(alpha.sum(axis=1)) - sum(_entropy(confusion[k][0]) for k, _ in known)

    def draw(self, count: int, seed: int) -> Int[np.ndarray, "N L"]:
        """Codes of that many independent chunks."""
        rng = np.random.default_rng(seed)
        state = _choose(np.tile(self.start, (count, 1)), rng)
        ids = np.empty((count, self.length), dtype=np.int64)
        for token in range(self.length):
            if token:
                state = _choose(self.step[state], rng)
            before, radix, ids[:, token] = state, len(self.start), state
            for table in self.digit:
                before = _choose(table[state, before], rng)
                ids[:, token] += radix * before
                radix *= table.shape[2]
        return ids

    def features(self, ids: Int[np.ndarray, "N L"], known: Known, seed: int) -> Float[Tensor, "N F"]:
        """What an encoder that shows these classes makes of the chunks: one-hot classes, turned at random."""
        rng, size = np.random.default_rng(seed), len(self.start)
        columns = []
        for token, noise in known:
            wrong = rng.integers(size, size=len(ids))
            shown = np.where(rng.random(len(ids)) < noise, wrong, ids[:, token] % size)
            columns.append(np.eye(size)[shown])
        columns = np.concatenate(columns, axis=1)
        turn = np.linalg.qr(rng.normal(size=(columns.shape[1],) * 2))[0]
        return torch.from_numpy(columns @ turn).float()


def _entropy(p: Float[np.ndarray, " K"]) -> float:
    some = p[p > 0]
    return float(-(some * np.log2(some)).sum())


def _choose(p: Float[np.ndarray, "N K"], rng: np.random.Generator) -> Int[np.ndarray, " N"]:
    below = p.cumsum(axis=1)[:, :-1] <= rng.random((len(p), 1))
    return below.sum(axis=1)
