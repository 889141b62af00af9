"""Pieces that stand for a mesh when it is asked whether a camera sees it."""

from __future__ import annotations

import numpy as np
import pytest

from compression_gap.suites.libero.culling import LARGE, convex_pieces


@pytest.mark.parametrize("size", [0.05, 2.0])
def test_the_pieces_reach_as_far_as_the_triangles_in_every_direction(size: float) -> None:
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(200, 1, 3)) + size * rng.uniform(-0.5, 0.5, (200, 3, 3))
    pieces = convex_pieces(corners)
    for normal in rng.normal(size=(50, 3)):
        assert (pieces @ normal).max() >= (corners @ normal).max()


def test_every_triangle_lies_in_one_piece_and_a_large_one_is_alone() -> None:
    rng = np.random.default_rng(1)
    small = rng.normal(size=(300, 1, 3)) + rng.uniform(-0.05, 0.05, (300, 3, 3))
    large = np.array([[[0.0, 0.0, 0.0], [2 * LARGE, 0.0, 0.0], [0.0, 2 * LARGE, 0.0]]])
    pieces = convex_pieces(np.concatenate([small[:150], large, small[150:]]))
    np.testing.assert_array_equal(np.unique(pieces[-1], axis=0), np.unique(large[0], axis=0))
    boxes = pieces[:-1]
    low, high = boxes.min(axis=1)[:, None, None], boxes.max(axis=1)[:, None, None]
    assert ((low <= small) & (small <= high)).all(axis=(2, 3)).any(axis=0).all()
    assert np.ptp(boxes, axis=1).max() < LARGE  # so that a box says something about where its triangles are


def test_a_mesh_of_large_triangles_only_has_no_boxes() -> None:
    corners = 10.0 * np.eye(3)[None]
    np.testing.assert_array_equal(np.unique(convex_pieces(corners), axis=1)[0], np.unique(corners[0], axis=0))
