"""The same window of MS and PAN, read together."""

from __future__ import annotations

import torch

from clippan_cli.base.geometry import Box
from clippan_cli.physics.pixels import Pixels, Validity, Window
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.raster import Raster


def read_window(pair: Pair, ms_box: Box, pan_box: Box) -> Window:
    """Read a window of both rasters, in DN; what is invalid is 0."""
    pan = read_pixels(pair.pan, pan_box)
    return Window(read_pixels(pair.ms, ms_box), Pixels(pan.values[0], pan.valid[0]), ms_box, pan_box)


def read_pixels(raster: Raster, box: Box) -> Pixels:
    """Read a window of one raster: ``(C, h, w)`` in DN; what is invalid is 0."""
    values, valid = raster.read(box)
    return Pixels(torch.from_numpy(values), Validity(None if valid is None else torch.from_numpy(valid)))
