"""The image to judge: does it belong to the scene, and in which unit is it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.physics.pixels import Window
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.raster import Raster

_FAR = 0.02
_SCALES = (0.5, 2.0)
_MIDDLE = 512


def open_image(
    stack: ExitStack, path: str, what: str, pair: Pair, *, bands: tuple[int, ...], src_nodata: float | str | None
) -> tuple[Raster, Box]:
    """Open an image on PAN's grid, or on a part of it.

    Args:
        stack: The stack that closes it.
        path: The file.
        what: The name to call it by in an error.
        pair: The scene.
        bands: The MS bands that it should hold, counted from 0.
        src_nodata: Its nodata value, if it declares none.

    Returns:
        The raster, and the pixels of PAN's grid that it covers.

    Raises:
        InputError: It does not belong to the scene, with the numbers.
    """
    raster = stack.enter_context(Raster([path]))
    if src_nodata is not None and raster.nodata is None and not raster.declares_mask:
        raster = stack.enter_context(Raster([path], src_nodata))
    if raster.count != len(bands):
        raise InputError(
            f"{what} has {raster.count} bands, "
            + (f"MS has {len(bands)}" if len(bands) == pair.ms.count else f"-b names {len(bands)}")
            + f": {path}",
            "name the MS bands that it holds, in its order: -b 3,2,1"
            if raster.count < pair.ms.count
            else "give the image that was sharpened from this MS",
        )
    return raster, _lies(raster, pair.pan, what)


def _lies(raster: Raster, pan: Raster, what: str) -> Box:
    """Find where an image lies on PAN's grid."""
    grid, fine = raster.grid, pan.grid
    if not grid.georeferenced and grid.shape == fine.shape:
        return fine.box
    if grid.crs is not None and fine.crs is not None and grid.crs != fine.crs:
        raise InputError(
            f"different CRS: {what} is in {grid.crs.to_string()}, PAN in {fine.crs.to_string()}",
            "assess the image on PAN's own grid, before it is reprojected",
        )
    relative = grid.relative_to(fine)
    if max(abs(relative.a - 1), abs(relative.e - 1)) * max(grid.shape) > _FAR or not grid.north_up:
        raise InputError(
            f"{what} lies on another grid than PAN: its pixel is {grid.pixel[1]:.6g} × {grid.pixel[0]:.6g}, "
            f"PAN's {fine.pixel[1]:.6g} × {fine.pixel[0]:.6g}",
            "assess the image on PAN's own grid, before it is resampled",
        )
    col, row = relative.c, relative.f
    start = round(row), round(col)
    if max(abs(row - start[0]), abs(col - start[1])) > _FAR:
        raise InputError(
            f"{what} lies between PAN's pixels: its corner is at row {row:.2f}, column {col:.2f} of PAN",
            "assess the image on PAN's own grid, before it is resampled",
        )
    box = Box.at(start, grid.shape)
    if min(start) < 0 or any(span.stop > side for span, side in zip(box, fine.shape, strict=True)):
        raise InputError(
            f"{what} covers rows {box.rows.start}–{box.rows.stop} and columns {box.cols.start}–{box.cols.stop} "
            f"of PAN's grid, PAN has {fine.shape[0]} rows and {fine.shape[1]} columns",
            "crop it to PAN's extent first: rio clip hrms.tif clipped.tif --like pan.tif",
        )
    return box


def check_unit(
    raster: Raster, what: str, area: Box, pair: Pair, *, samples: Sequence[Window], bands: Sequence[int]
) -> None:
    """Compare the image's band means with those of MS, on the samples of the survey that it covers.

    Args:
        raster: The image.
        what: The name to call it by in an error.
        area: The pixels of PAN's grid that it covers.
        pair: The scene.
        samples: The samples of the survey; where the image covers none of them, its middle is compared.
        bands: The MS bands that it holds, counted from 0.

    Raises:
        InputError: The means differ by more than a factor of two.
    """
    shape, places = pair.pan.grid.shape, []
    for ms_box in [sample.ms_box for sample in samples]:
        outer = pair.sampling.pan_box(ms_box, 0, shape)
        if outer.inside(area):
            places.append((outer, ms_box))
    if not places:
        middle = Box(*(_middle(span) for span in area))
        places = [(middle, pair.sampling.ms_box(middle, pair.ms.grid.shape))]
    means = [
        (
            _mean(raster, pan_box.relative_to(area), k),
            _mean(pair.ms, ms_box, band),
        )
        for pan_box, ms_box in places
        for k, band in enumerate(bands)
    ]
    known = [(ours, theirs) for ours, theirs in means if ours is not None and theirs]
    factor = float(np.median([ours / theirs for ours, theirs in known])) if known else 1.0
    if not _SCALES[0] <= factor <= _SCALES[1]:
        ours, theirs = np.mean(known, axis=0)
        raise InputError(
            f"{what} is in another unit than MS: its mean is {ours:.6g}, that of MS {theirs:.6g} ({factor:.4g} times)",
            "give it in MS's unit, before it is scaled or converted",
        )


def _middle(span: Span) -> Span:
    half = min(span.size, _MIDDLE) // 2
    centre = (span.start + span.stop) // 2
    return Span(centre - half, centre + half)


def _mean(raster: Raster, box: Box, band: int) -> float | None:
    """Return the mean of one band's valid pixels, in DN; None where there are none."""
    pixels, valid = raster.read(box)
    good = slice(None) if valid is None else valid[band if len(valid) > 1 else 0]
    chosen = pixels[band][good]
    return float(chosen.mean(dtype=np.float64)) if chosen.size else None


def peak_of(raster: Raster, scale: float) -> float:
    """Return the highest value that a pixel can have, in DN: from the file's bit depth, else from what was seen.

    Args:
        raster: The truth.
        scale: A power of two that no pixel of the samples exceeds.
    """
    bits = raster.datasets[0].tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    if bits is not None:
        return float(2 ** int(bits) - 1)
    if raster.dtype == "uint8":
        return 255.0
    return scale - 1 if raster.integer else scale


def ranges(
    samples: tuple[Window, ...], scale: float, bands: tuple[int, ...], bins: int, *, integer: bool
) -> NDArray[np.float64]:
    """Return the lowest and highest DN of each band's histogram, a little beyond what MS shows: ``(C, 2)``.

    Args:
        samples: The samples of the survey.
        scale: The DN of one scene unit.
        bands: The MS bands that have a histogram, counted from 0.
        bins: The number of bins of a histogram.
        integer: Whether pixels are whole numbers: then every bin holds as many of them.
    """
    rows = []
    for band in bands:
        values = torch.cat([sample.ms.known(band) for sample in samples]).double() * scale
        low, high = (float(np.quantile(values.numpy(), q)) for q in (0.001, 0.999)) if len(values) else (0.0, 1.0)
        margin = 0.15 * (high - low) or 1.0
        low, high = max(low - margin, min(0.0, low)), high + margin
        if integer:
            low = math.floor(low) - 0.5
            high = low + bins * math.ceil((high - low) / bins)
        rows.append((low, high))
    return np.array(rows)
