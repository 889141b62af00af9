"""How a scene becomes a picture: as LIBERO draws it, or faster and without what policies hardly see."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from compression_gap.suites.libero.culling import Culling

Rendering = Literal["fast", "reference"]
NOT_DRAWN = 5  # the group of shapes that MuJoCo leaves out
COLLISION = 0  # robosuite's group of the shapes that only touch
ROOM = 10_000  # geometric shapes a picture can have


@dataclass(frozen=True)
class Layer:
    """A picture, bottom row first as OpenGL has it, and how near each of its pixels is: 0 is nothing at all."""

    colour: UInt8[np.ndarray, "size size 3"]
    nearness: Float[np.ndarray, "size size"]


class Pictures:
    """Pictures of one loaded model, upright.

    "fast" leaves out anti-aliasing, shadows and mirrors. Then a picture is two layers, of which each pixel shows what
    is nearer: what stands still (room, furniture, the arm's base), drawn once for a camera that stands still too, and
    what moves. Without a GPU time goes into the corners of triangles, and most of them stand still. It equals what is
    drawn at once in every pixel; where something lets light through, all is drawn at once.

    Raises OSError with the cure if graphics do not work.
    """

    def __init__(self, model: Any, rendering: Rendering, size: int) -> None:
        import mujoco

        self._mujoco: Any = mujoco  # its functions are compiled, and unknown to type checkers
        self._model, self._size = model, size
        visual, flags = model.vis, self._mujoco.mjtRndFlag
        visual.global_.offwidth = visual.global_.offheight = size
        if rendering == "fast":
            visual.quality.offsamples = 0  # read when the context is made; without a GPU each sample is drawn
        self._gl = self._mujoco.GLContext(size, size)
        self._gl.make_current()
        try:
            self._context = self._mujoco.MjrContext(model, self._mujoco.mjtFontScale.mjFONTSCALE_100)
        except self._mujoco.FatalError as error:
            raise no_graphics(error) from error
        self._freed = weakref.finalize(self, _free, self._gl, self._context)
        self._freed.atexit = False  # the process ends, and graphics may have ended already
        self._mujoco.mjr_setBuffer(self._mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = self._mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = self._mujoco.MjvScene(model, ROOM)
        self._options = self._mujoco.MjvOption()
        self._options.geomgroup[COLLISION] = self._options.geomgroup[NOT_DRAWN] = 0
        self._options.sitegroup[NOT_DRAWN] = 0
        self._fast = rendering == "fast"
        if self._fast:
            self._scene.flags[flags.mjRND_SHADOW] = self._scene.flags[flags.mjRND_REFLECTION] = 0
            self._culling = Culling(model)  # now nothing out of sight throws a shadow or shows in a mirror
        still = model.body_weldid == 0  # bodies that no joint moves
        self._still_geoms, self._still_sites = still[model.geom_bodyid], still[model.site_bodyid]
        self._still_cameras = still[model.cam_bodyid]
        self._backdrops: dict[int, tuple[np.ndarray, Layer]] = {}

    def picture(self, data: Any, camera: str) -> UInt8[np.ndarray, "size size 3"]:
        """What a camera sees of the present scene."""
        number = self._model.camera(camera).id
        geoms, sites = self._in_sight(data, camera), np.ones(self._model.nsite, dtype=bool)
        if not self._fast or not self._still_cameras[number] or self._translucent(geoms):
            return self._draw(data, number, geoms, sites).colour[::-1].copy()
        behind = self._backdrop(data, number, geoms)
        front = self._draw(data, number, geoms & ~self._still_geoms, sites & ~self._still_sites)
        nearer = front.nearness > behind.nearness
        return np.where(nearer[..., None], front.colour, behind.colour)[::-1]

    def close(self) -> None:
        """Frees the graphics context."""
        self._freed()

    def _in_sight(self, data: Any, camera: str) -> Bool[np.ndarray, " geoms"]:
        """Which shapes to draw."""
        geoms = np.ones(self._model.ngeom, dtype=bool)
        if self._fast:
            geoms[self._culling.out_of_sight(data, camera)] = False
        return geoms

    def _backdrop(self, data: Any, camera: int, geoms: Bool[np.ndarray, " geoms"]) -> Layer:
        """What stands still, drawn anew only when something of it is not as it was."""
        model, shapes, sites = self._model, self._still_geoms, self._still_sites
        looks = (
            *(data.cam_xpos[camera], data.cam_xmat[camera], data.light_xpos, data.light_xdir),
            *(data.geom_xpos[shapes], data.geom_xmat[shapes], model.geom_rgba[shapes], geoms[shapes]),
            *(data.site_xpos[sites], data.site_xmat[sites], model.site_rgba[sites]),
        )
        appearance = np.concatenate([np.ravel(look) for look in looks])
        kept = self._backdrops.get(camera)
        if kept is None or not np.array_equal(kept[0], appearance):
            kept = self._backdrops[camera] = appearance, self._draw(data, camera, geoms & shapes, sites)
        return kept[1]

    def _translucent(self, geoms: Bool[np.ndarray, " geoms"]) -> bool:
        """Whether something that is drawn lets light through."""
        model = self._model
        opaque = model.geom_rgba[:, 3].copy()
        painted = model.geom_matid >= 0
        opaque[painted] = np.minimum(opaque[painted], model.mat_rgba[model.geom_matid[painted], 3])
        drawn = opaque[geoms & (model.geom_group != COLLISION)], model.site_rgba[:, 3]
        return any(bool(((some > 0) & (some < 1)).any()) for some in drawn)

    def _draw(
        self, data: Any, camera: int, geoms: Bool[np.ndarray, " geoms"], sites: Bool[np.ndarray, " sites"]
    ) -> Layer:
        """The shapes and sites that are asked for, of those that LIBERO draws."""
        model, mujoco, view = self._model, self._mujoco, self._mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
        groups = model.geom_group.copy(), model.site_group.copy()
        model.geom_group[~geoms], model.site_group[~sites] = NOT_DRAWN, NOT_DRAWN
        mujoco.mjv_updateScene(model, data, self._options, None, view, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        model.geom_group[:], model.site_group[:] = groups
        colour = np.empty((self._size, self._size, 3), dtype=np.uint8)
        nearness = np.empty((self._size, self._size), dtype=np.float32)
        window = mujoco.MjrRect(0, 0, self._size, self._size)
        self._gl.make_current()
        mujoco.mjr_render(window, self._scene, self._context)
        mujoco.mjr_readPixels(colour, nearness, window, self._context)
        return Layer(colour, nearness)


def _free(gl: Any, context: Any) -> None:
    """Frees both: what belongs to the present context is freed by its number, whosever that is."""
    gl.make_current()
    context.free()
    gl.free()


def no_graphics(error: Exception) -> OSError:
    """What to tell people whose graphics do not work."""
    return OSError(
        f"the simulator cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}: {error}. Install the system "
        "package libosmesa6 and leave MUJOCO_GL unset, or set MUJOCO_GL=egl on a machine with a GPU; a program that "
        "imports mujoco before compression_gap sets MUJOCO_GL=osmesa itself"
    )
