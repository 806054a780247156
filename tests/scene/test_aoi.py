from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.scene.aoi import read_aoi
from clippan_cli.scene.grid import Grid
from tests.conftest import PLACE

GRID = Grid((200, 300), PLACE, rasterio.crs.CRS.from_epsg(32631))


def square(path: Path, rows: tuple[float, float], cols: tuple[float, float], crs: str = "OGC:CRS84") -> str:
    corners = [PLACE @ (cols[i], rows[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]
    transformer = pyproj.Transformer.from_crs("EPSG:32631", crs, always_xy=True)
    ring = [list(transformer.transform(x, y)) for x, y in corners]
    document = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    if crs != "OGC:CRS84":
        document["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:32631", "urn:ogc:def:crs:EPSG::3857"])
def test_polygon_lands_on_the_grid(tmp_path: Path, crs: str) -> None:
    aoi = read_aoi(square(tmp_path / "a.geojson", (20.2, 80.3), (50.4, 120.1), crs), GRID)
    assert aoi.box == Box(Span(20, 81), Span(50, 121))
    inside = aoi.inside(Box(Span(0, 200), Span(0, 300)))
    wanted = np.zeros((200, 300), bool)
    wanted[20:80, 50:120] = True
    np.testing.assert_array_equal(inside, wanted)
    np.testing.assert_array_equal(aoi.inside(Box(Span(10, 60), Span(100, 150))), wanted[10:60, 100:150])


def test_polygon_is_cut_at_the_edge(tmp_path: Path) -> None:
    aoi = read_aoi(square(tmp_path / "a.geojson", (-50, 30), (250, 400)), GRID)
    # The corner goes to degrees and back, so the last row may be touched or not.
    assert aoi.box.rows in (Span(0, 30), Span(0, 31))
    assert aoi.box.cols in (Span(250, 300), Span(249, 300))


def test_bad_polygons(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies outside the scene"):
        read_aoi(square(tmp_path / "far.geojson", (900, 950), (50, 80)), GRID)
    (tmp_path / "torn.geojson").write_text('{"type": "Feat')
    with pytest.raises(InputError, match="cannot read the area of interest"):
        read_aoi(str(tmp_path / "torn.geojson"), GRID)
    (tmp_path / "point.geojson").write_text('{"type": "Point", "coordinates": [3, 48]}')
    with pytest.raises(InputError, match="holds no polygon"):
        read_aoi(str(tmp_path / "point.geojson"), GRID)
    with pytest.raises(InputError, match="cannot read"):
        read_aoi(str(tmp_path / "missing.geojson"), GRID)
