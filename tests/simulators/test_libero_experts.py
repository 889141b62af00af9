"""Every scripted expert, once. How often they succeed is measured by benchmarks/libero_checks.py."""

import pytest

from compression_gap.data.collect import collect
from compression_gap.suites.libero.experts import SCRIPTS
from compression_gap.suites.libero.suite import Libero

ELSEWHERE = {("libero_10", 2), ("libero_object", 0)}  # test_libero.py has these loaded


@pytest.mark.parametrize(("suite", "task"), sorted(SCRIPTS.keys() - ELSEWHERE))
def test_an_expert_does_what_the_instruction_says(suite: str, task: int) -> None:
    built = Libero(suite=suite, tasks=(task,)).build()
    kept = collect(built, 0, "demonstrations", first=0, attempts=1, batch=1, report=lambda *_: None)
    assert kept.episodes["index"].to_list() == [0]
