"""How the arrays of a collection lie: which axis counts samples, which bands, rows and columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

HDF5_ORDERS = ("nchw", "nhwc", "hwcn")
"""The orders of samples (n), bands (c), rows (h) and columns (w) in HDF5, the most usual first."""

MATLAB_ORDERS = ("hwcn", "nhwc", "nchw")
"""The same in MATLAB."""

_LEFT_OUT = ("", "n", "c", "nc")


class Stored(Protocol):
    """An array in memory or in a file, which is read where it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes."""
        ...

    @property
    def dtype(self) -> DTypeLike:
        """The type of its numbers."""
        ...

    def __getitem__(self, key: tuple[int | slice, ...], /) -> Any:
        """Read a part of it."""
        ...


@dataclass(frozen=True)
class Layout:
    """Says what the axes of an array mean.

    Args:
        axes: A letter for each axis: n for samples, c for bands, h for rows, w for columns; n and c may be absent.
        shape: The sizes of the axes.
    """

    axes: str
    shape: tuple[int, ...]

    @property
    def samples(self) -> int:
        """The number of samples."""
        return self._size("n")

    @property
    def bands(self) -> int:
        """The number of bands."""
        return self._size("c")

    @property
    def image(self) -> tuple[int, int]:
        """The rows and the columns of a sample."""
        return self._size("h"), self._size("w")

    def _size(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def read(self, array: Stored, sample: int) -> NDArray[Any]:
        """Read one sample ``(C, h, w)`` of an array that lies like this."""
        pixels = np.asarray(array[tuple(sample if axis == "n" else slice(None) for axis in self.axes)])
        axes = self.axes.replace("n", "")
        if "c" not in axes:
            pixels, axes = pixels[None], f"c{axes}"
        return pixels.transpose([axes.index(axis) for axis in "chw"])


def fit_pair(ms: Sequence[int], pan: Sequence[int], orders: Sequence[str]) -> tuple[Layout, Layout]:
    """Find out how MS and PAN lie, by their shapes: in the first of the orders in which they fit.

    Raises:
        ValueError: They do not fit; it says why.
    """
    why = []
    for order in orders:
        for one, other in product(_layouts(order, ms), _layouts(order, pan)):
            if other.bands == 1:
                if (misfit := _misfit(one, other)) is None:
                    return one, other
                why.append(misfit)
    raise ValueError(why[0] if why else "MS has samples, bands, rows and columns, PAN the same and one band")


def fit_truth(truth: Sequence[int], ms: Layout, pan: Layout, orders: Sequence[str]) -> Layout:
    """Find out how the truth lies: it has the bands of MS and the pixels of PAN.

    Raises:
        ValueError: It does not fit.
    """
    wanted = (ms.samples, ms.bands, pan.image)
    for order in orders:
        for layout in _layouts(order, truth):
            if (layout.samples, layout.bands, layout.image) == wanted:
                return layout
    raise ValueError(f"it takes {ms.samples} × {ms.bands} bands of {_pixels(pan)}")


def _layouts(order: str, shape: Sequence[int]) -> Iterator[Layout]:
    """Yield what an array may be in this order; one sample or one band may have no axis."""
    for absent in _LEFT_OUT:
        axes = "".join(axis for axis in order if axis not in absent)
        if len(axes) == len(shape):
            yield Layout(axes, tuple(shape))


def _misfit(ms: Layout, pan: Layout) -> str | None:
    if ms.samples != pan.samples:
        return f"{ms.samples} of MS, but {pan.samples} of PAN"
    ratio = pan.image[0] // max(ms.image[0], 1)
    if ratio < 2 or pan.image != (ms.image[0] * ratio, ms.image[1] * ratio):
        return f"PAN of {_pixels(pan)} is no whole multiple of MS of {_pixels(ms)}"
    return None


def _pixels(layout: Layout) -> str:
    rows, columns = layout.image
    return f"{columns} × {rows} px"
