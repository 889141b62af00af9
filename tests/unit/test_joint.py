"""A predicted gain counts as far as the ladder has lost something there."""

import numpy as np
import pytest

from compression_gap.statistics import Rung, ladder
from compression_gap.verdict.joint import joint_verdict
from compression_gap.verdict.offline import OfflineVerdict


def rung(reached: float, *, trained: bool = True) -> Rung:
    """Three seeds that succeed on the same share of 400 initial states."""
    seeds = 3 if trained else 1
    return Rung(np.tile(np.arange(400) < 400 * reached, (seeds, 1)), trained=trained)


def losing(codebook: float | None, policy: float, encoder: float):
    """A ladder that loses these shares, from the top down; without a code there is no replay."""
    replay = 1.0 - (codebook or 0.0)
    return ladder(
        expert=rung(1.0, trained=False),
        replay=None if codebook is None else rung(replay),
        state=rung(replay - policy),
        policy=rung(replay - policy - encoder),
    )


def offline(encoder: float | None, codebook: float | None, data: float | None) -> OfflineVerdict:
    helps = {"encoder": encoder, "codebook": codebook, "data": data}
    return OfflineVerdict("undetermined", None, None, "", "", "points", helps, {}, {})


@pytest.mark.parametrize(
    ("lost", "helps", "label"),
    [
        ((0.0, 0.0, 0.4), (0.9, 0.1, 0.1), "encoder-bound"),
        ((0.0, 0.0, 0.4), (0.9, 0.1, 0.5), "encoder-bound"),  # nothing is lost to the policy, so data are no doubt
        ((0.0, 0.0, 0.4), (0.9, 0.9, 0.9), "encoder-bound"),
        ((0.4, 0.0, 0.4), (0.9, 0.1, 0.1), "encoder-bound"),  # a loss alone makes no gain
        ((0.4, 0.0, 0.4), (0.9, 0.9, 0.1), "several"),
        ((0.4, 0.0, 0.4), (0.9, 0.9, 0.5), "several"),
        ((0.4, 0.0, 0.0), (0.1, 0.9, 0.1), "codebook-bound"),
        ((0.0, 0.4, 0.0), (0.1, 0.1, 0.9), "policy-or-data-bound"),
        ((0.3, 0.3, 0.3), (0.1, 0.1, 0.1), "none: saturated"),
        ((0.0, 0.0, 0.0), (0.9, 0.9, 0.9), "none: saturated"),
        ((0.0, 0.0, 0.4), (0.5, 0.1, 0.1), "undetermined"),
        ((0.0, 0.4, 0.0), (None, 0.1, 0.9), "policy-or-data-bound"),  # an unknown gain, but nothing to be gained
        ((0.0, 0.4, 0.4), (None, 0.1, 0.9), "undetermined"),
        ((None, 0.0, 0.4), (0.9, 0.0, 0.1), "encoder-bound"),
    ],
)
def test_no_part_gains_what_is_not_lost(lost, helps, label: str):
    found = joint_verdict(offline(*helps), losing(*lost))
    assert found.label == label
    assert 0.0 <= found.probability <= 1.0


def test_a_loss_never_makes_a_gain_likelier():
    told = {"encoder": 0.8, "codebook": 0.3, "data": 0.6}
    for lost in ((0.0, 0.0, 0.0), (0.5, 0.2, 0.1), (0.05, 0.05, 0.05)):
        helps = joint_verdict(offline(*told.values()), losing(*lost)).helps
        assert all((share or 0.0) <= told[part] for part, share in helps.items())
