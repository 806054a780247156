"""Grids as values: where the pixels of a raster lie on the ground."""

from __future__ import annotations

from dataclasses import dataclass

from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window as Place

from clippan_cli.base.geometry import Box


@dataclass(frozen=True)
class Grid:
    """Holds a pixel grid.

    Args:
        shape: The number of rows and columns.
        transform: The map from (column, row) of a pixel corner to coordinates on the ground.
        crs: The coordinate reference system; None for a local grid.
    """

    shape: tuple[int, int]
    transform: Affine
    crs: CRS | None

    @property
    def box(self) -> Box:
        """The box of all pixels."""
        return Box.whole(self.shape)

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where its pixels lie."""
        return bool(self.transform != Affine.identity())

    @property
    def north_up(self) -> bool:
        """Whether rows and columns run along the axes of the map."""
        scale = abs(self.transform.a) + abs(self.transform.e)
        return bool(abs(self.transform.b) + abs(self.transform.d) <= 1e-9 * scale)

    @property
    def pixel(self) -> tuple[float, float]:
        """The height and width of a pixel in map units."""
        return abs(self.transform.e), abs(self.transform.a)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The west, south, east and north ends in map units."""
        x0, y0 = self.transform @ (0, 0)
        x1, y1 = self.transform @ (self.shape[1], self.shape[0])
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    def crop(self, box: Box) -> Grid:
        """Return the grid of a window; offsets are exact multiples of the pixel."""
        shift = Affine.translation(box.cols.start, box.rows.start)
        return Grid(box.shape, self.transform @ shift, self.crs)

    def relative_to(self, other: Grid) -> Affine:
        """Return the map from pixel corners of this grid to those of ``other``."""
        relative: Affine = ~other.transform @ self.transform
        return relative

    def describe(self) -> str:
        """Describe it in one line for people."""
        crs = "no CRS" if self.crs is None else self.crs.to_string()[:40]
        return f"{self.shape[1]} × {self.shape[0]} px of {self.pixel[1]:.6g} × {self.pixel[0]:.6g}, {crs}"


def place(box: Box) -> Place:
    """Write a box as rasterio takes it."""
    return Place(box.cols.start, box.rows.start, box.cols.size, box.rows.size)
