"""Which meshes a camera cannot see: without a GPU, most of a picture's time goes into the corners of triangles."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

LARGE = 0.5  # metres: a larger triangle is a piece of its own
CELL = 0.25  # metres: smaller ones whose middles lie in one such cube are a piece together
MARGIN = 1e-3  # metres, far more than graphics in single precision are off
UPPER = np.indices((2, 2, 2)).reshape(3, 8).T.astype(bool)  # which corners of a box have its upper x, y and z


class Culling:
    """The G meshes that are drawn of a model, as P convex pieces of up to eight corners.

    A mesh is out of sight if each of its pieces lies wholly beyond one of the planes that bound what a camera sees. It
    would leave no pixel; but it could still throw a shadow on what is seen, or show in a mirror.
    """

    def __init__(self, model: Any) -> None:
        import mujoco

        simulator: Any = mujoco  # its names are compiled, and unknown to type checkers
        self._model = model
        self._geoms = np.flatnonzero((model.geom_type == simulator.mjtGeom.mjGEOM_MESH) & (model.geom_group != 0))
        pieces = []
        for mesh in model.geom_dataid[self._geoms]:
            triangles = model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]]
            vertices = model.mesh_vert[model.mesh_vertadr[mesh] :].astype(np.float64)
            pieces.append(convex_pieces(vertices[triangles]))
        numbers = [len(those) for those in pieces]
        self._pieces = np.concatenate(pieces)  # in the frames of their meshes
        self._mesh = np.repeat(np.arange(len(pieces)), numbers)  # of each piece
        self._firsts = np.cumsum([0, *numbers[:-1]])  # of each mesh

    def out_of_sight(self, data: Any, camera: str) -> Int[np.ndarray, " hidden"]:
        """Ids of the meshes that leave no pixel in a square picture of a camera, with everything where it is now."""
        number = self._model.camera(camera).id
        slope = np.tan(np.radians(self._model.cam_fovy[number]) / 2.0)
        # Outward normals of the four sides, and of the plane through the camera, which looks along its own -z.
        planes = np.array([[1, 0, slope], [-1, 0, slope], [0, 1, slope], [0, -1, slope], [0, 0, 1]])
        planes = planes @ data.cam_xmat[number].reshape(3, 3).T
        origins = (data.geom_xpos[self._geoms] - data.cam_xpos[number]) @ planes.T  # [G, 5]
        turned = planes @ data.geom_xmat[self._geoms].reshape(-1, 3, 3)  # [G, 5, 3], in the frames of the meshes
        innermost = (self._pieces @ turned.swapaxes(1, 2)[self._mesh]).min(axis=1) + origins[self._mesh]  # [P, 5]
        beyond = (innermost > MARGIN).any(axis=1)
        return self._geoms[np.logical_and.reduceat(beyond, self._firsts)]


def convex_pieces(corners: Float[np.ndarray, "triangles 3 3"]) -> Float[np.ndarray, "pieces 8 3"]:
    """Corners of convex pieces that together contain all triangles."""
    large = np.ptp(corners, axis=1).max(axis=1) > LARGE
    small = corners[~large]
    cells = np.floor(small.mean(axis=1) / CELL).astype(np.int64)
    order = np.lexsort(cells.T)
    small, cells = small[order], cells[order]
    firsts = np.flatnonzero(np.any(np.diff(cells, axis=0, prepend=cells[:1] + 1), axis=1))
    low, high = np.minimum.reduceat(small.min(axis=1), firsts), np.maximum.reduceat(small.max(axis=1), firsts)
    boxes = np.where(UPPER, high[:, None], low[:, None])
    return np.concatenate([boxes, corners[large][:, [0, 1, 2, 0, 1, 2, 0, 1]]])
