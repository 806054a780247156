"""MS files that were enlarged by repeating pixels: their true grid is coarser than the file's."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box
from clippan_cli.scene.raster import Raster, Repeat

_SIDE = 96
_FACTORS = (4, 3, 2)  # what repeats four times repeats twice as well
_PLACES = (0.3, 0.5, 0.7)


def detect_repeats(raster: Raster) -> tuple[Repeat, Repeat] | None:
    """Measure how often pixels are repeated along rows and columns; None where the file holds what it seems to hold."""
    found: Counter[tuple[Repeat, Repeat]] = Counter()
    for shares in product(_PLACES, repeat=2):
        corner = [int(max(0, share * side - _SIDE / 2)) for share, side in zip(shares, raster.grid.shape, strict=True)]
        box = Box.at(corner, (_SIDE, _SIDE)).intersection(raster.grid.box)
        pixels = raster.read_raw(box)
        rows, cols = _along(pixels, 1, box.rows.start), _along(pixels, 2, box.cols.start)
        if rows is not None and cols is not None:
            found[rows, cols] += 1
    if len(found) != 1:
        return None
    [(repeats, votes)] = found.items()
    return repeats if votes >= 2 else None


def _along(pixels: NDArray[Any], axis: int, start: int) -> Repeat | None:
    """Find the period after which neighbours differ, and where."""
    steps = (np.diff(pixels, axis=axis) != 0).any(0)
    changes = steps.mean(1 if axis == 1 else 0)
    for factor in _FACTORS:
        for offset in range(factor):
            edge = (np.arange(len(changes)) + 1 + start) % factor == offset
            if edge.any() and changes[edge].mean() > 0.2 and (changes[~edge] < 0.005).all():
                return Repeat(factor, offset)
    return None
