"""The maps as GeoTIFF: a pixel a block, with georeference."""

from __future__ import annotations

import math
from pathlib import Path

import rasterio
from affine import Affine

from clippan_cli.assessment.tally import Maps
from clippan_cli.errors import OutputError
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.scene.grid import Grid

TITLES = {
    "d_s": ("D_s", "spatial distortion"),
    "d_lambda": ("D_λ", "change of the qualities between bands"),
    "spectral": ("D_λᴷ", "spectral distortion: 1 − Q2n of the image seen through the MTF"),
}
"""The symbol and words of each map; 0 is perfect in all of them."""


def shown(maps: Maps) -> Maps:
    """Return the maps that are shown, each 0 where the image is perfect."""
    out = {key: maps[key] for key in ("d_s", "d_lambda") if key in maps}
    return out | {"spectral": 1 - maps["consistent"]}


def write_maps(folder: Path, maps: Maps, grid: Grid) -> tuple[str, ...]:
    """Write one file a map.

    Args:
        folder: The folder, created if need be.
        maps: The maps of one candidate.
        grid: The grid of the judged area.

    Returns:
        The paths of the files.

    Raises:
        OutputError: The folder cannot be created.
    """
    paths = {key: folder / f"{key}.tif" for key in shown(maps)}
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {folder}: {error.strerror}", "choose another folder") from error
    for key, values in shown(maps).items():
        symbol, words = TITLES[key]
        with rasterio.open(
            paths[key],
            "w",
            driver="GTiff",
            count=1,
            height=values.shape[0],
            width=values.shape[1],
            dtype="float32",
            nodata=math.nan,
            crs=grid.crs,
            transform=grid.transform @ Affine.scale(BLOCK),
            compress="DEFLATE",
        ) as target:
            target.write(values, 1)
            target.descriptions = [f"{symbol}: {words}, blocks of {BLOCK} px"]
    return tuple(str(path) for path in paths.values())
