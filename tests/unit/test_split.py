"""How demonstrations are divided, and divided again where there are few."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compression_gap.data.split import ENOUGH, EVERY, MANY, TEST, Split, divisions, part_at, turned


@pytest.mark.parametrize(("demonstrations", "count"), [(7, 1), (20, 1), (21, 7), (50, 4), (75, 3), (195, 2), (196, 1)])
def test_few_demonstrations_are_divided_several_times(demonstrations: int, count: int):
    assert divisions(demonstrations) == count


@given(st.integers(ENOUGH, 400))
def test_every_division_tests_on_others_and_all_together_on_enough(demonstrations: int):
    tested: list[int] = []
    for turn in range(divisions(demonstrations)):
        rank = turned(np.arange(demonstrations), turn)
        assert sorted(rank) == list(range(demonstrations))
        np.testing.assert_array_equal(turned(rank, -turn), np.arange(demonstrations))
        tested += np.flatnonzero(part_at(rank) == TEST).tolist()
    assert len(set(tested)) == len(tested) >= min(MANY, demonstrations - demonstrations % EVERY)


def test_a_turned_number_is_what_chunks_are_divided_by():
    rank = np.repeat(turned(np.arange(50), 3), 4)
    np.testing.assert_array_equal(Split(torch.from_numpy(rank)).part.numpy(), part_at(rank))
