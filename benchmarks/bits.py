"""Bits about actions against sources whose bits are known, as `cgap encoders` measures them.

    OMP_NUM_THREADS=1 python benchmarks/bits.py [steps]

Expected: within 10 % of the truth, or half a bit below 5 bits; features of other windows within 0.3 bits of nothing,
and 1,000 windows no bits that are not there; at most 5 % less or more through features that are turned and stretched
(condition number 10); and never more through noise. Prints two tables: a quarter of an hour on a core with 300 steps.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from compression_gap.data.split import parts_of
from compression_gap.measures.encoder_probe import ProbeData, Probing, fit, probe, told_nothing

SIGMA, VARIANCE, NUISANCE, WINDOWS = 0.025, 0.16, 16, 10
SOURCES = (  # values a chunk, bits before sigma, windows, how bits are shared, how features look
    (8, 4, 28_000, "even", "turned"),
    (8, 16, 28_000, "even", "turned"),
    (32, 40, 28_000, "decaying", "turned"),
    (64, 32, 28_000, "even", "turned"),
    (64, 80, 28_000, "decaying", "turned"),
    (64, 80, 28_000, "even", "turned"),
    (16, 20, 28_000, "even", "shuffled"),
    (8, 16, 28_000, "even", "as angles"),
    (8, 4, 14_000, "even", "turned"),
    (8, 16, 14_000, "even", "turned"),
    (32, 40, 14_000, "decaying", "turned"),
    (16, 20, 1_400, "even", "turned"),
    (16, 20, 14_000, "even", "shuffled"),
    (16, 20, 1_400, "even", "shuffled"),
)
CHANGED = ((8, 16, 14_000, "even", "turned"), (8, 16, 14_000, "even", "as angles"))
"""The sources whose features are changed."""


def shares_told(values, bits, shares):
    """Of the variance of every value, what the features tell."""
    weight = np.ones(values) if shares == "even" else 0.9 ** np.arange(values)
    return 1 - 2 ** (-2 * bits * weight / weight.sum())


def bits_at_sigma(told):
    """In closed form."""
    return 0.5 * np.log2((VARIANCE + SIGMA**2) / (VARIANCE * (1 - told) + SIGMA**2)).sum()


def source(values, bits, rows, shares, look):
    """Chunks, features, and the bits that they have in common at SIGMA."""
    rng, told = np.random.default_rng(0), shares_told(values, bits, shares)
    seen, hidden = rng.standard_normal((2, rows, values))
    chunk = math.sqrt(VARIANCE) * (np.sqrt(told) * seen + np.sqrt(1 - told) * hidden)
    truth = bits_at_sigma(told)
    if look == "as angles":
        seen = np.concatenate([np.cos(0.8 * seen), np.sin(0.8 * seen)], axis=1)
    features = np.concatenate([seen, rng.standard_normal((rows, NUISANCE))], axis=1)
    if look == "shuffled":
        features, truth = features[rng.permutation(rows)], 0.0
    turns = [np.linalg.qr(rng.standard_normal((side, side)))[0] for side in (values, features.shape[1])]
    return torch.from_numpy(chunk @ turns[0]).float(), torch.from_numpy(features @ turns[1]).float(), truth


def measure(chunk, features, probing):
    """The probe on rows as windows of demonstrations."""
    demonstration = torch.arange(len(chunk)) // WINDOWS
    part = torch.from_numpy(parts_of(np.zeros(len(chunk) // WINDOWS, dtype=np.int64)))[demonstration]
    data = ProbeData(chunk, chunk[:, :1], torch.zeros(len(chunk), 1), demonstration, part)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        nothing = [fit(told_nothing(data), data, probing, s, root / f"nothing-{s}", quiet) for s in probing.seeds]
        return probe(features, None, data, nothing, probing, root / "probe", quiet)


def quiet(fraction, text):
    """Nobody looks."""


def changes(features):
    """The same in ways that leave the bits alone, and in noise of several sizes, which takes some away."""
    rng, width = np.random.default_rng(1), features.shape[1]
    turns = [torch.from_numpy(np.linalg.qr(rng.standard_normal((width, width)))[0]).float() for _ in range(2)]
    stretch = torch.from_numpy(np.geomspace(1, 10, width)).float()
    noise = torch.from_numpy(rng.standard_normal(features.shape)).float()
    yield "as they are", 0.0, features
    yield "turned", 0.0, features @ turns[0]
    yield "stretched up to 10 times", 0.0, features * stretch
    yield "turned, stretched, turned", 0.0, features @ turns[0] * stretch @ turns[1]
    for size in (0.1, 0.3, 1.0):
        yield f"in noise of {size:g}", size, features + size * noise


def changed(probing):
    """What becomes of the bits when something is done to the features."""
    print("\n| features | truth | bits | more than as they are |")
    print("| --- | --- | --- | --- |")
    for values, bits, rows, shares, look in CHANGED:
        chunk, features, truth = source(values, bits, rows, shares, look)
        first = None
        for name, noise, some in changes(features):
            actions = measure(chunk, some, probing).actions
            first = first or actions
            told, more = actions.bits, actions.beyond(first)
            known = f"{truth:.2f}"
            if noise:  # known only where features are linear
                left = bits_at_sigma(shares_told(values, bits, shares) / (1 + noise**2))
                known = "less" if look == "as angles" else f"{left:.2f}"
            print(
                f"| {look}, {name} | {known} | {of(told)} | {of(more, '+')} |",
                flush=True,
            )


def plain(value, sign=""):
    """With two digits, and never as minus zero."""
    return f"{round(float(value), 2) + 0.0:{sign}.2f}"


def of(measured, sign=""):
    """A number with its interval."""
    return f"{plain(measured.value, sign)} [{plain(measured.low, sign)}, {plain(measured.high, sign)}]"


def main():
    torch.set_num_threads(1)
    probing = Probing(steps=int(sys.argv[1]) if len(sys.argv) > 1 else 300, seeds=(0,), sigma=SIGMA)
    print("| values | features | windows | truth | bits | by difference | by pair | linear index | converged |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for values, bits, rows, shares, look in SOURCES:
        chunk, features, truth = source(values, bits, rows, shares, look)
        found = measure(chunk, features, probing)
        actions = found.actions
        told = actions.bits
        print(
            f"| {values} {shares} | {look} | {5 * rows // 7:,} | {truth:.2f} | "
            f"{of(told)} | {plain(actions.difference.mean())} | {plain(actions.pair.mean())} | "
            f"{plain(found.linear_bits)} | {'yes' if actions.converged else 'no'} |",
            flush=True,
        )
    changed(probing)


if __name__ == "__main__":
    main()
