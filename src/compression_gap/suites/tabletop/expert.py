"""The scripted expert: a proportional controller with a human hand's variation.

What it does next follows from the present state (what is held, finger opening, height, alignment), so that a policy
without memory can imitate it, and so that it goes on sensibly after actions that were not its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from compression_gap.suites.base import Expert, Simulators
from compression_gap.suites.tabletop.dynamics import (
    BLOCK_WIDTH,
    OPEN,
    STEP_MM,
    STEP_RAD,
    half_turn,
    pose_error,
    rotate,
)
from compression_gap.suites.tabletop.streams import stream

GRASP_Z = 5.0
HOVER, FUNNEL, STEEPNESS = 60.0, 4.0, 1.5
"""The gripper sinks with the alignment error: HOVER mm above its goal when far, down at it within FUNNEL mm."""
ALIGNED, STILL_ALIGNED = 3.0, 8.0
"""Errors below which fingers begin, and go on, to close; a block is let go below ALIGNED."""
CLEAR, DRAG, NEAR = 20.0, 0.05, 15.0
"""Farther than NEAR mm from the slot, a block moves at full speed once it is CLEAR mm high, and at DRAG of it below."""
LONG = 100.0
"""Ways longer than this are bent by the style's whole angle, and shorter ones by less."""
NOISE, STEADY = 0.12, 0.3
"""Standard deviation of what is added to an executed action, and the share of it that is left near the goal."""
PAUSE_CHANCE, PAUSE_STEPS, PAUSE_WITHIN = 0.05, (2, 5), 40
"""One episode in twenty stands still for 2 to 4 steps, beginning somewhere in its first 40."""


@dataclass(frozen=True)
class Style:
    """How each of E episodes is done."""

    gain: Float[np.ndarray, " E"]
    speed: Float[np.ndarray, " E"]
    bend: Float[np.ndarray, " E"]
    pause: Int[np.ndarray, "E 2"]
    """The first step of a pause and the first after it."""
    noise: Float[np.ndarray, "E steps 4"]

    @classmethod
    def sample(cls, task: int, episodes: Sequence[int], steps: int) -> Style:
        num = len(episodes)
        numbers, noise = np.empty((num, 6)), np.empty((num, steps, 4))
        for row, episode in enumerate(episodes):
            rng = stream("style", task, episode)
            numbers[row], noise[row] = rng.random(6), rng.standard_normal((steps, 4))
        gain, speed, bend, chance, start, length = numbers.T
        begin = np.floor(start * PAUSE_WITHIN)
        low, high = PAUSE_STEPS
        end = begin + (chance < PAUSE_CHANCE) * np.floor(low + (high - low) * length)
        pause = np.stack([begin, end], axis=1).astype(int)
        return cls(0.35 + 0.1 * gain, 0.85 + 0.15 * speed, 0.4 * (bend - 0.5), pause, NOISE * noise)


class TableExpert(Expert):
    """Picks the task's block at its yaw and puts it into the slot at the slot's yaw."""

    def __init__(self, task: int, steps: int) -> None:
        self.task, self.steps = task, steps

    def begin(self, episodes: Sequence[int]) -> None:
        self._style, self._step = Style.sample(self.task, episodes, self.steps), 0

    def act(self, simulators: Simulators) -> tuple[Float[np.ndarray, "E D"], Float[np.ndarray, "E D"]]:
        world, style, task = simulators.privileged(), self._style, self.task
        gripper, block, slot = world["gripper"], world["blocks"][:, task], world["slot"]
        carrying = world["held"] == task
        mover = np.where(carrying[:, None], block, gripper)[:, [0, 1, 3]]
        goal = np.where(carrying[:, None], slot, block[:, [0, 1, 3]])
        offset, turn = (goal - mover)[:, :2], half_turn(goal[:, 2] - mover[:, 2])
        error = pose_error(offset, turn)

        low = np.where(carrying, -world["grip"][:, 2], GRASP_Z)
        high = np.clip(STEEPNESS * (error - FUNNEL), 0, HOVER)
        rise = low + np.where(carrying & ~world["lifted"], HOVER, high) - gripper[:, 2]
        tolerance = np.where(carrying | (world["opening"] == OPEN), ALIGNED, STILL_ALIGNED)
        there = (gripper[:, 2] < low + FUNNEL) & (error < tolerance)
        may_grasp = (world["held"] < 0) & (world["opening"] > BLOCK_WIDTH)
        close = np.where(carrying, ~(there & world["lifted"]), there & may_grasp)

        label = np.zeros((simulators.num, 7))
        distance = np.sqrt((offset**2).sum(axis=1))
        heading = rotate(offset, style.bend * np.minimum(distance / LONG, 1))
        free = np.where(carrying & (error > NEAR), np.clip(block[:, 2] / CLEAR, DRAG, 1), 1)
        pace = np.minimum(style.gain / STEP_MM, style.speed / np.maximum(distance, 1e-9)) * free
        label[:, :2] = heading * pace[:, None]
        label[:, 2] = np.clip(style.gain * rise / STEP_MM, -style.speed, style.speed)
        label[:, 5] = np.clip(style.gain * turn / STEP_RAD, -style.speed, style.speed) * free
        resting = (style.pause[:, 0] <= self._step) & (self._step < style.pause[:, 1])
        label[resting | world["done"]] = 0
        label[:, 6] = np.where(close & ~world["done"], 1, -1)

        executed = label.copy()
        executed[:, [0, 1, 2, 5]] += style.noise[:, self._step % self.steps] * np.clip(high / HOVER, STEADY, 1)[:, None]
        self._step += 1
        return label, np.clip(executed, -1, 1)

    def save(self) -> tuple[Style, int]:
        return self._style, self._step

    def restore(self, saved: object) -> None:
        assert isinstance(saved, tuple)
        self._style, self._step = saved
