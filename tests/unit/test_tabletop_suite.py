"""The suite as others see it: seeds, snapshots, the expert, and what a blind policy can do."""

import numpy as np
import pytest

from compression_gap.suites.base import state_hashes
from compression_gap.suites.tabletop.suite import DISTANCE, PLACES, Tabletop

SUITE = Tabletop().build()


def begin(task, indices, protocol="test"):
    """Simulators and expert at the first step of some episodes."""
    simulators, expert = SUITE.simulators(task, len(indices)), SUITE.expert(task)
    simulators.reset(SUITE.initial_states(task, protocol, indices), indices)
    expert.begin(indices)
    return simulators, expert


def roll(simulators, expert, steps, executes="executed"):
    """Lets the expert act; returns the scenes from the first on."""
    scenes = [simulators.scene()]
    for _ in range(steps):
        label, executed = expert.act(simulators)
        simulators.step(label if executes == "label" else executed)
        scenes.append(simulators.scene())
    return np.stack(scenes, axis=1)


@pytest.mark.parametrize("task", range(3))
def test_the_expert_succeeds_and_its_clean_labels_are_precise(task):
    simulators, expert = begin(task, range(300), "demonstrations")
    roll(simulators, expert, SUITE.legend.max_steps)
    outcome, steps = simulators.outcome(), simulators.observe(["stamp"])["stamp"][:, 1]
    assert simulators.done().mean() >= 0.97
    assert outcome["success"].mean() >= 0.97
    assert 30 <= np.median(steps) <= 60
    assert np.percentile(steps, 99) <= 120
    simulators, expert = begin(task, range(300))
    roll(simulators, expert, SUITE.legend.max_steps, "label")
    error = simulators.outcome()["error_mm"]
    assert (error <= 8).mean() >= 0.97
    assert (error <= 5).mean() >= 0.97


def test_the_label_is_clean_and_the_executed_action_is_noisy_within_limits():
    simulators, expert = begin(0, range(64))
    label, executed = expert.act(simulators)
    moving = [0, 1, 2, 5]
    assert (label[:, moving] != executed[:, moving]).mean() > 0.9
    np.testing.assert_array_equal(label[:, [3, 4, 6]], executed[:, [3, 4, 6]])
    assert (np.abs(label[:, 3:5]) == 0).all()
    assert np.abs(executed).max() <= 1
    assert np.abs(label).max() <= 1


def test_experts_differ_between_episodes_and_repeat_within_one():
    states = SUITE.initial_states(0, "test", [3, 3, 3])
    simulators, expert = SUITE.simulators(0, 3), SUITE.expert(0)
    simulators.reset(states, [7, 8, 7])
    expert.begin([7, 8, 7])
    first, second, repeat = roll(simulators, expert, 40)
    np.testing.assert_array_equal(first, repeat)
    assert np.abs(first - second).max() > 5


def test_the_expert_recovers_from_actions_that_were_not_its_own():
    simulators, expert = begin(2, range(200))
    rng = np.random.default_rng(0)
    for _ in range(8):
        action = rng.uniform(-1, 1, (200, 7))
        for _ in range(6):
            expert.act(simulators)
            simulators.step(action)
    unfinished = ~simulators.done()
    roll(simulators, expert, SUITE.legend.max_steps)
    assert unfinished.mean() > 0.9
    assert simulators.outcome()["success"][unfinished].mean() >= 0.97


@pytest.mark.parametrize("steps", [0, 20, 45])
def test_a_restored_continuation_equals_the_original_to_the_last_bit(steps):
    simulators, expert = begin(1, range(33))
    roll(simulators, expert, steps)
    world, script = simulators.save(), expert.save()
    original = roll(simulators, expert, 40)
    ending = simulators.privileged()
    roll(simulators, expert, 16, "label")
    simulators.restore(world)
    expert.restore(script)
    np.testing.assert_array_equal(roll(simulators, expert, 40), original)
    for name, value in simulators.privileged().items():
        np.testing.assert_array_equal(value, ending[name], err_msg=name)
    fresh, _ = begin(1, range(33))
    fresh.restore(world)
    np.testing.assert_array_equal(fresh.scene(), original[:, 0])


