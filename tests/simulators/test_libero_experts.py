"""Scripted experts, once each. How often they succeed is measured by benchmarks/libero_checks.py."""

import pytest

from compression_gap.data.collect import collect
from compression_gap.suites.libero.scripts import SCRIPTS
from compression_gap.suites.libero.suite import Libero

# All of libero_10 but the one that test_libero.py has loaded; of the others, one of each kind.
TASKS = [("libero_10", task) for task in range(10) if task != 2]
TASKS += [("libero_object", task) for task in (1, 3, 4, 7)]  # flat, narrow, bottle, carton
TASKS += [("libero_spatial", task) for task in (0, 4)]  # on the table, in a drawer
STATES = {("libero_spatial", 4): 1}  # a state from which the expert succeeds, where 0 is none


@pytest.mark.parametrize(("suite", "task"), TASKS)
def test_an_expert_does_what_the_instruction_says(suite: str, task: int) -> None:
    built = Libero(suite=suite, tasks=(task,)).build()
    state = STATES.get((suite, task), 0)
    kept = collect(built, 0, "demonstrations", first=state, attempts=1, batch=1, report=lambda *_: None)
    assert kept.episodes["index"].to_list() == [state]


def test_every_task_of_three_suites_has_a_script() -> None:
    suites = ("libero_10", "libero_object", "libero_spatial")
    assert {(suite, task) for suite in suites for task in range(10)} == set(SCRIPTS)
