"""Pictures of the table: every thing is a rectangle seen by a pinhole camera, painted with anti-aliased edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from compression_gap.config import closest
from compression_gap.suites.tabletop.dynamics import BLOCK_HALF, BLOCK_HEIGHT, rotate

CAMERAS = ("top", "wrist")
TOP_HEIGHT, TOP_SLOPE = 800.0, 0.19
WRIST_HEIGHT, WRIST_SLOPE = 150.0, 0.6
"""A camera sees +-SLOPE mm for every mm of depth. The top camera hangs over the table, the wrist camera over the
fingertips."""

Colour = tuple[int, int, int]
TABLE: Colour = (206, 196, 180)
BLOCKS: tuple[Colour, ...] = ((200, 48, 44), (48, 150, 70), (48, 84, 190))
RIM, HOLE, BAR, FINGER, SHADOW = (244, 244, 238), (74, 68, 62), (120, 120, 126), (40, 40, 46), (30, 28, 26)
RIM_HALF, HOLE_HALF, BAR_HALF, FINGER_HALF = (38.0, 23.0), (32.0, 17.0), 3.0, (9.0, 4.0)
FINGER_TOP = 20.0
LIGHT, SHADE = (0.35, -0.25), 0.4
"""A shadow takes SHADE of the light and lies LIGHT mm aside for every mm of height, which shows how high a thing is."""
TILE = 256
"""Frames painted together: few enough to stay in the cache."""


@dataclass
class Rectangle:
    """A level rectangle in each of N scenes."""

    centre: Float[np.ndarray, "N 3"]
    yaw: Float[np.ndarray, " N"]
    half: Float[np.ndarray, "N 2"] | tuple[float, float]
    """Half extents in mm along the yaw and across it."""
    colour: Float[np.ndarray, "N 3"] | Colour
    opacity: float = 1.0

    def shadow(self) -> Rectangle:
        height = self.centre[:, 2:]
        centre = np.concatenate([self.centre[:, :2] + height * np.array(LIGHT), np.zeros_like(height)], axis=1)
        return Rectangle(centre, self.yaw, self.half, SHADOW, SHADE)


@dataclass
class Camera:
    """A pinhole camera looking straight down in each of N scenes."""

    eye: Float[np.ndarray, "N 3"]
    yaw: Float[np.ndarray, " N"]
    slope: float

    @classmethod
    def named(cls, name: str, scenes: Float[np.ndarray, "N scene"]) -> Camera:
        if name == "wrist":
            return cls(scenes[:, :3] + (0, 0, WRIST_HEIGHT), scenes[:, 3], WRIST_SLOPE)
        return cls(np.tile((0, 0, TOP_HEIGHT), (len(scenes), 1)), np.zeros(len(scenes)), TOP_SLOPE)

    def paint(self, canvas: UInt8[np.ndarray, "N 3 size size"], thing: Rectangle) -> None:
        """Blends a rectangle into the pictures it is seen in, touching only the square around it.

        A pixel's coverage is the product of what its signed distances to the two pairs of edges leave of it.
        """
        size = canvas.shape[-1]
        pixels = size / 2 / (self.slope * (self.eye[:, 2] - thing.centre[:, 2]))
        sideways = rotate(thing.centre[:, :2] - self.eye[:, :2], -self.yaw)
        centre = size / 2 + pixels[:, None] * sideways * (1, -1)
        half = pixels[:, None] * np.asarray(thing.half)
        reach = np.sqrt((half**2).sum(axis=1)) + 1
        seen = np.flatnonzero((np.abs(centre - size / 2) < size / 2 + reach[:, None]).all(axis=1))
        if len(seen) == 0:
            return
        centre, half, reach = centre[seen], half[seen].astype(np.float32), reach[seen]
        side = min(size, int(np.ceil(2 * reach.max())) + 1)
        origin = np.clip(np.floor(centre - reach[:, None]).astype(int), 0, size - side)
        across, down = (origin[:, :, None] + np.arange(side) + 0.5 - centre[:, :, None]).transpose(1, 0, 2)
        # pictures have y downwards: a yaw is turned the other way round
        axis = rotate(np.tile((1.0, 0.0), (len(seen), 1)), (self.yaw - thing.yaw)[seen])
        cos, sin = axis[:, :1], axis[:, 1:]
        cover = _within(cos * across, sin * down, half[:, 0]) * _within(-sin * across, cos * down, half[:, 1])
        cover *= np.float32(thing.opacity)
        colour = np.broadcast_to(np.asarray(thing.colour, np.float32), (len(canvas), 3))[seen]
        windows = sliding_window_view(canvas, (side, side), axis=(2, 3), writeable=True)
        place = seen, slice(None), origin[:, 1], origin[:, 0]
        patch = windows[place].astype(np.float32)
        blend = colour[:, :, None, None] - patch
        blend *= cover[:, None]
        patch += blend
        patch += np.float32(0.5)
        windows[place] = patch.astype(np.uint8)


def _within(
    across: Float[np.ndarray, "n side"], down: Float[np.ndarray, "n side"], half: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n side side"]:
    """How much of each pixel lies between two edges `half` pixels either side of the centre line."""
    distance = down.astype(np.float32)[:, :, None] + across.astype(np.float32)[:, None, :]
    np.abs(distance, out=distance)
    np.subtract((half + np.float32(0.5))[:, None, None], distance, out=distance)
    np.minimum(distance, np.minimum(2 * half, 1)[:, None, None], out=distance)
    return np.maximum(distance, 0, out=distance)


def things(scenes: Float[np.ndarray, "N scene"], camera: str) -> Iterator[Rectangle]:
    """What there is to see, from back to front. The wrist camera hangs on the bar between the fingers, unseen."""
    gripper, opening, blocks, slot = scenes[:, :4], scenes[:, 4], scenes[:, 5:17].reshape(-1, 3, 4), scenes[:, 17:]
    num = len(scenes)
    ground = np.concatenate([slot[:, :2], np.zeros((num, 1))], axis=1)
    yield Rectangle(ground, slot[:, 2], RIM_HALF, RIM)
    yield Rectangle(ground, slot[:, 2], HOLE_HALF, HOLE)

    upwards = np.argsort(blocks[:, :, 2], axis=1, kind="stable").T  # a raised block hides the others
    piled = []
    for chosen in upwards:
        pose = blocks[np.arange(num), chosen]
        colour = np.array(BLOCKS, float)[chosen]
        piled.append(Rectangle(pose[:, :3] + (0, 0, BLOCK_HEIGHT), pose[:, 3], BLOCK_HALF, colour))
    tips = gripper[:, :3] + (0, 0, FINGER_TOP)
    span = opening / 2 + FINGER_HALF[1]
    bar = Rectangle(tips, gripper[:, 3], np.stack([np.full(num, BAR_HALF), span], axis=1), BAR)
    for thing in (*piled, bar):
        yield thing.shadow()
    yield from piled
    if camera == "top":
        yield bar
    for side in (-1, 1):
        aside = rotate(np.stack([np.zeros(num), side * span], axis=1), gripper[:, 3])
        yield Rectangle(np.concatenate([tips[:, :2] + aside, tips[:, 2:]], axis=1), gripper[:, 3], FINGER_HALF, FINGER)


def draw(scenes: Float[np.ndarray, "N scene"], camera: str, size: int) -> UInt8[np.ndarray, "N size size 3"]:
    """Upright pictures of scenes (see `TableSimulators.scene`). A picture does not depend on those drawn with it.

    Raises ValueError for an unknown camera.
    """
    if camera not in CAMERAS:
        raise ValueError(f"tabletop has no camera {camera!r}; {closest(camera, CAMERAS)}")
    pictures = np.empty((len(scenes), size, size, 3), np.uint8)
    for start in range(0, len(scenes), TILE):
        tile = scenes[start : start + TILE]
        canvas = np.empty((len(tile), 3, size, size), np.uint8)
        canvas[:] = np.array(TABLE, np.uint8)[:, None, None]
        view = Camera.named(camera, tile)
        for thing in things(tile, camera):
            view.paint(canvas, thing)
        for channel in range(3):  # four times faster than one transposed copy
            pictures[start : start + TILE, ..., channel] = canvas[:, channel]
    return pictures