def test_trajectories_do_not_depend_on_how_many_run_side_by_side():
    together = roll(*begin(0, range(37)), 60)
    for indices in ([0], [36], [3, 4, 5], list(range(10, 27))):
        np.testing.assert_array_equal(roll(*begin(0, indices), 60), together[indices])


def test_initial_states_are_their_own_whatever_else_was_asked_for():
    many = SUITE.initial_states(1, "test", range(20))
    few = SUITE.initial_states(1, "test", [17, 4])
    for name in many:
        np.testing.assert_array_equal(few[name], many[name][[17, 4]])


def test_initial_states_differ_between_protocols_tasks_and_indices():
    hashes = [
        name
        for task in range(3)
        for protocol in SUITE.legend.protocols
        for name in state_hashes(SUITE.initial_states(task, protocol, range(100)))
    ]
    assert len(set(hashes)) == len(hashes) == 900


def test_initial_states_do_not_overlap_and_cover_the_table():
    states = SUITE.initial_states(0, "demonstrations", range(300))
    centres = np.concatenate([states["blocks"], states["slot"][:, None]], axis=1)[..., :2]
    between = np.sqrt(((centres[:, :, None] - centres[:, None]) ** 2).sum(axis=-1)) + 1e9 * np.eye(4)
    assert between.min() >= DISTANCE
    for places in (centres.reshape(-1, 2), states["gripper"][:, :2]):
        assert np.abs(places).max() <= PLACES
        assert (np.abs(places).max(axis=0) > 0.95 * PLACES).all()
        assert (np.abs(places.mean(axis=0)) < 20).all()


def test_a_blind_straight_line_policy_stays_at_chance():
    """It knows its own pose and the mean of everything else: go there, close, lift, go to the mean slot, let go."""
    states = SUITE.initial_states(0, "demonstrations", range(500))
    block, slot = states["blocks"][:, 0].mean(axis=0), states["slot"].mean(axis=0)
    simulators, _ = begin(0, range(500))
    plan = [
        (block, 5, 40, -1),
        (block, 5, 5, 1),
        (block, 65, 10, 1),
        (slot, 65, 20, 1),
        (slot, 5, 10, 1),
        (slot, 5, 5, -1),
    ]
    for place, height, steps, gripper in plan:
        for _ in range(steps):
            pose = simulators.privileged()["gripper"]
            action = np.zeros((500, 7))
            action[:, :2] = (place[:2] - pose[:, :2]) / 10
            action[:, 2] = (height - pose[:, 2]) / 10
            action[:, 5] = (place[2] - pose[:, 3]) / 0.08
            action[:, 6] = gripper
            simulators.step(action)
    assert np.isfinite(simulators.outcome()["grasp_error_mm"]).mean() < 0.02
    assert (simulators.outcome()["error_mm"] <= 15).mean() < 0.01


def test_unknown_tasks_and_protocols_are_refused_by_name():
    with pytest.raises(ValueError, match="did you mean 'test'"):
        SUITE.initial_states(0, "tset", [0])
    with pytest.raises(ValueError, match="numbered from 0, got -1"):
        SUITE.initial_states(0, "test", [3, -1])
    for call in (
        lambda: SUITE.initial_states(3, "test", [0]),
        lambda: SUITE.expert(-1),
        lambda: SUITE.simulators(3, 1),
    ):
        with pytest.raises(ValueError, match=r"tasks are 0 to 2 \(red, green, blue\)"):
            call()


@pytest.mark.parametrize(("field", "value"), [("image_size", 8), ("tolerance_mm", -1.0), ("batch", 0)])
def test_impossible_settings_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"Tabletop.{field} must be at least"):
        Tabletop(**{field: value})


def test_what_the_spec_says_without_building_is_what_the_suite_has():
    assert Tabletop().num_tasks == len(SUITE.tasks)
    assert Tabletop().cameras == SUITE.legend.cameras


def test_the_tolerance_decides_success_and_nothing_else():
    strict = Tabletop(tolerance_mm=1.0).build()
    simulators, expert = strict.simulators(0, 50), strict.expert(0)
    simulators.reset(strict.initial_states(0, "test", range(50)), range(50))
    expert.begin(range(50))
    roll(simulators, expert, 120)
    outcome = simulators.outcome()
    np.testing.assert_array_equal(outcome["success"], outcome["error_mm"] <= 1.0)
    assert 0 < outcome["success"].mean() < 1
