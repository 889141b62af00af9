"""What a code does to actions, in the units of the task."""

from dataclasses import replace

import numpy as np
import pytest

from compression_gap.measures.distortion import distortion, switched
from compression_gap.suites.tabletop.suite import Tabletop


@pytest.mark.parametrize("commands", [(-1.0, 1.0), (0.0, 1.0), (1.0, 2.0), (0.0, 0.04)])
def test_a_gripper_command_is_wrong_where_another_one_is_nearer(commands: tuple[float, float]):
    low, high = commands
    chunk = np.array([low, high] * 8).reshape(2, 8, 1)
    near = chunk + 0.2 * (high - low)
    assert not switched(chunk, near, [0]).any()
    near[0, :3, 0] = (low + high) - chunk[0, :3, 0]
    legend = replace(Tabletop().build().legend, action=("gripper",), action_scale=(1.0,), gripper=(0,))
    assert distortion(chunk, near, legend)["gripper"] == 3 / 16


def test_a_command_that_never_changes_cannot_be_wrong():
    assert not switched(np.ones((2, 3, 1)), np.full((2, 3, 1), -5.0), [0]).any()
