"""LIBERO's simulator: a task loaded once, whose state comes and goes as a vector. All else sees only this class."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from compression_gap.suites.libero.controller import ArmController
from compression_gap.suites.libero.pictures import Pictures, Rendering, no_graphics

CAMERAS = {"agentview": "agentview", "eye_in_hand": "robot0_eye_in_hand"}
STAND_STILL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])  # the gripper opens
ACTIONS = len(STAND_STILL)

Snapshot = np.ndarray  # Float64: everything that the future of a simulation depends on


class World:
    """One LIBERO task in memory.

    A function from snapshots to snapshots: between two calls nothing of an episode stays behind, so one loaded task
    (1-2 GB) serves any number of environments, and a restored continuation equals the original to the last bit.
    """

    def __init__(self, bddl_file: Path, *, rendering: Rendering, render_size: int) -> None:
        import_simulator()
        import mujoco
        from libero.libero.envs.env_wrapper import ControlEnv

        self._mujoco: Any = mujoco  # its functions are compiled, and unknown to type checkers
        self._bddl_file, self._render_size = bddl_file, render_size
        self._rendering: Rendering = rendering
        with _numpy_seed(0):
            control = ControlEnv(
                bddl_file_name=str(bddl_file),
                use_camera_obs=False,
                has_offscreen_renderer=False,
                hard_reset=False,
                ignore_done=True,
            )
        self._env = control.env
        self._env._observables = {}  # they would be computed at every physics step, and nobody reads them
        self._sim = self._env.sim
        self._model, self._data = self._sim.model._model, self._sim.data._data
        self._env.visualize(dict.fromkeys(self._env._visualizations, False))  # else only a reset hides them
        self._robot = self._env.robots[0]
        self._controller = ArmController(self._robot, self._model, self._data)
        self._pictures: Pictures | None = None
        self._loaded: Snapshot | None = None

        self._state_kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._num_state = self._mujoco.mj_stateSize(self._model, self._state_kind)
        self._fixtures = [self._body(fixture.root_body) for fixture in self._env.fixtures_dict.values()]
        self._hand = self._body(self._robot.robot_model.eef_name)
        self._grip_site = self._robot.eef_site_id
        self._fingers = list(self._robot._ref_gripper_joint_pos_indexes)
        names = [self._model.body(body).name for body in range(self._model.nbody)]
        things = tuple(f"{name}_" for name in (*self._env.objects_dict, *self._env.fixtures_dict))
        self._bodies = {n.removesuffix("_main"): b for b, n in enumerate(names) if n.startswith(things)}
        self._sites = {name: self._model.site(name).id for name in self._env.object_sites_dict}
        self._joints = {
            name: int(self._model.jnt_qposadr[self._model.joint(name).id])
            for fixture in self._env.fixtures_dict.values()
            for name in fixture.joints
        }

    def start(self, seed: int, state: Float[np.ndarray, " numbers"] | None, settle_steps: int) -> Snapshot:
        """A settled episode start: a reset drawn with `seed`, then LIBERO's fixed initial state if one is given.

        The reset comes first even then, because it moves the fixtures, whose poses no initial state contains.
        """
        from robosuite.utils.errors import RandomizationError

        for body in self._fixtures:  # as freshly loaded, so that no earlier episode shows through
            self._model.body_pos[body], self._model.body_quat[body] = 0.0, (1.0, 0.0, 0.0, 0.0)
        self._robot.gripper.current_action = np.zeros(2)
        with _numpy_seed(seed):
            for _ in range(100):
                try:
                    self._env.reset()
                    break
                except RandomizationError:  # objects overlapped: LIBERO draws again
                    continue
            else:
                raise RuntimeError(f"LIBERO found no free places for the objects of {self._bddl_file} (seed {seed})")
        if state is not None:
            self._set(state)
        snapshot = self._remember()
        for _ in range(settle_steps):
            snapshot = self.step(snapshot, STAND_STILL)
        return snapshot

    def recorded_start(self, scene: Float[np.ndarray, " scene"], state: Float[np.ndarray, " numbers"]) -> Snapshot:
        """An episode start as a file has it: a recorded scene, and the state (`flat_state`) that belongs to it."""
        self.start(0, None, 0)
        self._place_fixtures(scene[self._model.nq :])
        self._set(state)
        return self._remember()

    def _set(self, state: Float[np.ndarray, " numbers"]) -> None:
        """Time, positions and velocities as `flat_state` has them, with nothing left of what was before."""
        self._sim.set_state_from_flattened(state)
        self._data.qacc_warmstart[:] = 0.0

    def step(self, snapshot: Snapshot, action: Float[np.ndarray, " 7"]) -> Snapshot:
        """The snapshot after one control step (1/20 s, 25 physics steps)."""
        self.load(snapshot)
        substeps = int(self._env.control_timestep / self._env.model_timestep)
        # mj_step1 and mj_step2 are one mj_step with the controller between them. robosuite instead evaluates the same
        # dynamics three times a physics step, which costs 1.6 times as much for numbers that agree to 1e-6.
        for substep in range(substeps):
            self._mujoco.mj_step1(self._model, self._data)
            self._controller.command(action, first=substep == 0)
            self._mujoco.mj_step2(self._model, self._data)
        return self._remember()

    def load(self, snapshot: Snapshot) -> None:
        """Makes the snapshot the present state, for the methods below."""
        if snapshot is self._loaded:
            return
        rest = self._num_state
        self._mujoco.mj_setState(self._model, self._data, snapshot[:rest], self._state_kind)
        self._place_fixtures(snapshot[rest : (rest := rest + 7 * len(self._fixtures))])
        controller = self._robot.controller
        controller.goal_pos = snapshot[rest : rest + 3].copy()
        controller.goal_ori = snapshot[rest + 3 : rest + 12].reshape(3, 3).copy()
        controller.new_update = True
        self._robot.gripper.current_action = snapshot[rest + 12 :].copy()
        self._mujoco.mj_fwdPosition(self._model, self._data)
        self._loaded = snapshot

    def success(self) -> bool:
        """Whether the task's goal holds."""
        return bool(self._env._check_success())

    def proprioception(self) -> Float[np.ndarray, " 9"]:
        """End-effector position (m), hand quaternion x y z w with x >= 0, the two finger joints (m)."""
        quaternion = np.roll(self._data.xquat[self._hand], -1)
        quaternion = quaternion if quaternion[0] >= 0 else -quaternion  # the hand points down: w hovers around 0
        return np.concatenate([self._data.site_xpos[self._grip_site], quaternion, self._data.qpos[self._fingers]])

    def privileged(self) -> Mapping[str, np.ndarray]:
        """Positions [3] (m) and rotations [3, 3] of the hand, things, their parts and regions; joints of fixtures."""
        found = {
            "hand.position": self._data.site_xpos[self._grip_site].copy(),
            "hand.rotation": self._data.xmat[self._hand].reshape(3, 3).copy(),
            "hand.fingers": self._data.qpos[self._fingers],
        }
        for name, body in self._bodies.items():
            found[f"{name}.position"] = self._data.xpos[body].copy()
            found[f"{name}.rotation"] = self._data.xmat[body].reshape(3, 3).copy()
        for name, site in self._sites.items():
            found[f"{name}.position"] = self._data.site_xpos[site].copy()
            found[f"{name}.rotation"] = self._data.site_xmat[site].reshape(3, 3).copy()
        for name, address in self._joints.items():
            found[f"{name}.joint"] = self._data.qpos[address].copy()
        return found

    def scene(self) -> Float[np.ndarray, " scene"]:
        """What a picture depends on: all joint positions and the poses of the fixtures."""
        return np.concatenate([self._data.qpos, self._fixture_poses()])

    def load_scene(self, scene: Float[np.ndarray, " scene"]) -> None:
        """Makes a recorded scene the present one, for `picture`."""
        self._loaded = None
        self._data.qpos[:] = scene[: self._model.nq]
        self._place_fixtures(scene[self._model.nq :])
        self._mujoco.mj_fwdPosition(self._model, self._data)

    def recorded_scene(
        self, state: Float[np.ndarray, " numbers"], bodies: Mapping[str, Float[np.ndarray, " 7"]]
    ) -> Float[np.ndarray, " scene"]:
        """The scene of a state as LIBERO's files keep it (`flat_state`), with poses of bodies by their names.

        Raises ValueError if they do not belong to this task.
        """
        expected = 1 + self._model.nq + self._model.nv
        if len(state) != expected:
            raise ValueError(f"its states have {len(state)} numbers, and this task's simulator {expected}")
        names = [self._model.body(body).name for body in self._fixtures]
        if missing := [name for name in names if name not in bodies]:
            raise ValueError(f"its model has no {', '.join(missing)}, and this task's simulator has")
        poses = [bodies[name] for name in names]
        return np.concatenate([state[1 : 1 + self._model.nq], *poses])

    def flat_state(self) -> Float[np.ndarray, " numbers"]:
        """Time, positions and velocities, as LIBERO's initial states and files have them."""
        return np.concatenate([[self._data.time], self._data.qpos, self._data.qvel])

    def joints(self) -> Float[np.ndarray, " 7"]:
        """Angles of the arm's joints in rad."""
        return self._data.qpos[self._robot._ref_joint_pos_indexes].copy()

    def xml(self) -> str:
        """The model, with the fixtures where they are."""
        return self._sim.model.get_xml()

    def picture(self, camera: str) -> UInt8[np.ndarray, "size size 3"]:
        """The present scene, upright, in the size that was asked for at the beginning."""
        self._pictures = self._pictures or Pictures(self._model, self._rendering, self._render_size)
        self._env._post_process()  # a stove that is on glows
        return self._pictures.picture(self._data, CAMERAS[camera])

    def close(self) -> None:
        """Frees the graphics context; a later picture makes a new one."""
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None

    def _remember(self) -> Snapshot:
        """The present state as a snapshot, with everything that can be read off it brought up to date."""
        # Not mj_forward: that would solve for contact forces once more and change the solver's warm start.
        self._mujoco.mj_fwdPosition(self._model, self._data)
        physics = np.empty(self._num_state)
        self._mujoco.mj_getState(self._model, self._data, physics, self._state_kind)
        controller, gripper = self._robot.controller, self._robot.gripper
        goal = [controller.goal_pos, np.ravel(controller.goal_ori)]
        self._loaded = np.concatenate([physics, self._fixture_poses(), *goal, gripper.current_action])
        return self._loaded

    def _fixture_poses(self) -> Float[np.ndarray, " poses"]:
        poses = [self._model.body_pos[self._fixtures], self._model.body_quat[self._fixtures]]
        return np.concatenate(poses, axis=1).ravel()

    def _place_fixtures(self, poses: Float[np.ndarray, " poses"]) -> None:
        poses = poses.reshape(len(self._fixtures), 7)
        self._model.body_pos[self._fixtures], self._model.body_quat[self._fixtures] = poses[:, :3], poses[:, 3:]

    def _body(self, name: str) -> int:
        return self._model.body(name).id


_loaded: dict[tuple[Path, Rendering, int], World] = {}


def load_world(bddl_file: Path, rendering: Rendering, render_size: int) -> World:
    """The loaded task. A process keeps the last one only, because each takes 1-2 GB."""
    key = (bddl_file, rendering, render_size)
    if key not in _loaded:
        for world in _loaded.values():
            world.close()  # somebody may still hold it
        _loaded.clear()
        gc.collect()  # robosuite's objects point at each other
        _loaded[key] = World(bddl_file, rendering=rendering, render_size=render_size)
    return _loaded[key]


@cache
def import_simulator() -> None:
    """Imports robosuite, quietly, with a GL that works without a display.

    Raises OSError with the cure if GL does not work.
    """
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    logger = logging.getLogger("robosuite_logs")
    logger.addFilter(lambda record: record.levelno > logging.WARNING)  # it advises to write into its own folder
    try:
        import robosuite  # noqa: F401
    except (ImportError, AttributeError, RuntimeError) as error:
        raise no_graphics(error) from error


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """LIBERO draws from NumPy's global generator: seeds it, and gives it back as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
