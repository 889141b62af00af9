"""What a scripted arm can do: go, grip, pick, place, turn. Scripts are generators that yield one action a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Moves = Iterator[Float[np.ndarray, " 7"]]
Point = Float[np.ndarray, " 3"]

OPEN, CLOSED = -1.0, 1.0
METRES, RADIANS = 0.05, 0.5  # what an action of 1 asks for in one step (robosuite's OSC_POSE)
POINTING_DOWN = np.diag([1.0, -1.0, -1.0])  # the hand's rotation at yaw 0, fingers closing along world y


@dataclass(frozen=True)
class Style:
    """How one demonstration differs from another."""

    gain: float
    """Share of the remaining way that is asked for in a step."""
    speed: float
    """Largest translation action."""
    pause: int
    """Extra steps with closed fingers before lifting."""
    detour: Point
    """Offset of the points above things through which the hand passes, in metres."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        return cls(
            gain=rng.uniform(1.8, 2.6),
            speed=rng.uniform(0.7, 1.0),
            pause=int(rng.integers(0, 5)),
            detour=rng.normal(0.0, 0.012, 3),
        )


@dataclass(frozen=True)
class Grasp:
    """Where to hold a thing from above, in its own frame."""

    point: tuple[float, float, float]
    """Where the finger tips go, in metres."""
    along: tuple[float, float, float] | None = None
    """The direction along which the fingers close; None for round things, which are held as the hand comes."""
    middle: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What is brought over a place: the middle of the thing, where its frame is elsewhere."""


@dataclass(frozen=True)
class Held:
    """What is in the hand."""

    thing: str
    grasp: Grasp
    offset: Point
    """From the finger tips to its middle, in metres, when it was lifted."""


class Arm:
    """One arm as a script sees it: what it sees now (`World.privileged`), and the moves it can make.

    Every move is a generator: it looks at `see`, which is renewed before each step, and yields the action.
    """

    HOVER = 0.10
    CLOSE = 0.03

    def __init__(self, style: Style) -> None:
        self.style = style
        self.see: Mapping[str, np.ndarray] = {}
        self.fingers = OPEN
        self.yaw = 0.0
        self.tilt = 0.0  # of the fingers, from straight down toward the hand's own x axis
        self.held: Held | None = None
        self.travel = self.HOVER  # height above the next thing at which the hand comes to it

    @property
    def position(self) -> Point:
        return self.see["hand.position"]

    @property
    def yaw_now(self) -> float:
        rotation = self.see["hand.rotation"] @ POINTING_DOWN
        return float(np.arctan2(rotation[1, 0], rotation[0, 0]))

    @property
    def lost(self) -> bool:
        """Whether what the hand holds has slipped by more than 4 cm."""
        if self.held is None:
            return False
        offset = self.see[f"{self.held.thing}.position"] - self.position
        return bool(np.linalg.norm(offset - self.held.offset) > 0.04)

    def toward(self, point: Point) -> Float[np.ndarray, " 7"]:
        """The action that takes the finger tips toward a point, and the hand toward `self.yaw`, by feedback."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        wanted = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]) @ POINTING_DOWN
        if self.tilt:
            cos, sin = np.cos(self.tilt), np.sin(self.tilt)
            wanted = wanted @ np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
        turn = 0.5 * np.cross(self.see["hand.rotation"].T, wanted.T).sum(axis=0)  # sine of the angle, times the axis
        shift = self.style.gain * (point - self.position) / METRES
        shift *= min(1.0, self.style.speed / max(np.abs(shift).max(), 1e-9))
        return np.clip(np.concatenate([shift, 2.0 * turn / RADIANS, [self.fingers]]), -1.0, 1.0)

    def go(self, target: Callable[[], Point], near: float = 0.02, patience: int = 80) -> Moves:
        """Goes to a point until it is `near` metres, `patience` steps are over, or what it holds is lost."""
        for _ in range(patience):
            if np.linalg.norm(target() - self.position) < near or self.lost:
                return
            yield self.toward(target())

    def descend(
        self, target: Callable[[], Point], near: float = 0.006, patience: int = 60, highest: float = HOVER
    ) -> Moves:
        """Sinks to a point as through a funnel: 8 times as high above it as it is off to the side beyond 5 mm.

        A turn that is still to be made counts as well, 1 mm for 0.03 rad.
        """
        for _ in range(patience):
            off = target() - self.position
            aside = np.hypot(*off[:2]) + abs(self.yaw - self.yaw_now) / 30.0
            height = float(np.clip(8.0 * (aside - 0.005), 0.0, highest))
            if (height == 0.0 and abs(off[2]) < near) or self.lost:
                return
            yield self.toward(target() + up(height))

    def rise(self, height: float = HOVER) -> Moves:
        """Goes straight up."""
        point = self.position + up(height)
        yield from self.go(lambda: point, near=0.03)

    def grip(self, fingers: float, steps: int) -> Moves:
        """Closes or opens the fingers on the spot."""
        point, self.fingers = self.position, fingers
        for _ in range(steps):
            yield self.toward(point)

    def reach(self, thing: str, grasp: Grasp) -> Moves:
        """Brings the open fingers around a thing."""

        def point() -> Point:
            return self.see[f"{thing}.position"] + self.see[f"{thing}.rotation"] @ grasp.point

        self.fingers, self.held = OPEN, None
        if grasp.along is not None:
            x, y, _ = self.see[f"{thing}.rotation"] @ grasp.along
            self.yaw = nearest_half_turn(float(np.arctan2(y, x)) - np.pi / 2, self.yaw)
        yield from self.go(lambda: point() + self.style.detour + up(self.travel))
        yield from self.descend(point, highest=min(self.travel, self.HOVER))

    def pick(self, thing: str, grasp: Grasp) -> Moves:
        """Takes a thing and lifts it; goes back for it as long as it stays behind."""
        while self.held is None:
            yield from self.reach(thing, grasp)
            yield from self.grip(CLOSED, 12 + self.style.pause)
            before = self.see[f"{thing}.position"][2]
            yield from self.rise()
            if self.see[f"{thing}.position"][2] > before + self.HOVER / 3:
                self.held = Held(thing, grasp, self.see[f"{thing}.position"] - self.position)

    def bringing(self, on: str, height: float, aside: tuple[float, float]) -> Callable[[], Point]:
        """Where the hand has to be for what it holds to be `height` above the middle of a site, and `aside` of it."""

        def point() -> Point:
            assert self.held is not None, "there is nothing to place"
            thing, middle = self.held.thing, self.held.grasp.middle
            offset = np.array([*aside, height]) - self.see[f"{thing}.rotation"] @ middle
            return self.position + self.see[f"{on}.position"] + offset - self.see[f"{thing}.position"]

        return point

    def place(
        self,
        on: str,
        height: float,
        over: float = HOVER,
        aside: tuple[float, float] = (0.0, 0.0),
        along: tuple[float, float] | None = None,
    ) -> Moves:
        """Brings what it holds to `height` above the middle of a site, and lets go; picks it up again if it slips,
        unless it has slipped into its place.

        On the way it travels `over` metres higher still: over the rim of a basket, say. It sets down `aside` of the
        middle (m, along world x and y), with the fingers turned to close `along` a direction if one is given.
        """

        point = self.bringing(on, height, aside)
        while (held := self.held) is not None:
            if along is not None:
                self.yaw = nearest_half_turn(float(np.arctan2(along[1], along[0])) - np.pi / 2, self.yaw)
            yield from self.rise(max(0.0, point()[2] + over - self.position[2]))
            yield from self.go(lambda: point() + self.style.detour + up(over))
            yield from self.descend(point, highest=min(over, self.HOVER))
            slipped, off, self.held = self.lost, point() - self.position, None
            if slipped and np.hypot(*off[:2]) > self.CLOSE:
                yield from self.pick(held.thing, held.grasp)
        yield from self.grip(OPEN, 10)
        self.travel = over  # what stood in the way of coming stands in the way of leaving
        yield from self.rise(over)

    def push(self, ahead: Callable[[], Point], done: Callable[[], bool], patience: int = 120) -> Moves:
        """Follows a point that keeps ahead of the hand, until what it pushes has gone far enough."""
        for _ in range(patience):
            if done():
                return
            yield self.toward(ahead())

    def turn(self, knob: str, grasp: Grasp, joint: str, to: float) -> Moves:
        """Holds a knob from above and turns until its joint has reached an angle (rad), then lets go."""
        while self.see[joint] < to:
            yield from self.reach(knob, grasp)
            yield from self.grip(CLOSED, 10 + self.style.pause)
            for _ in range(40):
                if self.see[joint] >= to:
                    break
                self.yaw = self.yaw_now + min(to - float(self.see[joint]) + 0.2, 0.5)
                yield self.toward(self.see[f"{knob}.position"] + self.see[f"{knob}.rotation"] @ grasp.point)
            yield from self.grip(OPEN, 8)
            yield from self.rise()
        self.yaw = 0.0


def up(height: float) -> Point:
    """A step of `height` metres upwards."""
    return np.array([0.0, 0.0, height])


def nearest_half_turn(yaw: float, to: float) -> float:
    """Of the yaws that grasp alike (half turns apart), the one nearest to `to`."""
    return yaw - np.pi * np.round((yaw - to) / np.pi)
