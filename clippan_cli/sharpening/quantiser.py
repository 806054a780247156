"""The way from floats to the pixel type of the output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clippan_cli.scene.writer import integer_limits


@dataclass
class Changes:
    """Counts values that were not written as they were computed.

    Args:
        clipped: The number of values clipped to the range of the pixel type.
        moved_off_nodata: The number of valid values equal to nodata, moved by one.
    """

    clipped: int = 0
    moved_off_nodata: int = 0


@dataclass(frozen=True)
class Quantiser:
    """Turns floats into the output's pixel type.

    Args:
        dtype: The pixel type by NumPy's name.
        nodata: The value that valid pixels must not take; None if there is none.
        bands: The bands to keep, counted from 0.
        bits: The number of bits of an integer that are kept; None for all.
    """

    dtype: str
    nodata: float | None
    bands: tuple[int, ...]
    bits: int | None = None

    def __call__(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_] | None, changes: Changes) -> NDArray[Any]:
        """Round, clip, keep valid pixels off the nodata value and put it where there are no data.

        Args:
            pixels: The pixels in DN, ``(C, h, w)``; overwritten.
            valid: Whether each pixel is valid, ``(1 or bands kept, h, w)``; None where all are.
            changes: The counts to which values clipped and moved are added.
        """
        chosen = list(self.bands)
        pixels = np.ascontiguousarray(pixels) if chosen == list(range(len(pixels))) else pixels[chosen]
        kind: np.dtype[Any] = np.dtype(self.dtype)
        known = np.True_ if valid is None else valid
        if not np.issubdtype(kind, np.integer):
            out = pixels.astype(kind)
        else:
            low, high = integer_limits(self.dtype, self.bits)
            lowest, highest = (float(edge) for edge in torch.from_numpy(pixels).aminmax())
            if lowest < low - 0.5 or highest > high + 0.5:
                outside = (pixels < low - 0.5) | (pixels > high + 0.5)
                changes.clipped += int(np.count_nonzero(outside & known))
                np.clip(pixels, low, high, out=pixels)
            if high < 2**24:
                out = np.empty(pixels.shape, kind)
                np.rint(pixels, out=out, casting="unsafe")
            else:
                # Beyond 24 bits the largest float below the limit is not the limit itself.
                out = np.clip(np.rint(pixels.astype(np.float64)), low, high).astype(kind)
        if self.nodata is not None and not math.isnan(self.nodata):
            taken = out == kind.type(self.nodata)
            if taken.any():
                taken &= known
                changes.moved_off_nodata += int(np.count_nonzero(taken))
                out[taken] = self._beside(kind)
        if valid is not None:
            np.copyto(out, kind.type(0 if self.nodata is None else self.nodata), where=~valid)
        return out

    def _beside(self, kind: np.dtype[Any]) -> Any:
        """Return the value next to nodata, towards the inside of the type's range."""
        assert self.nodata is not None
        value = kind.type(self.nodata)
        if np.issubdtype(kind, np.integer):
            _, high = integer_limits(self.dtype, self.bits)
            return kind.type(int(value) + (1 if int(value) < high else -1))
        return np.nextafter(value, kind.type(0) if value != 0 else kind.type(1))
