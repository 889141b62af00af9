"""Bits of tokens against sources whose entropies are known exactly.

    OMP_NUM_THREADS=1 python benchmarks/token_bits.py [folder]

Expected: the sum of marginals within 0.1 bit from 20,000 chunks on, and too small with few, where the length of
held-out codes by the same marginals is a bound for any number; a certified bound that holds in at least 95 % of
samples; digits at most half as far from the truth as ids told at once at 5,000 training chunks; and the better of two
encoders found in at least 38 of 40 random sources. With a folder, what was trained there is not trained again.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from compression_gap.measures.code_lengths import difference
from compression_gap.measures.collisions import certified_entropy, largest_rate
from compression_gap.measures.entropy import held_out_marginals, sum_of_marginals
from compression_gap.measures.token_probe import Codes, TokenProbing, probe_tokens
from compression_gap.testing.token_source import TokenSource

ONE = {"seeds": (0,), "fractions": (1.0,)}
SMALL = TokenProbing(steps=150, batch=64, learning_rate=1e-2, warmup=10, width=16, **ONE)
PROBING = TokenProbing(steps=500, **ONE)
IN_A_DEMONSTRATION = 10
SOURCES, CLEAR = 40, 2.0
SAMPLES, SIZE, DRAWS = 300, 100, 500


def codes_of(source, digits, chunks):
    ids = torch.from_numpy(source.draw(chunks, seed=1))
    return Codes(ids, torch.arange(chunks) // IN_A_DEMONSTRATION, source.vocab_size, digits)


def quiet(fraction, text):
    pass


def entropies(source):
    print(f"exact: H(T) {source.bits:.2f}, sum of marginals {source.marginal_bits:.2f} bits")
    held = source.draw(5_000, seed=3)
    for chunks in (50, 500, 5_000, 20_000, 80_000):
        ids = source.draw(chunks, seed=2)
        certified = certified_entropy(ids, np.arange(chunks)).value
        bound = held_out_marginals(ids, held, np.arange(len(held)), source.vocab_size).value
        sums = f"sum of marginals {sum_of_marginals(ids):.2f}, in held-out chunks {bound:.2f}"
        print(f"{chunks:6} chunks: {sums}, certified {certified:.2f}")


def bootstrapped(ids, rng):
    """Upper end of a one-sided 95 % bootstrap interval of P(T = T'), for comparison."""
    _, place = np.unique(ids, return_inverse=True)
    drawn = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), DRAWS)
    counts = np.stack([np.bincount(place, row) for row in drawn])
    equal, pairs = (counts**2).sum(axis=1) - (drawn**2).sum(axis=1), len(ids) ** 2 - (drawn**2).sum(axis=1)
    return max(float(np.quantile(equal / pairs, 0.95)), largest_rate(0) / (len(ids) * (len(ids) - 1) / 2))


def coverage():
    many = 10**6
    sources = {
        "one code of 3 %": np.r_[0.03, np.full(many, 0.97 / many)],
        "one code of 10 %": np.r_[0.1, np.full(many, 0.9 / many)],
        "two codes of 4 %": np.r_[0.04, 0.04, np.full(many, 0.92 / many)],
        "Zipf, 1000 codes": 1 / np.arange(1, 1001),
        "uniform, 50 codes": np.ones(50),
    }
    print(f"\nshare of samples of {SIZE} chunks in which a 95 % lower bound on H_2 holds: certified, bootstrap")
    for name, weight in sources.items():
        rng, share = np.random.default_rng(0), weight / weight.sum()
        truth, below, holds = -math.log2((share**2).sum()), share.cumsum(), np.zeros(2)
        for _ in range(SAMPLES):
            ids = np.searchsorted(below, rng.random(SIZE))
            bounds = certified_entropy(ids[:, None], np.arange(SIZE)).value, -math.log2(bootstrapped(ids, rng))
            holds += np.array(bounds) <= truth
        print(f"{name:18} {holds[0] / SAMPLES:.3f} {holds[1] / SAMPLES:.3f}")


def signs(folder):
    """For random sources, two encoders that show different classes: is the better one found?"""
    right = seed = found = 0
    errors = []
    while found < SOURCES:
        seed += 1
        rng, source = np.random.default_rng(seed), TokenSource.random(seed, levels=(4, 3, 3), length=4)
        encoders = []
        for _ in range(2):
            tokens = np.flatnonzero(rng.random(source.length) < 0.6)
            encoders.append(tuple((int(token), float(rng.choice([0.0, 0.1, 0.3]))) for token in tokens))
        truth = [source.shared_bits(known) for known in encoders if known]
        if len(truth) < 2 or abs(truth[0] - truth[1]) <= CLEAR:
            continue
        codes, found = codes_of(source, source.levels, 1400), found + 1
        lengths = [
            probe_tokens(codes, source.features(codes.ids.numpy(), known, seed), SMALL, folder / f"{seed}-{k}", quiet)
            for k, known in enumerate(encoders)
        ]
        value = difference(*lengths).bits.value
        right += value * (truth[0] - truth[1]) > 0
        errors.append(abs(value - (truth[0] - truth[1])))
        print(f"source {seed:4}: true difference {truth[0] - truth[1]:+.2f}, measured {value:+.2f} bits", flush=True)
    print(f"right in sign: {right} of {SOURCES}; mean error {np.mean(errors):.2f} bits")


def digits(source, folder):
    excess = []
    for name, levels in (("digits", source.levels), ("ids", None)):
        whole = probe_tokens(codes_of(source, levels, 7_000), None, PROBING, folder / name, quiet).whole
        excess.append(whole.value - source.bits)
        print(f"5,000 training chunks, told as {name}: {whole.text}, {excess[-1]:.2f} above the truth", flush=True)
    print(f"digits are {excess[0] / excess[1]:.2f} times as far from the truth as ids")


def main(folder):
    source = TokenSource.random(0)
    entropies(source)
    coverage()
    print()
    signs(folder)
    print()
    digits(source, folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
