"""Wald's protocol on disk: a whole scene one scale down, whose truth is the measured MS."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window as Place

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.opening.window import read_pixels, read_window
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.grid import Grid
from clippan_cli.scene.pair import Pair, open_pair
from clippan_cli.scene.raster import Raster

_STEP = 512


def write_reduced(pair: Pair, sampling: Sampling, folder: Path) -> Pair:
    """Write the reduced pair, window by window, and open it.

    MS is seen through its own MTF once more; PAN as its sensor would see it at MS's resolution.

    Args:
        pair: The scene.
        sampling: The place of MS on PAN, registration included.
        folder: The folder of the files.

    Raises:
        InputError: The scene is too small to be reduced.
    """
    grid, ratio = pair.ms.grid, sampling.ratio
    shape = (int(grid.shape[0] / ratio[0]), int(grid.shape[1] / ratio[1]))
    if min(grid.shape) < 2 * BLOCK or min(shape) < 8:
        raise InputError(
            f"MS of {grid.shape[1]} × {grid.shape[0]} px is too small to be judged one scale down",
            f"it takes at least {2 * BLOCK} px a side",
        )
    nested = ((ratio[0] - 1) / 2, (ratio[1] - 1) / 2)
    stated = Sampling.uniform(ratio, nested, sampling.gains, sampling.pan_gain)
    ms_grid = Grid(shape, grid.transform @ Affine.scale(ratio[1], ratio[0]), grid.crs)
    pan_path, ms_path = folder / "pan.tif", folder / "ms.tif"
    with _create(pan_path, grid, 1) as target:
        for box in _boxes(grid.shape, _STEP):
            target.write(_pan(pair, sampling, box), window=_window(box))
    with _create(ms_path, ms_grid, pair.ms.count) as target:
        target.descriptions = [band.name for band in pair.ms.bands]
        for box in _boxes(shape, max(16, int(_STEP / max(ratio)))):
            target.write(_ms(pair.ms, stated, box), window=_window(box))
    return replace(open_pair([str(ms_path)], str(pan_path), sensor=pair.sensor.id), sampling=stated)


def _pan(pair: Pair, sampling: Sampling, box: Box) -> Any:
    """Return PAN on a window of MS's grid: ``(1, h, w)``, NaN where it sees no valid pixel."""
    alone = Sampling.uniform(sampling.ratio, sampling.centre, (sampling.pan_gain,))
    pan_box = alone.pan_box(box, alone.down_reach + 1, pair.pan.grid.shape)
    window = read_window(pair, box, pan_box)
    operators = Operators(alone, pan_box, box)
    return _seen(operators, Pixels(window.pan.values[None], window.pan.valid[None]))


def _ms(ms: Raster, stated: Sampling, box: Box) -> Any:
    """Return MS on a window of the reduced grid."""
    inner = stated.pan_box(box, stated.down_reach + 1, ms.grid.shape)
    return _seen(Operators(stated, inner, box), read_pixels(ms, inner))


def _seen(operators: Operators, x: Pixels) -> Any:
    whole = operators.sees_only(x.valid.of(x.values))
    return torch.where(whole, operators.down(x.values, x.valid), math.nan).numpy()


def _create(path: Path, grid: Grid, count: int) -> Any:
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=grid.shape[0],
        width=grid.shape[1],
        dtype="float32",
        nodata=math.nan,
        crs=grid.crs,
        transform=grid.transform,
        tiled=True,
        photometric="MINISBLACK",
        BIGTIFF="IF_SAFER",
    )


def _boxes(shape: tuple[int, int], step: int) -> Iterator[Box]:
    for row in np.arange(0, shape[0], step):
        for col in np.arange(0, shape[1], step):
            yield Box(Span(int(row), min(shape[0], int(row) + step)), Span(int(col), min(shape[1], int(col) + step)))


def _window(box: Box) -> Place:
    return Place(box.cols.start, box.rows.start, box.cols.size, box.rows.size)
