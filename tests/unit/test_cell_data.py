"""Which initial states a cell's demonstrations begin from."""

from __future__ import annotations

import pytest

from compression_gap.pipeline.cell import Data
from compression_gap.pipeline.plan import policy_demonstrations, trained_encoder
from compression_gap.studies.libero_cpu import WEAK
from compression_gap.studies.libero_cpu import grid as libero
from compression_gap.studies.smoke import grid


def test_they_begin_from_the_protocol_that_is_asked_for():
    cell = libero().base.replace(sight=WEAK, data=Data(20, encoder_episodes=10))
    assert {job.protocol for job in policy_demonstrations(cell)} == {"demonstrations"}
    elsewhere = cell.replace(data=cell.data.replace(protocol="random_demonstrations"))
    encoder = trained_encoder(elsewhere)
    assert encoder is not None
    jobs = [*policy_demonstrations(elsewhere), *(drawing.demonstrations for drawing in encoder.drawings)]
    assert {job.protocol for job in jobs} == {"random_demonstrations"}
    assert cell.data.replace(protocol="demonstrations") == cell.data


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("test", "data.protocol: the demonstrations begin from the states that the policy is judged on, 'test'"),
        ("nowhere", "no protocol 'nowhere'"),
    ],
)
def test_a_protocol_that_the_policy_is_judged_on_or_that_is_not_there_is_refused(protocol: str, message: str):
    for base in (libero().base, grid().base):
        with pytest.raises(ValueError, match=message):
            base.replace(data=base.data.replace(protocol=protocol))
