"""The arm's controller: what robosuite's computes, to the last bit, in a third of its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

ARM = 6  # action values that move the arm; what follows opens and closes the fingers


class ArmController:
    """robosuite's operational-space control of one arm and its gripper (`Robot.control`), read straight off MuJoCo.

    robosuite looks up names, and computes each Jacobian twice, at every physics step. Here the same functions get the
    same arrays in the same memory layout, on which the last bits of a product depend. What the controller remembers
    stays in robosuite's own objects: the goal in `robot.controller`, the fingers' command in `robot.gripper`.
    """

    def __init__(self, robot: Any, model: Any, data: Any) -> None:
        import mujoco
        from robosuite.utils import control_utils

        self._mujoco: Any = mujoco
        self._law: Any = control_utils
        self._robot, self._model, self._data = robot, model, data
        self._joints, self._angles = run(robot._ref_joint_vel_indexes), run(robot._ref_joint_pos_indexes)
        self._motors = run(robot._ref_joint_actuator_indexes)
        self._fingers = run(robot._ref_joint_gripper_actuator_indexes)
        self._weakest, self._strongest = robot.torque_limits
        low, high = model.actuator_ctrlrange[self._fingers].T
        self._middle, self._reach = 0.5 * (high + low), 0.5 * (high - low)
        # Views of the simulator's memory, which stays where it is, and room for what is computed at every step.
        self._position = data.site_xpos[robot.eef_site_id]
        self._rotation = data.site_xmat[robot.eef_site_id].reshape(3, 3)
        self._linear, self._angular = np.zeros((2, 3, model.nv))
        self._inertia = np.zeros((model.nv, model.nv))

    def command(self, action: Float[np.ndarray, " 7"], first: bool) -> None:
        """Commands the motors for the next physics step, after `mj_step1` has evaluated positions and velocities.

        The `first` command of a control step also sets the goal, from where the hand is then.
        """
        controller = self._robot.controller
        if not controller.new_update:  # just reset: robosuite's first command follows from where the arm was put then
            self._robot.control(action, policy_step=first)
            return
        if first:
            controller.ee_pos, controller.ee_ori_mat = self._position.copy(), self._rotation.copy()
            controller.new_update = False  # else it would evaluate the dynamics once more to look for itself
            controller.set_goal(action[:ARM])
            controller.new_update = True
        self._data.ctrl[self._motors] = np.clip(self._torques(), self._weakest, self._strongest)
        self._data.ctrl[self._fingers] = self._middle + self._reach * self._robot.gripper.format_action(action[ARM:])

    def _torques(self) -> Float[np.ndarray, " joints"]:
        data, joints, controller = self._data, self._joints, self._robot.controller
        self._mujoco.mj_jacSite(self._model, data, self._linear, self._angular, self._robot.eef_site_id)
        self._mujoco.mj_fullM(self._model, data, self._inertia)
        linear, angular = np.asfortranarray(self._linear[:, joints]), np.asfortranarray(self._angular[:, joints])
        both, inertia = np.concatenate([linear, angular]), np.asfortranarray(self._inertia[joints, joints])

        off, turned = (
            controller.goal_pos - self._position,
            self._law.orientation_error(controller.goal_ori, self._rotation),
        )
        stiffness, damping = controller.kp, controller.kd
        force = off * stiffness[:3] + -np.dot(self._linear, data.qvel) * damping[:3]
        torque = turned * stiffness[3:] + -np.dot(self._angular, data.qvel) * damping[3:]
        _, mass, moment, free = self._law.opspace_matrices(inertia, both, linear, angular)
        wrench = np.concatenate([np.dot(mass, force), np.dot(moment, torque)])
        posture = self._law.nullspace_torques(
            inertia, free, controller.initial_joint, data.qpos[self._angles], data.qvel[joints]
        )
        return np.dot(both.T, wrench) + data.qfrc_bias[joints] + posture


def run(indices: Sequence[int]) -> slice:
    """Consecutive indices as a slice, which reads and writes without a copy."""
    first, last = int(indices[0]), int(indices[-1])
    assert list(indices) == list(range(first, last + 1)), f"expected consecutive indices, got {indices}"
    return slice(first, last + 1)
