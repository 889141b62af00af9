"""The parts of suites/libero that need no simulator."""

from __future__ import annotations

import numpy as np
import pytest

from compression_gap.suites.libero.experts import ScriptedExpert
from compression_gap.suites.libero.primitives import CLOSED, METRES, OPEN, Arm, Grasp, Style, nearest_half_turn
from compression_gap.suites.libero.scripts import script_for
from compression_gap.suites.libero.suite import Libero, average_down, state_of

DOWN = np.diag([1.0, -1.0, -1.0])
TABLE = 0.9


class PointHand:
    """A hand that moves as asked, over a table with one cube, and drops the cube as often as it is told to."""

    def __init__(self, drops: int = 0, over_the_plate: bool = False) -> None:
        self.over_the_plate = over_the_plate
        self.hand, self.cube = np.array([0.0, 0.0, 1.2]), np.array([0.1, -0.2, TABLE + 0.02])
        self.held, self.drops = False, drops

    def privileged(self) -> dict[str, np.ndarray]:
        one = {
            "hand.position": self.hand,
            "hand.rotation": DOWN,
            "cube.position": self.cube,
            "cube.rotation": np.eye(3),
            "plate.position": np.array([-0.1, 0.2, TABLE]),
        }
        return {name: value[None].copy() for name, value in one.items()}

    def step(self, action: np.ndarray) -> None:
        near = np.linalg.norm(self.cube - self.hand) < 0.02
        self.held = action[6] > 0 and (self.held or near)
        there = np.linalg.norm(self.hand[:2] - [-0.1, 0.2]) < 0.01
        if self.held and self.drops and (there if self.over_the_plate else self.hand[2] > 1.0):
            self.held, self.drops = False, self.drops - 1
            self.cube[2] = TABLE + 0.02
        self.hand = self.hand + 0.5 * METRES * action[:3]
        if self.held:
            self.cube = self.hand.copy()


def put_the_cube_on_the_plate(arm: Arm):
    yield from arm.pick("cube", Grasp(point=(0.0, 0.0, 0.0)))
    yield from arm.place(on="plate", height=0.03)


def run(expert: ScriptedExpert, world: PointHand, steps: int) -> np.ndarray:
    labels = []
    for _ in range(steps):
        label, executed = expert.act(world)  # type: ignore[arg-type]
        labels.append(label[0])
        world.step(executed[0])
    return np.array(labels)


@pytest.mark.parametrize("drops", [0, 1, 3])
def test_a_script_brings_the_thing_to_its_place_even_if_it_slips(drops: int) -> None:
    world, expert = PointHand(drops), ScriptedExpert(put_the_cube_on_the_plate, noise=0.12)
    expert.begin([4])
    run(expert, world, 400)
    assert np.linalg.norm(world.cube - [-0.1, 0.2, TABLE + 0.03]) < 0.02
    assert not world.held


def test_what_slips_into_its_place_is_left_there() -> None:
    world, expert = PointHand(drops=1, over_the_plate=True), ScriptedExpert(put_the_cube_on_the_plate, noise=0.12)
    expert.begin([4])
    labels = run(expert, world, 400)
    assert np.linalg.norm(world.cube[:2] - [-0.1, 0.2]) < 0.02
    assert np.count_nonzero(np.diff(labels[:, 6]) > 0) == 1  # it was gripped once


def test_a_tilt_leans_the_fingers_toward_the_hands_own_x_axis() -> None:
    arm = Arm(Style(gain=2.0, speed=1.0, pause=0, detour=np.zeros(3)))
    arm.yaw, arm.tilt = np.pi / 2, 0.5
    fingers = np.array([0.0, np.sin(0.5), -np.cos(0.5)])  # forward along world y, and down
    across = np.array([1.0, 0.0, 0.0])  # they close along world x
    arm.see = {"hand.position": np.zeros(3), "hand.rotation": np.stack([np.cross(across, fingers), across, fingers]).T}
    np.testing.assert_allclose(arm.toward(np.zeros(3))[3:6], 0.0, atol=1e-12)
    arm.tilt = 0.7
    turn = arm.toward(np.zeros(3))[3:6]
    assert turn[0] > 0.1
    np.testing.assert_allclose(turn[1:], 0.0, atol=1e-12)


def test_pushing_goes_on_until_it_is_done() -> None:
    arm = Arm(Style(gain=2.0, speed=1.0, pause=0, detour=np.zeros(3)))
    arm.see = {"hand.position": np.zeros(3), "hand.rotation": DOWN}
    ahead, actions = np.array([0.0, 0.05, 0.0]), []
    actions.extend(arm.push(lambda: arm.position + ahead, done=lambda: len(actions) >= 7))
    assert len(actions) == 7
    assert all(action[1] > 0.9 for action in actions)
    assert len(list(arm.push(lambda: ahead, done=lambda: False, patience=5))) == 5


def test_equal_episodes_act_equally_and_others_do_not() -> None:
    paths = []
    for episode in (7, 7, 8):
        world, expert = PointHand(), ScriptedExpert(put_the_cube_on_the_plate, noise=0.12)
        expert.begin([episode])
        paths.append(run(expert, world, 60))
    np.testing.assert_array_equal(paths[0], paths[1])
    assert np.abs(paths[0] - paths[2]).max() > 0.05


