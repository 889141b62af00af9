"""The certified lower bound: below the truth, near its ceiling where there is much, nothing where there is nothing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from compression_gap.measures.contrastive import Contrast, certified_information, largest_mean
from compression_gap.measures.quantity import Quantity
from compression_gap.seeds import seed_of

QUICK = Contrast(steps=10, batch=64, warmup=5, width=16)


def quiet(fraction: float, text: str) -> None:
    pass


def bound(features: np.ndarray, chunk: np.ndarray, windows: int, folder: Path) -> Quantity:
    """Rows as windows of demonstrations."""
    demonstration = torch.arange(len(features)) // windows
    both = (torch.from_numpy(some).float() for some in (features, chunk))
    return certified_information(*both, demonstration, QUICK, folder, quiet)


def gaussian(values: int, bits: float, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell `bits` about chunks."""
    told = 1 - 2 ** (-2 * bits / values)
    seen, hidden = np.random.default_rng(0).standard_normal((2, rows, values))
    return seen, math.sqrt(told) * seen + math.sqrt(1 - told) * hidden


def test_much_is_certified_nearly_up_to_what_can_be(tmp_path: Path):
    found = bound(*gaussian(8, 20.0, 1600), 4, tmp_path)
    assert (found.kind, found.low, found.note) == (
        "lower bound",
        None,
        "with 95 %, and at most 4.0: the score is among 16 chunks",
    )
    assert 0.6 * 4 < found.value <= 4


def test_one_bit_is_never_certified_to_be_more(tmp_path: Path):
    """A chunk that is the sign of the features, whatever else it has: exactly one bit."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sign, noise = rng.choice([-1.0, 1.0], size=(1000, 1)), 0.1 * rng.standard_normal((1000, 2))
        found.append(bound(sign + noise[:, :1], sign + noise[:, 1:], 2, tmp_path / str(seed)).value)
    assert np.mean(np.array(found) <= 1) >= 0.95
    assert np.mean(found) > 0.1


def test_features_of_other_windows_certify_nothing(tmp_path: Path):
    features, chunk = gaussian(4, 20.0, 800)
    assert bound(features[np.random.default_rng(1).permutation(800)], chunk, 4, tmp_path).value == 0


def test_chunks_of_few_demonstrations_certify_nothing(tmp_path: Path):
    found = bound(*gaussian(4, 20.0, 1500), 100, tmp_path)
    assert found.value is None
    assert found.note == "undetermined: 15 demonstrations, at least 16 are needed"


def test_of_many_demonstrations_some_are_drawn_and_the_others_do_not_matter(tmp_path: Path):
    seen, chunk = gaussian(4, 8, 120)
    number = torch.arange(120)
    drawn = np.random.default_rng(seed_of("halves")).permutation(120) < 40
    few = QUICK.replace(most=40)
    one, other = torch.from_numpy(seen).float(), torch.from_numpy(seen).float().clone()
    other[~drawn] = 7.0
    target = torch.from_numpy(chunk).float()
    found = certified_information(one, target, number, few, tmp_path / "a", quiet)
    assert found == certified_information(other, target, number, few, tmp_path / "b", quiet)
    assert found != certified_information(one, target, number, QUICK, tmp_path / "c", quiet)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_the_limit_of_a_mean_holds_as_often_as_it_says_and_not_much_more_is_given_away(share: float):
    rng = np.random.default_rng(0)
    limits = np.array([largest_mean((rng.random((1, 100)) < share).astype(float), 0.05) for _ in range(200)])
    assert (limits >= share).mean() >= 0.95
    assert limits.mean() < share + 0.2


def test_arranged_anew_the_same_numbers_say_the_same():
    values = np.random.default_rng(0).random(50)
    once = largest_mean(values[None], 0.05)
    assert largest_mean(np.stack([values, values[::-1]]), 0.05) == pytest.approx(once)
    assert largest_mean(np.zeros((1, 50)), 0.05) == pytest.approx(1 - (0.05 / 5) ** (1 / 50), abs=0.01)


def test_what_cannot_be_measured_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"finite features and chunks of the same windows, got \[19, 20\] rows"):
        bound(np.zeros((19, 1)), np.zeros((20, 1)), 1, tmp_path)
    with pytest.raises(ValueError, match="expected finite features"):
        bound(np.full((20, 1), np.nan), np.zeros((20, 1)), 1, tmp_path)
