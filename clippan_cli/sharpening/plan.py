"""The plan by which a scene is cut into tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import ResourceError

OVERLAP = 16
"""The PAN pixels over which neighbouring tiles are blended."""

TILE_SIZES = (1024, 512, 256, 128)

_BASE_BYTES = 560 << 20
_QUEUE = 2


@dataclass(frozen=True)
class Plan:
    """Cuts an output window into tiles.

    Tile (i, j) computes ``size + OVERLAP`` pixels from ``size * (i, j)`` on; its last ``OVERLAP`` rows and columns
    are shared with the next tile and blended.

    Args:
        box: The output window on PAN's grid.
        size: The side of a tile in PAN pixels.
        halo: The PAN pixels that the method looks beyond a tile.
        planes: The images of a tile's size that the method holds at its peak.
        workers: The number of tiles computed at once.
    """

    box: Box
    size: int
    halo: int
    planes: int
    workers: int

    @property
    def rows(self) -> int:
        """The number of rows of tiles."""
        return math.ceil(self.box.rows.size / self.size)

    @property
    def cols(self) -> int:
        """The number of columns of tiles."""
        return math.ceil(self.box.cols.size / self.size)

    def tiles(self, row: int) -> Iterator[Box]:
        """Yield the windows that the tiles of one row compute."""
        for col in range(self.cols):
            yield Box(self._span(self.box.rows, row), self._span(self.box.cols, col))

    def finished(self, row: int, col: int) -> Box:
        """Return the window that is complete once tile (row, col) has been blended."""
        spans = []
        for outer, index in ((self.box.rows, row), (self.box.cols, col)):
            start = outer.start + self.size * index
            spans.append(Span(start, min(outer.stop, start + self.size)))
        return Box(*spans)

    def _span(self, outer: Span, index: int) -> Span:
        start = outer.start + self.size * index
        return Span(start, min(outer.stop, start + self.size + OVERLAP))


def plan_tiles(
    box: Box, *, bands: int, halo: int, planes: int, workers: int, memory: int, size: int | None = None
) -> Plan:
    """Choose the largest tiles that fit into the memory.

    Args:
        box: The output window.
        bands: The number of MS bands.
        halo: The PAN pixels that the method looks beyond a tile, back-projections included.
        planes: The images of a tile's size that the method holds at its peak.
        workers: The number of tiles computed at once.
        memory: The bytes for the whole process.
        size: The side of a tile, if the user insists.

    Raises:
        ResourceError: Not even the smallest tile fits.
    """
    longest = max(box.shape)
    for side in (size,) if size else TILE_SIZES:
        if size is None and side > TILE_SIZES[-1] and side >= 2 * longest:
            continue
        plan = Plan(box, side, halo, planes, workers)
        if memory_needed(plan, bands) <= memory:
            return plan
    needed = memory_needed(plan, bands)
    raise ResourceError(
        f"tiles of {plan.size} px with {bands} bands and a halo of {halo} px need {needed / 2**20:.0f} MiB, "
        f"`memory` allows {memory / 2**20:.0f} MiB",
        f"allow more (`memory={math.ceil(needed / 2**20)}M`)"
        + (", or take smaller tiles (`tile_size`)" if size else ""),
    )


def memory_needed(plan: Plan, bands: int) -> int:
    """Count the bytes at the peak: libraries and caches, tiles in work, and the seam between two rows of tiles."""
    side = min(plan.size + OVERLAP, max(plan.box.shape)) + 2 * plan.halo
    working = plan.workers * plan.planes * side * side * 4
    waiting = (plan.workers + _QUEUE) * (bands + 1) * side * side * 4
    seam = bands * OVERLAP * plan.box.cols.size * 4
    return _BASE_BYTES + working + waiting + seam
