"""LIBERO itself: needs the extra `libero` and libosmesa6. Two tasks are loaded once for the whole file."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compression_gap.agent import AgentSpec
from compression_gap.encoders.convnet import ConvNet
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.suites.base import state_hashes
from compression_gap.suites.libero.benchmark import MAX_STEPS, SUITES, load_tasks
from compression_gap.suites.libero.suite import PROTOCOLS, Libero, LiberoSimulators, LiberoSuite
from compression_gap.suites.libero.world import CAMERAS, World

PINNED = Path(__file__).parents[1] / "golden" / "libero.json"
CURE = """If the change is intended: raise `version` of Libero in suites/libero/suite.py, then write new numbers with:
python -m pytest tests/simulators/test_libero.py --rewrite-golden"""
LOOKS = ("proprioception", "state", "stamp")
STILL = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]])


@pytest.fixture(scope="module")
def stove() -> Iterator[LiberoSuite]:
    suite = Libero(suite="libero_10", tasks=(2,)).build()
    yield suite
    suite.world(0).close()


@pytest.fixture(scope="module")
def soup() -> Iterator[LiberoSuite]:
    suite = Libero(suite="libero_object", tasks=(0,)).build()
    yield suite
    suite.world(0).close()


def started(suite: LiberoSuite, index: int = 0, protocol: str = "demonstrations") -> LiberoSimulators:
    simulators = suite.simulators(0, 1)
    simulators.reset(suite.initial_states(0, protocol, [index]), [index])
    return simulators


def demonstrate(suite: LiberoSuite, index: int, steps: int | None = None) -> tuple[LiberoSimulators, np.ndarray]:
    """The simulators after an episode of the expert, and the actions that were executed."""
    simulators, expert = started(suite, index), suite.expert(0)
    expert.begin([index])
    executed = []
    for _ in range(steps or suite.legend.max_steps):
        if simulators.done()[0]:
            break
        executed.append(expert.act(simulators)[1])
        simulators.step(executed[-1])
    return simulators, np.array(executed)


def random_actions(num: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.7, 0.7, (steps, num, 7))


def test_the_expert_solves_the_task_and_its_stored_actions_do_so_again(stove: LiberoSuite) -> None:
    simulators, executed = demonstrate(stove, 3)
    assert simulators.outcome()["success"][0]
    knob, pot = simulators.privileged()["flat_stove_1_button.joint"], simulators.privileged()["moka_pot_1.position"]
    burner = simulators.privileged()["flat_stove_1_cook_region.position"]
    assert knob[0] > 0.5
    assert np.linalg.norm((pot - burner)[0, :2]) < 0.075

    replay = started(stove, 3)
    for action in executed.astype(np.float32):
        replay.step(action)
    assert replay.done()[0]
    np.testing.assert_array_equal(replay.scene(), simulators.scene())


def test_the_expert_puts_the_soup_into_the_basket(soup: LiberoSuite) -> None:
    simulators, executed = demonstrate(soup, 5)
    assert simulators.outcome()["success"][0]
    assert 50 < len(executed) < soup.legend.max_steps


def test_an_episode_is_what_this_version_makes(stove: LiberoSuite, request: pytest.FixtureRequest) -> None:
    simulators, expert, seen = started(stove, 4), stove.expert(0), []
    expert.begin([4])
    for step in range(61):  # long enough to turn the knob
        if step % 20 == 0:
            looks = simulators.observe(("proprioception", "state"))
            seen.append({name: look[0].astype(np.float64).round(5).tolist() for name, look in looks.items()})
        simulators.step(expert.act(simulators)[1])
    pictures = simulators.observe(stove.legend.cameras)
    colours = {name: picture[0].mean(axis=(0, 1)).round(2).tolist() for name, picture in pictures.items()}
    if request.config.getoption("--rewrite-golden"):
        made = {"version": Libero.version, "seen": seen, "colours": colours}
        PINNED.write_text(json.dumps(made).replace("}, ", "},\n") + "\n")
    pinned = json.loads(PINNED.read_text())
    assert pinned["version"] == Libero.version, CURE
    for now, then in zip(seen, pinned["seen"], strict=True):
        assert now["proprioception"] == pytest.approx(then["proprioception"], abs=1e-3), CURE  # 1 mm
        change = np.subtract(now["state"], then["state"]) / stove.legend.state_scale
        assert np.abs(change).max() < 0.5, CURE  # half a millimetre
    for camera, colour in pinned["colours"].items():
        assert colours[camera] == pytest.approx(colour, abs=0.5), CURE


def test_a_restored_continuation_equals_the_original_to_the_last_bit(stove: LiberoSuite) -> None:
    simulators, _ = demonstrate(stove, 1, steps=40)  # the fingers are closed around the knob
    saved, actions = simulators.save(), random_actions(1, 50)

    def go_on() -> list[np.ndarray]:
        path = []
        for action in actions:
            simulators.step(action)
            path += [simulators.scene(), *simulators.observe(LOOKS).values()]
        return path

    original = go_on()
    simulators.reset(stove.initial_states(0, "test", [3]), [9])
    simulators.restore(saved)
    for again, before in zip(go_on(), original, strict=True):
        np.testing.assert_array_equal(again, before)


def test_environments_that_share_a_world_do_not_touch_each_other(stove: LiberoSuite) -> None:
    together, actions = stove.simulators(0, 2), random_actions(2, 10)
    together.reset(stove.initial_states(0, "demonstrations", [0, 1]), [0, 1])
    for action in actions:
        together.step(action)
    for row in range(2):
        alone = started(stove, row)
        for action in actions:
            alone.step(action[row : row + 1])
        np.testing.assert_array_equal(alone.scene()[0], together.scene()[row])
        np.testing.assert_array_equal(alone.observe(LOOKS)["stamp"][0], together.observe(LOOKS)["stamp"][row])


def test_a_step_agrees_with_robosuites_own(stove: LiberoSuite) -> None:
    simulators, world = started(stove), stove.world(0)
    actions = random_actions(1, 20)
    start = simulators.scene()
    for action in actions:
        simulators.step(action)
    ours = simulators.scene()

    simulators.reset(stove.initial_states(0, "demonstrations", [0]), [0])
    np.testing.assert_array_equal(simulators.scene(), start)
    for action in actions:
        world._env.step(action[0])
    robosuites = world.scene()
    world._loaded = None  # its state was changed behind its back
    np.testing.assert_allclose(ours[0], robosuites, atol=1e-5)
    assert np.abs(ours - start).max() > 0.05


def test_the_arms_commands_are_robosuites_to_the_last_bit(stove: LiberoSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    simulators, _ = demonstrate(stove, 4, steps=30)  # the hand has come down to the knob
    world, saved, actions = stove.world(0), simulators.save(), random_actions(1, 10)
    actions[3] = STILL  # no turn is asked for, so the old goal stays
    own, counted = world._controller.command, []

    def both(action: np.ndarray, first: bool) -> None:
        robot, data = world._robot, world._data
        controller, fingers = robot.controller, robot.gripper.current_action
        goal, turn = controller.goal_pos, controller.goal_ori
        own(action, first)
        ours = [data.ctrl.copy(), controller.goal_pos, controller.goal_ori, robot.gripper.current_action]
        controller.goal_pos, controller.goal_ori, robot.gripper.current_action = goal, turn, fingers
        robot.control(action, policy_step=first)
        theirs = [data.ctrl, controller.goal_pos, controller.goal_ori, robot.gripper.current_action]
        for mine, robosuites in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, robosuites)
        counted.append(first)

    simulators.restore(saved)
    with monkeypatch.context() as patched:
        patched.setattr(world._sim, "forward", lambda: None, raising=False)  # mj_step1 has just done it
        patched.setattr(world._controller, "command", both)
        for action in actions:
            simulators.step(action)
    assert (len(counted), sum(counted)) == (250, 10)


# a stove that glows when it is on, a living room, and a rack that lets light through
@pytest.mark.parametrize(("task", "backdrops"), [(2, 2), (4, 1), (3, 0)])
def test_fast_pictures_equal_what_is_drawn_at_once_with_everything_in_it(
    task: int, backdrops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Libero(tasks=(task,), image_size=128).build()
    simulators, expert, world = started(suite, 1), suite.expert(0), suite.world(0)
    expert.begin([1])
    cameras, seen = suite.legend.cameras, []
    for _ in range(12):
        drawn, pictures = simulators.observe(cameras), world._pictures
        hidden = [(~pictures._in_sight(world._data, CAMERAS[camera])).sum() for camera in cameras]
        assert hidden[0] > 5
        assert hidden[1] > 40
        seen += [backdrop for _, backdrop in pictures._backdrops.values()]
        with monkeypatch.context() as patched:
            patched.setattr(pictures, "_fast", False)
            for camera, picture in simulators.observe(cameras).items():
                np.testing.assert_array_equal(drawn[camera], picture)
        for _ in range(25):
            simulators.step(expert.act(simulators)[1])
    assert len({id(backdrop) for backdrop in seen}) == backdrops


def test_states_are_settled_and_depend_on_nothing_but_their_number(stove: LiberoSuite) -> None:
    first = stove.initial_states(0, "demonstrations", [2, 37])
    np.testing.assert_array_equal(first["snapshot"][0], first["snapshot"][1])
    demonstrate(stove, 0, steps=5)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(stove.initial_states(0, "demonstrations", [2])["snapshot"], first["snapshot"][:1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)

    simulators = started(stove, 2)
    here = simulators.privileged()
    for _ in range(20):
        simulators.step(STILL)
    later = simulators.privileged()
    for name in ("moka_pot_1.position", "chefmate_8_frypan_1.position", "flat_stove_1.position"):
        assert np.abs(later[name] - here[name]).max() < 5e-4


def test_protocols_are_liberos_states_and_those_for_training_and_judging_do_not_overlap(stove: LiberoSuite) -> None:
    fixed = load_tasks("libero_10")[2].initial_states()
    assert fixed.shape == (50, 47)
    states = {p: stove.initial_states(0, p, range(3)) for p in PROTOCOLS if p != "fixed"}
    hashes = [name for some in states.values() for name in state_hashes(some)]
    assert len(set(hashes)) == len(hashes)
    assert state_hashes(stove.initial_states(0, "fixed", [0, 35])) == [hashes[0], hashes[3]]
    simulators = started(stove, 0, "test")
    pot = fixed[35, 1 + 9 + 7 : 1 + 9 + 10]  # after the time, the arm and the pan
    assert np.linalg.norm(simulators.privileged()["moka_pot_1.position"][0, :2] - pot[:2]) < 2e-3
    stoves = [some["snapshot"][:, -21:-14] for some in states.values()]
    assert np.ptp(np.concatenate(stoves)[:, :2], axis=0).min() > 1e-3  # each state has its own place for the stove


def test_drawn_scenes_are_the_observed_pictures(stove: LiberoSuite) -> None:
    simulators, _ = demonstrate(stove, 2, steps=70)  # by now the burner glows
    scenes, pictures = [simulators.scene()[0]], [simulators.observe(stove.legend.cameras)]
    start = started(stove, 4)
    scenes.append(start.scene()[0])
    pictures.append(start.observe(stove.legend.cameras))
    for camera in stove.legend.cameras:
        drawn = stove.draw(0, np.stack([scenes[1], scenes[0], scenes[1]]), camera)
        assert drawn.shape == (3, 64, 64, 3)
        np.testing.assert_array_equal(drawn[0], pictures[1][camera][0])
        np.testing.assert_array_equal(drawn[1], pictures[0][camera][0])
        np.testing.assert_array_equal(drawn[2], drawn[0])
        assert drawn[0].std() > 20
    off, on = scenes[0].copy(), scenes[0].copy()
    knob = stove.world(0)._joints["flat_stove_1_button"]
    off[knob], on[knob] = 0.49, 0.51
    dark, glowing = stove.draw(0, np.stack([off, on]), "agentview").astype(int)
    redder = (glowing - dark)[..., 0] - (glowing - dark)[..., 1]
    assert redder.max() > 50


def test_a_fresh_process_draws_as_a_simulation_does() -> None:
    """Demonstrations are drawn where nothing was ever reset; a reset hides the markers that robosuite draws."""
    suite = Libero(suite="libero_10", tasks=(2,)).build()
    scene = suite.world(0).scene()[None]
    before = {camera: suite.draw(0, scene, camera) for camera in suite.legend.cameras}
    suite.initial_states(0, "test", [0])
    for camera, picture in before.items():
        np.testing.assert_array_equal(suite.draw(0, scene, camera), picture)
    suite.world(0).close()


def test_a_world_that_goes_takes_no_other_worlds_pictures_along() -> None:
    """Graphics are freed by number in the current context: an old world's must not be the new one's."""
    suite = Libero(suite="libero_10", tasks=(2,)).build()
    place = load_tasks("libero_10")[2].bddl_file
    old = World(place, rendering="fast", render_size=suite.spec.render_size)
    new = World(place, rendering="fast", render_size=suite.spec.render_size)
    old.picture("eye_in_hand")
    before = {camera: new.picture(camera) for camera in CAMERAS}
    old.close()
    for camera, picture in before.items():
        np.testing.assert_array_equal(new.picture(camera), picture)
    np.testing.assert_array_equal(old.picture("eye_in_hand"), before["eye_in_hand"])  # in a context made anew
    new.picture("eye_in_hand")  # whose context is the current one when the other is deleted
    del old
    gc.collect()
    assert before["eye_in_hand"].std() > 10
    for camera, picture in before.items():
        np.testing.assert_array_equal(new.picture(camera), picture)
    new.close()


def test_pictures_are_upright_and_not_mirrored(stove: LiberoSuite) -> None:
    """What changes in the picture when the fingers move is where the camera model says that the fingers are."""
    simulators, world = started(stove), stove.world(0)
    moved = simulators.scene()[0].copy()
    moved[world._fingers] = 0.0
    still, changed = stove.draw(0, np.stack([simulators.scene()[0], moved]), "agentview").astype(int)
    rows, columns = np.nonzero(np.abs(changed - still).sum(axis=2) > 30)
    simulators.observe(("stamp",))
    camera, data = world._model.camera("agentview").id, world._data
    seen = (data.site_xpos[world._grip_site] - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)
    focal = 32.0 / np.tan(np.radians(world._model.cam_fovy[camera]) / 2.0)
    column, row = 32.0 - focal * seen[0] / seen[2], 32.0 + focal * seen[1] / seen[2]
    assert len(rows) > 3
    assert abs(np.median(rows) - row) < 4
    assert abs(np.median(columns) - column) < 4
    assert abs(row - 32) > 8  # so that a picture upside down would be noticed


def test_actions_mean_what_the_legend_says(stove: LiberoSuite) -> None:
    for value, (name, limit) in enumerate([("x", 50), ("y", 50), ("z", 50)]):
        simulators = started(stove)
        before = simulators.privileged()["hand.position"]
        action = STILL.copy()
        action[0, value] = 3.0  # clipped to 1
        for _ in range(8):
            simulators.step(action)
        moved = (simulators.privileged()["hand.position"] - before)[0] * 1000.0
        assert 0.1 * limit < moved[value] / 8 < limit, name  # asked for, not achieved
        assert np.abs(np.delete(moved, value)).max() < 0.3 * moved[value]
    controller = stove.world(0)._robot.controller
    np.testing.assert_allclose(stove.legend.action_scale[:3], controller.output_max[:3] * 1000.0)
    np.testing.assert_allclose(stove.legend.action_scale[3:6], np.degrees(controller.output_max[3:]))
    fingers = {}
    for sign in (-1.0, 1.0):
        simulators, action = started(stove), STILL.copy()
        action[0, stove.legend.gripper[0]] = sign
        for _ in range(15):
            simulators.step(action)
        fingers[sign] = np.abs(simulators.observe(("proprioception",))["proprioception"][0, 7:]).sum()
    assert fingers[-1.0] > 0.07
    assert fingers[1.0] < 0.01


def test_observations_have_the_legends_widths_and_the_quaternion_does_not_flip(stove: LiberoSuite) -> None:
    simulators, expert = started(stove, 6), stove.expert(0)
    expert.begin([6])
    quaternions = []
    for _ in range(60):
        seen = simulators.observe(LOOKS)
        assert seen["proprioception"].shape == (1, len(stove.legend.proprioception))
        assert seen["state"].shape == (1, len(stove.legend.state))
        quaternions.append(seen["proprioception"][0, 3:7])
        simulators.step(expert.act(simulators)[1])
    np.testing.assert_array_equal(seen["stamp"], [[6, 59]])
    assert np.abs(np.diff(quaternions, axis=0)).max() < 0.1
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1.0, atol=1e-5)


def test_drawing_at_every_step_changes_neither_rows_nor_end(
    stove: LiberoSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy looks at 2 frames in 8 steps here; nothing else is drawn, and nothing depends on that."""
    monkeypatch.setattr(stove, "legend", replace(stove.legend, max_steps=24))
    torch.manual_seed(0)
    policy = Diffusion(width=16, layers=1, heads=2, inference_steps=2)
    agent = AgentSpec(ConvNet(), policy, None, horizon=8, history=2).build(stove.legend, stove.tasks).eval()
    agent.policy.fit(torch.rand(20, 8, 7) * 2 - 1)
    ends = []
    for always in (False, True):
        scenes = []

        def watch(task, indices, simulators, always=always, scenes=scenes) -> None:
            if always:
                simulators.observe(stove.legend.cameras)
            scenes.append(simulators.scene())

        rollouts = Rollouts("test", episodes=1, execute=8)
        rows = roll_out(AgentDriver(agent, "greedy"), stove, rollouts, (0,), 1, lambda *_: None, watch=watch)
        ends.append((rows, scenes[-1]))
    assert ends[0][0].equals(ends[1][0])
    np.testing.assert_array_equal(ends[0][1], ends[1][1])
    (row,) = ends[0][0].iter_rows(named=True)
    assert (row["protocol"], row["settle_steps"], row["rendering"], row["steps"]) == ("test", 25, "fast", 24)


