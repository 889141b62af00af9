"""How far to the side the hand is where the gripper's command changes."""

import numpy as np
import torch

from compression_gap.measures.aim import LEAD, Looks, gripper_switches, last_looks


def test_switches_are_counted_within_demonstrations():
    command = np.array([-1, -1, 1, 1, -1, -1, 1, 1, -1.0])[:, None]
    steps, closes = gripper_switches(command, np.array([5, 9]))  # from step 4 to 5 another demonstration begins
    assert (steps.tolist(), closes.tolist()) == ([2, 4, 6, 8], [True, False, True, False])
    upside_down, again = gripper_switches(-command, np.array([5, 9]))
    assert (upside_down.tolist(), again.tolist()) == (steps.tolist(), closes.tolist())


def test_both_hands_switch():
    command = np.array([[-1, -1, 1, 1, 1, 1], [5, 5, 5, 5, 0, 0.0]]).T
    steps, closes = gripper_switches(command, np.array([6]))
    assert (steps.tolist(), closes.tolist()) == ([2, 4], [True, True])


def test_a_gripper_that_never_moves_has_no_switch():
    assert gripper_switches(np.ones((9, 1)), np.array([9]))[0].tolist() == []


def test_the_last_look_begins_early_enough_and_in_the_same_demonstration():
    start, first = np.array([0, 4, 8, 20, 24]), np.array([0, 20])
    row, step = last_looks(start, first, np.array([2, 9, 12, 15, 19, 22, 26, 31]), horizon=8)
    # 2 and 22 come too soon; 19 is too far from the last chunk before it
    assert step.tolist() == [0, 5, 4, 7, 0, 0, 6, 7]
    assert row[step > 0].tolist() == [1, 2, 2, 3, 4]
    assert step[step > 0].min() >= LEAD


def test_no_look_reaches_over_the_end_of_a_demonstration():
    _, step = last_looks(np.array([0, 4]), np.array([0, 8]), np.array([9]), horizon=8)
    assert step.tolist() == [0]


def test_short_chunks_look_as_far_ahead_as_they_can():
    row, step = last_looks(np.arange(10), np.array([0]), np.array([5]), horizon=3)
    assert (row.tolist(), step.tolist()) == ([3], [2])
    assert last_looks(np.arange(10), np.array([0]), np.array([5]), horizon=1)[1].tolist() == [0]


def test_the_way_to_the_side_counts_up_to_the_switch():
    looks = Looks(torch.tensor([0, 1]), torch.tensor([2, 3]), (0, 2), (10.0, 20.0))
    wanted = torch.zeros(2, 4, 3)
    acted = torch.zeros(2, 4, 3)
    acted[0, :, 0] = 0.3  # two steps of 3 mm
    acted[0, 2:, 2] = 9.0  # after the fingers have moved
    acted[:, :, 1] = 5.0  # not to the side
    acted[1, 0] = torch.tensor([0.3, 0.0, 0.2])  # 3 mm one way, 4 mm the other
    torch.testing.assert_close(looks.off(acted, wanted), torch.tensor([6.0, 5.0]).double())
    some = looks.only(torch.tensor([False, True]))
    torch.testing.assert_close(some.off(acted[1:], wanted[1:]), torch.tensor([5.0]).double())
    replicas = looks.off(torch.stack([acted, wanted]), wanted)
    torch.testing.assert_close(replicas, torch.tensor([[6.0, 5.0], [0.0, 0.0]]).double())