def test_a_restored_expert_goes_on_as_the_original_did() -> None:
    world, expert = PointHand(), ScriptedExpert(put_the_cube_on_the_plate, noise=0.12)
    expert.begin([3])
    run(expert, world, 50)
    saved, hand, cube, held = expert.save(), world.hand.copy(), world.cube.copy(), world.held
    ahead = run(expert, world, 40)
    world.hand, world.cube, world.held = hand, cube, held
    expert.restore(saved)
    np.testing.assert_array_equal(run(expert, world, 40), ahead)


@pytest.mark.parametrize("noise", [0.0, 0.04, 0.12])
def test_executed_actions_differ_from_labels_by_the_noise_but_never_in_the_gripper(noise: float) -> None:
    world, expert = PointHand(), ScriptedExpert(put_the_cube_on_the_plate, noise)
    expert.begin([0])
    pairs = []
    for _ in range(120):
        label, executed = expert.act(world)  # type: ignore[arg-type]
        pairs.append((label[0], executed[0]))
        world.step(executed[0])
    labels, executed = map(np.array, zip(*pairs, strict=True))
    assert np.abs(labels).max() <= 1.0
    assert np.abs(executed).max() <= 1.0
    np.testing.assert_array_equal(labels[:, 6], executed[:, 6])
    assert set(labels[:, 6]) == {OPEN, CLOSED}
    assert 0.4 * noise <= (executed - labels)[:, :3].std() <= 1.7 * noise


def test_the_funnel_sinks_only_when_it_is_above_its_target() -> None:
    arm = Arm(Style(gain=2.0, speed=1.0, pause=0, detour=np.zeros(3)))
    target = np.array([0.0, 0.0, 1.0])
    for aside, sinks in ((0.03, False), (0.002, True)):
        arm.see = {"hand.position": target + np.array([aside, 0.0, 0.05]), "hand.rotation": DOWN}
        action = next(arm.descend(lambda: target))
        assert (action[2] < -0.5) == sinks


@pytest.mark.parametrize(("yaw", "to"), [(3.0, 0.0), (-1.6, 1.4), (0.3, 7.0)])
def test_nearest_half_turn(yaw: float, to: float) -> None:
    found = nearest_half_turn(yaw, to)
    assert abs(found - to) <= np.pi / 2
    assert np.isclose(np.sin(found - yaw), 0.0)


def test_pictures_are_averaged_in_blocks() -> None:
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[:2, 2:] = [[[255, 1, 0], [255, 2, 0]], [[255, 2, 0], [255, 2, 0]]]
    small = average_down(picture, 2)
    np.testing.assert_array_equal(small[0, 1], [255, 2, 0])
    assert small[1].sum() == small[0, 0].sum() == 0


def test_the_state_is_millimetres_rotation_columns_and_joints() -> None:
    turned = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    seen = {
        "stove.position": np.array([0.1, 0.2, 0.3]),
        "stove.rotation": turned,
        "stove_knob.joint": np.array(0.7),
        "drawer.joint": np.array(9.0),
    }
    np.testing.assert_allclose(state_of(seen, ["stove"]), [100, 200, 300, 0, 1, 0, -1, 0, 0, 0.7])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite": "libero_11"}, "did you mean 'libero_10'"),
        ({"image_size": 60}, "multiple of image_size 60"),
        ({"noise": 1.0}, "noise: expected at least 0 and less than 1, got 1.0"),
    ],
)
def test_wrong_fields_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Libero(**changes)


@pytest.mark.parametrize(
    ("protocol", "other", "episodes", "shared"),
    [
        ("fixed", "demonstrations", 15, 15),
        ("fixed", "demonstrations", 50, 35),
        ("test", "demonstrations", 15, 0),
        ("random", "random", 9, 9),
        ("random", "random_demonstrations", 9, 0),
        ("random", "demonstrations", 9, 0),
    ],
)
def test_it_is_known_which_initial_states_are_new(protocol: str, other: str, episodes: int, shared: int) -> None:
    assert Libero().shared_starts(protocol, other, episodes) == shared


def test_tasks_are_demonstrated_alone_and_learned_together() -> None:
    both = Libero(tasks=(2, 8))
    alone = [both.alone(task) for task in range(2)]
    assert alone == [(Libero(tasks=(2,)), 0), (Libero(tasks=(8,)), 0)]
    assert alone[0][0].united([suite for suite, _ in alone]) == both
    assert [both.task_of(suite, task) for suite, task in alone] == [0, 1]
    with pytest.raises(ValueError, match="differ in more than their tasks"):
        both.united([both, Libero(tasks=(2,), image_size=32)])


@pytest.mark.parametrize(
    ("protocol", "episodes", "message"),
    [("test", 16, "'test' has 15 initial states"), ("fixed", 51, "has 50"), ("randon", 1, "did you mean 'random'")],
)
def test_a_protocol_says_before_any_training_what_it_does_not_have(protocol: str, episodes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Libero().check_episodes(protocol, episodes)
    for enough in (("test", 15), ("fixed", 50), ("random", 1000), ("demonstrations", 70)):
        Libero().check_episodes(*enough)


def test_a_task_without_a_script_says_which_tasks_have_one() -> None:
    with pytest.raises(
        ValueError, match=r"no scripted expert for libero_90 task 3; .* libero_10, libero_object, libero_sp"
    ):
        script_for("libero_90", 3)
