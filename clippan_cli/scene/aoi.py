"""A polygon that limits the work."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.scene.grid import Grid

_STRIP = 256  # rows


@dataclass(frozen=True)
class Aoi:
    """Holds an area of interest on a grid.

    Args:
        grid: PAN's grid.
        polygon: The area, in the grid's CRS.
        box: The pixels that the polygon touches.
    """

    grid: Grid
    polygon: BaseGeometry
    box: Box

    def inside(self, box: Box) -> NDArray[np.bool_]:
        """Return which pixels of ``box`` have their centre in the polygon: ``(h, w)``."""
        part = self.grid.crop(box)
        inside: NDArray[np.bool_] = geometry_mask([mapping(self.polygon)], part.shape, part.transform, invert=True)
        return inside


def read_aoi(path: str, grid: Grid) -> Aoi:
    """Read a GeoJSON file and place it on ``grid``.

    GeoJSON is in WGS 84 unless its ``crs`` member says otherwise; on a grid without CRS the coordinates are taken
    as they are.

    Raises:
        InputError: The file cannot be read, holds no polygon, or lies outside the grid.
    """
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        polygon = shapely.union_all([shapely.make_valid(shape(geometry)) for geometry in _geometries(document)])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise InputError(
            f"cannot read the area of interest {path}: {error}", "give a GeoJSON file with polygons"
        ) from error
    if polygon.area == 0:
        raise InputError(f"{path} holds no polygon", "give a GeoJSON file with polygons")
    if grid.crs is not None:
        try:
            polygon = _reproject(polygon, _declared_crs(document), grid.crs)
        except (pyproj.exceptions.CRSError, AttributeError) as error:
            raise InputError(f"{path} names a CRS that is not known: {error}", "leave it out for WGS 84") from error
    box = _touched(polygon, grid)
    if box is None:
        raise InputError(
            f"{path} lies outside the scene: it covers {tuple(round(v, 3) for v in polygon.bounds)}, "
            f"the scene {tuple(round(v, 3) for v in grid.bounds)}",
            "GeoJSON coordinates are longitude, latitude (WGS 84) unless its crs member says otherwise",
        )
    aoi = Aoi(grid, polygon, box)
    if not any(aoi.inside(strip).any() for strip in box.pieces(_STRIP, box.cols.size)):
        raise InputError(f"{path} holds no pixel's centre: it is smaller than a PAN pixel", "give a larger polygon")
    return aoi


def _geometries(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in document["features"] if feature.get("geometry")]
    return [document["geometry"] if document["type"] == "Feature" else document]


def _declared_crs(document: dict[str, Any]) -> str:
    declared = document.get("crs") or {}
    return str(declared.get("properties", {}).get("name", "OGC:CRS84"))


def _reproject(polygon: BaseGeometry, source: str, target: CRS) -> BaseGeometry:
    transformer = pyproj.Transformer.from_crs(source, target.to_wkt(), always_xy=True)
    dense = shapely.segmentize(polygon, polygon.length / 200)
    moved: BaseGeometry = shapely.transform(
        dense, lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
    )
    return moved


def _touched(polygon: BaseGeometry, grid: Grid) -> Box | None:
    west, south, east, north = polygon.bounds
    cols, rows = zip(*(~grid.transform @ (x, y) for x in (west, east) for y in (south, north)), strict=True)
    if not all(map(math.isfinite, (*rows, *cols))):
        return None
    around = Box(*(Span(math.floor(min(axis)), math.ceil(max(axis))) for axis in (rows, cols)))
    box = around.intersection(grid.box)
    return None if box.empty else box
