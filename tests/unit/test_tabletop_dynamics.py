"""The table's rules: what the gripper can hold, what counts as placed, and that nothing else moves."""

import numpy as np
import pytest

from compression_gap.suites.tabletop.dynamics import BLOCK_WIDTH, CEILING, OPEN, REACH, STEP_MM, STEP_RAD
from compression_gap.suites.tabletop.suite import Tabletop

CLOSE, RELEASE = 1.0, -1.0
SUITE = Tabletop().build()


def table(offset=(0.0, 0.0, 0.0), yaw=0.3, task=0, height=5.0):
    """One environment whose gripper is at `offset` (mm, mm, degrees, in the world) from the red block, at `height`."""
    x, y, degrees = offset
    states = {
        "gripper": np.array([[-60.0 + x, 40.0 + y, height, yaw + np.radians(degrees)]]),
        "blocks": np.array([[[-60.0, 40.0, yaw], [100.0, 100.0, 0.0], [0.0, -100.0, 1.0]]]),
        "slot": np.array([[60.0, 40.0, yaw]]),
    }
    simulators = SUITE.simulators(task, 1)
    simulators.reset(states, [0])
    return simulators


def go(simulators, steps, gripper, **motion):
    """Steps with one constant action, in units of the action."""
    action = np.zeros((simulators.num, 7))
    for name, value in motion.items():
        action[:, {"x": 0, "y": 1, "z": 2, "yaw": 5}[name]] = value
    action[:, 6] = gripper
    for _ in range(steps):
        simulators.step(action)


@pytest.mark.parametrize(
    ("offset", "height", "held"),
    [
        ((14.9, 0, 0), 5, 0),
        ((15.1, 0, 0), 5, -1),
        ((0, -14.9, 0), 5, 0),
        ((11, 11, 0), 5, -1),
        ((0, 0, 22.4), 5, 0),
        ((0, 0, 22.6), 5, -1),
        ((0, 0, 180 - 22.4), 5, 0),
        ((0, 0, 90), 5, -1),
        ((0, 0, 0), 20, 0),
        ((0, 0, 0), 21, -1),
    ],
)
def test_a_grasp_needs_place_yaw_and_height(offset, height, held):
    simulators = table(offset, height=height)
    go(simulators, 5, CLOSE)
    world = simulators.privileged()
    assert world["held"][0] == held
    assert world["opening"][0] == (BLOCK_WIDTH if held == 0 else 0)


def test_the_grasp_error_is_the_worse_of_millimetres_and_degrees_over_one_and_a_half():
    for offset, error in (((3.0, 4.0, 0.0), 5.0), ((3.0, 4.0, 15.0), 10.0), ((3.0, 4.0, 180.0), 5.0)):
        simulators = table(offset)
        go(simulators, 2, CLOSE)
        assert simulators.outcome()["grasp_error_mm"] == pytest.approx([error])


def test_moves_are_limited_and_roll_and_pitch_do_nothing():
    simulators = table(height=100.0)
    before = simulators.privileged()["gripper"]
    simulators.step(np.array([[5.0, -0.5, 1.0, 1.0, 1.0, -3.0, -1.0]]))
    moved = simulators.privileged()["gripper"] - before
    np.testing.assert_allclose(moved, [[STEP_MM, -0.5 * STEP_MM, STEP_MM, -STEP_RAD]])
    go(simulators, 100, RELEASE, x=1, y=1, z=1)
    np.testing.assert_array_equal(simulators.privileged()["gripper"][:, :3], [[REACH, REACH, CEILING]])
    go(simulators, 100, RELEASE, z=-1)
    assert simulators.privileged()["gripper"][0, 2] == 0


def test_a_held_block_keeps_its_offset_turns_with_the_gripper_and_stays_above_the_table():
    simulators = table((6.0, 0.0, 10.0))
    go(simulators, 2, CLOSE)
    go(simulators, 3, CLOSE, z=-1)
    held = simulators.privileged()
    np.testing.assert_allclose(held["blocks"][0, 0], [-60, 40, 0, 0.3], atol=1e-9)
    go(simulators, 10, CLOSE, z=0.5, yaw=1)
    turned = simulators.privileged()
    np.testing.assert_allclose(turned["blocks"][0, 0, 2:], [50, 0.3 + 10 * STEP_RAD], atol=1e-9)
    offset = turned["blocks"][0, 0, :2] - turned["gripper"][0, :2]
    np.testing.assert_allclose(offset, [-6 * np.cos(0.8), -6 * np.sin(0.8)], atol=1e-9)
    np.testing.assert_array_equal(turned["blocks"][0, 1:], held["blocks"][0, 1:])


