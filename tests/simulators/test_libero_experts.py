"""Every scripted expert, once. How often they succeed is measured by benchmarks/libero_checks.py."""

import pytest

from compression_gap.suites.libero.experts import SCRIPTS
from compression_gap.suites.libero.suite import Libero

ELSEWHERE = {("libero_10", 2), ("libero_object", 0)}  # test_libero.py has these loaded


@pytest.mark.parametrize(("suite", "task"), sorted(SCRIPTS.keys() - ELSEWHERE))
def test_an_expert_does_what_the_instruction_says(suite: str, task: int) -> None:
    built = Libero(suite=suite, tasks=(task,)).build()
    simulators, expert = built.simulators(0, 1), built.expert(0)
    simulators.reset(built.initial_states(0, "demonstrations", [0]), [0])
    expert.begin([0])
    for _ in range(built.legend.max_steps):
        if simulators.done()[0]:
            break
        simulators.step(expert.act(simulators)[1])
    assert simulators.outcome()["success"][0]
    simulators.close()
