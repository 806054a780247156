"""Constant borders that a file does not declare as nodata."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box
from clippan_cli.scene.raster import Collar, Raster

_CORNER = 4
_COARSE = 1024
_LEAST_CELLS = 16


def detect_collar(raster: Raster) -> Collar | None:
    """Look for a constant border, beginning at the corners.

    A border is what no sensor delivers: 0 or less, the top of 16 bits, or a float beyond ±9999, the same in
    all bands and connected to the edge of the scene. Files that declare nodata, a mask or alpha are believed,
    and so is the user.
    """
    if raster.overridden or raster.nodata is not None or raster.declares_mask or min(raster.grid.shape) < 2 * _CORNER:
        return None
    values = {value for value in map(float, _corner_values(raster)) if _implausible(value, raster.dtype)}
    if not values:
        return None
    from scipy import ndimage  # rarely needed, and a tenth of a second to import

    coarse = raster.read_coarse(_COARSE)
    for value in sorted(values):
        cells = _connected_to_edge((coarse == value).all(0))
        if cells.sum() >= _LEAST_CELLS:
            grown = ndimage.binary_dilation(cells, np.ones((3, 3), bool), iterations=2)
            return Collar(value, grown, float(cells.mean()))
    return None


def _corner_values(raster: Raster) -> list[float]:
    """Return the value of each corner patch that is constant over all bands."""
    height, width = raster.grid.shape
    found = []
    for row in (0, height - _CORNER):
        for col in (0, width - _CORNER):
            patch = raster.read_raw(Box.at((row, col), (_CORNER, _CORNER)))
            if (patch == patch.flat[0]).all():
                found.append(float(patch.flat[0]))
    return found


def _implausible(value: float, dtype: str) -> bool:
    if np.issubdtype(np.dtype(dtype), np.floating):
        return value == 0 or abs(value) >= 9999
    return value <= 0 or (dtype == "uint16" and value == 65535)


def _connected_to_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, edge[edge > 0])