def test_a_placing_ends_the_episode_and_freezes_it():
    simulators = table((0.0, 3.0, 0.0))
    go(simulators, 2, CLOSE)
    go(simulators, 4, CLOSE, z=1)
    go(simulators, 12, CLOSE, x=1)
    go(simulators, 1, CLOSE, y=0.4)
    go(simulators, 4, CLOSE, z=-1)
    assert not simulators.done()[0]
    go(simulators, 1, RELEASE)
    outcome = simulators.outcome()
    assert simulators.done()[0]
    assert outcome["success"][0]
    assert outcome["grasp_error_mm"] == pytest.approx([3.0])
    assert outcome["place_error_mm"] == pytest.approx([4.0])
    assert outcome["error_mm"] == pytest.approx([4.0])
    before = simulators.privileged()
    go(simulators, 7, CLOSE, x=1, z=1, yaw=1)
    for name, value in simulators.privileged().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_release_far_from_the_slot_is_a_placing_with_a_large_error():
    simulators = table()
    go(simulators, 2, CLOSE)
    go(simulators, 4, CLOSE, z=1)
    go(simulators, 1, RELEASE)
    outcome = simulators.outcome()
    assert simulators.done()[0]
    assert not outcome["success"][0]
    assert outcome["place_error_mm"] == pytest.approx([120.0])
    assert simulators.privileged()["blocks"][0, 0, 2] == 0


def test_a_block_let_go_before_it_was_lifted_may_be_grasped_again():
    simulators = table((9.0, 0.0, 0.0))
    go(simulators, 2, CLOSE)
    go(simulators, 1, CLOSE, z=1)
    go(simulators, 3, RELEASE)
    assert not simulators.done()[0]
    assert simulators.outcome()["error_mm"][0] == np.inf
    go(simulators, 1, RELEASE, x=-0.7)
    go(simulators, 2, CLOSE)
    assert simulators.privileged()["held"][0] == 0
    assert simulators.outcome()["grasp_error_mm"] == pytest.approx([2.0])


def test_a_wrong_block_may_be_put_back_and_the_right_one_placed():
    simulators = table(task=2)
    expert = SUITE.expert(2)
    expert.begin([0])
    go(simulators, 2, CLOSE)
    go(simulators, 6, CLOSE, z=1)
    assert simulators.privileged()["held"][0] == 0
    go(simulators, 1, RELEASE)
    assert not simulators.done()[0]
    assert simulators.outcome()["grasp_error_mm"][0] == np.inf
    for _ in range(100):
        simulators.step(expert.act(simulators)[0])
    assert simulators.done()[0]
    assert simulators.outcome()["success"][0]


def test_the_expert_lets_go_of_a_wrong_block_that_it_finds_in_its_hand():
    simulators = table(task=1)
    go(simulators, 2, CLOSE)
    go(simulators, 6, CLOSE, z=1)
    expert = SUITE.expert(1)
    expert.begin([0])
    for _ in range(100):
        simulators.step(expert.act(simulators)[0])
    assert simulators.outcome()["success"][0]


def test_the_fingers_tell_whether_something_is_held():
    nothing, something = table((40.0, 0.0, 0.0)), table()
    opening = SUITE.legend.proprioception.index("finger opening mm")
    assert something.observe(["proprioception"])["proprioception"][0, opening] == OPEN
    for simulators in (nothing, something):
        go(simulators, 6, CLOSE)
    assert nothing.observe(["proprioception"])["proprioception"][0, opening] == 0
    assert something.observe(["proprioception"])["proprioception"][0, opening] == BLOCK_WIDTH


def test_observed_numbers_are_what_the_legend_names():
    simulators = table(yaw=-1.0)
    seen = simulators.observe(["proprioception", "state", "stamp"])
    legend = SUITE.legend
    assert seen["proprioception"].shape == (1, len(legend.proprioception))
    assert seen["state"].shape == (1, len(legend.state)) == (1, len(legend.state_scale))
    state = dict(zip(legend.state, seen["state"][0].tolist(), strict=True))
    assert state["red x mm"] == -60
    assert state["blue y mm"] == -100
    assert state["slot x mm"] == 60
    assert state["slot cos 2 yaw"] == pytest.approx(np.cos(-2.0), abs=1e-6)
    assert state["red sin 2 yaw"] == pytest.approx(np.sin(-2.0), abs=1e-6)
    np.testing.assert_array_equal(seen["stamp"], [[0, 0]])
    go(simulators, 3, RELEASE)
    np.testing.assert_array_equal(simulators.observe(["stamp"])["stamp"], [[0, 3]])


@pytest.mark.parametrize("actions", [np.zeros((2, 7)), np.zeros((1, 6)), np.full((1, 7), np.nan)])
def test_bad_actions_are_refused(actions):
    with pytest.raises(ValueError, match="1 x 7 finite numbers"):
        table().step(actions)


def test_unknown_observations_and_wrong_numbers_of_states_are_refused():
    with pytest.raises(ValueError, match="observes top, wrist, proprioception"):
        table().observe(["front"])
    with pytest.raises(ValueError, match="need 2 initial states"):
        SUITE.simulators(0, 2).reset(SUITE.initial_states(0, "test", [1]), [0, 1])
