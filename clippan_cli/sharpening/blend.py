"""Blending of tiles that come row by row, along raised cosines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clippan_cli.sharpening.plan import OVERLAP, Plan


def ramp(length: int) -> NDArray[np.float32]:
    """Return the later tile's weights over an overlap: ``(length,)``, the first part of a raised cosine."""
    position = (np.arange(length) + 0.5) / OVERLAP
    return (0.5 - 0.5 * np.cos(np.pi * position)).astype(np.float32)


class Blender:
    """Joins the tiles of a plan, in row-major order.

    Args:
        plan: The plan of the tiles.
        bands: The number of bands of a tile.
        first_row: The row of tiles to begin with; its upper seam is not blended.
    """

    def __init__(self, plan: Plan, bands: int, first_row: int = 0) -> None:
        self._plan, self._first = plan, first_row
        self._above = np.zeros((bands, OVERLAP, plan.box.cols.size), np.float32)
        self._left: NDArray[np.float32] | None = None

    def add(self, row: int, col: int, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blend one tile in.

        Args:
            row: The row of the tile.
            col: The column of the tile.
            tile: The tile's pixels, ``(C, H, W)`` over its window; overwritten.

        Returns:
            The finished pixels, ``(C, h, w)`` over ``plan.finished(row, col)``.
        """
        done = self._plan.finished(row, col)
        height, width = done.shape
        if col > 0 and self._left is not None:
            self._mix(tile[:, :, : self._left.shape[2]].swapaxes(1, 2), self._left.swapaxes(1, 2))
        self._left = tile[:, :, width:].copy()
        start = done.cols.start - self._plan.box.cols.start
        above = self._above[:, :, start : start + width]
        if row > self._first:
            seam = min(OVERLAP, height)
            self._mix(tile[:, :seam, :width], above[:, :seam])
        tail = tile[:, height:, :width]
        above[:, : tail.shape[1]] = tail
        return tile[:, :height, :width]

    @staticmethod
    def _mix(later: NDArray[np.float32], earlier: NDArray[np.float32]) -> None:
        """Fade from the earlier tile to the later one along the second axis, in place."""
        weight = ramp(later.shape[1])[None, :, None]
        later += (1 - weight) * (earlier - later)