def test_a_finished_environment_ignores_steps(soup: LiberoSuite) -> None:
    simulators, _ = demonstrate(soup, 0)
    assert simulators.done()[0]
    before, stamp = simulators.scene(), simulators.observe(("stamp",))["stamp"]
    simulators.step(random_actions(1, 1)[0])
    np.testing.assert_array_equal(simulators.scene(), before)
    np.testing.assert_array_equal(simulators.observe(("stamp",))["stamp"], stamp)


def test_rendering_as_libero_does_shows_the_same_thing_in_finer_quality(soup: LiberoSuite) -> None:
    reference = Libero(suite="libero_object", tasks=(0,), rendering="reference").build()
    scene = started(soup).scene()
    fine, fast = (suite.draw(0, scene, "agentview").astype(int) for suite in (reference, soup))
    reference.world(0).close()
    assert 0 < np.abs(fine - fast).mean() < 12


def test_every_suite_lists_its_tasks() -> None:
    for suite in SUITES:
        tasks = load_tasks(suite)
        assert len(tasks) == (90 if suite == "libero_90" else 10)
        assert all(task.bddl_file.is_file() and task.objects_of_interest for task in tasks)
        assert suite in MAX_STEPS


def test_without_working_graphics_the_message_names_the_cure() -> None:
    program = "from compression_gap.suites.libero.suite import Libero; Libero().build().world(0)"
    environment = {**os.environ, "MUJOCO_GL": "none_such"}
    failed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "Install the system package libosmesa6" in failed.stderr


def test_collecting_without_working_graphics_says_so_at_once_and_makes_no_store(tmp_path: Path) -> None:
    command = [
        Path(sys.executable).with_name("cgap"),
        "collect",
        "libero_10",
        "--tasks",
        "2",
        "--store",
        tmp_path / "store",
    ]
    environment = {**os.environ, "MUJOCO_GL": "none_such"}
    failed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert failed.returncode == 2
    assert "Install the system package libosmesa6" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_errors_name_what_there_is(stove: LiberoSuite) -> None:
    with pytest.raises(ValueError, match="tasks 0 to 9"):
        Libero(tasks=(10,)).build()
    with pytest.raises(ValueError, match="states 0 to 14, got 15"):
        stove.initial_states(0, "test", [15])
    with pytest.raises(ValueError, match="did you mean 'test'"):
        stove.initial_states(0, "tests", [0])
    with pytest.raises(ValueError, match="did you mean 'agentview'"):
        started(stove).observe(("agent_view",))
    with pytest.raises(ValueError, match="no task 1"):
        stove.expert(1)
    with pytest.raises(ValueError, match="no scripted expert for libero_goal task 3"):
        Libero(suite="libero_goal", tasks=(3,)).build().expert(0)
