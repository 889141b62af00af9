"""A ladder's label counts only with its offline witness."""

import pytest

from compression_gap.statistics.bottleneck import Bottleneck, Bound
from compression_gap.statistics.ladder import Loss
from compression_gap.verdict.offline import OfflineVerdict
from compression_gap.verdict.witness import witnessed


def ladder(label: Bound, likeliest: Loss = Loss.ENCODER) -> Bottleneck:
    return Bottleneck(label, 0.97, likeliest, {likeliest: 0.97}, 5.0)


def offline(encoder: float | None, codebook: float | None, data: float | None) -> OfflineVerdict:
    helps = {"encoder": encoder, "codebook": codebook, "data": data}
    return OfflineVerdict("undetermined", None, None, "", "", "points", helps, {}, {})


@pytest.mark.parametrize(
    ("label", "helps", "agreed"),
    [
        (Bound.ENCODER, (0.9, 0.1, 0.1), True),
        (Bound.ENCODER, (0.3, 0.1, 0.1), False),
        (Bound.ENCODER, (None, 0.1, 0.1), False),
        (Bound.CODEBOOK, (0.9, 0.1, 0.1), False),
        (Bound.POLICY, (0.1, 0.1, 0.8), True),
        (Bound.SEVERAL, (0.9, 0.9, 0.1), True),
        (Bound.SEVERAL, (0.9, 0.1, 0.1), False),
        (Bound.NONE, (0.1, 0.1, 0.3), True),
        (Bound.NONE, (0.9, 0.1, 0.1), False),
    ],
)
def test_a_label_counts_with_its_witness(label: Bound, helps: tuple[float | None, ...], agreed: bool):
    found = witnessed(ladder(label), offline(*helps))
    assert (found.label == label) == agreed
    assert (found.label == Bound.UNDETERMINED) != agreed
    assert bool(found.reason) != agreed


def test_what_is_undetermined_stays_so_with_its_reason():
    found = ladder(Bound.UNDETERMINED)
    assert witnessed(found, offline(0.9, 0.9, 0.9)) is found
