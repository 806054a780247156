from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clippan_cli.scene.layout import HDF5_ORDERS, MATLAB_ORDERS, fit_pair, fit_truth

INDEX = {axis: place for place, axis in enumerate("nchw")}


def numbered(samples: int, bands: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Pixels that all differ, ``(N, C, h, w)``."""
    return np.arange(samples * bands * rows * columns).reshape(samples, bands, rows, columns)


def laid(pixels: NDArray[np.int64], order: str, without: str = "") -> NDArray[np.int64]:
    """The same in another order; axes of one element may be left out."""
    moved = pixels.transpose([INDEX[axis] for axis in order])
    return moved.squeeze(tuple(place for place, axis in enumerate(order) if axis in without))


@given(
    orders=st.sampled_from([HDF5_ORDERS, MATLAB_ORDERS]),
    which=st.integers(0, 2),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(6, 9), st.integers(6, 9)),
    ratio=st.integers(2, 4),
    bare=st.booleans(),
)
def test_every_order_is_read_alike(
    orders: tuple[str, ...], which: int, sizes: tuple[int, int, int, int], ratio: int, bare: bool
) -> None:
    samples, bands, rows, columns = sizes
    order = orders[which]
    ms, pan = numbered(*sizes), numbered(samples, 1, rows * ratio, columns * ratio)
    truth = numbered(samples, bands, rows * ratio, columns * ratio)
    absent = "n" if bare and samples == 1 else ""
    arrays = [laid(ms, order, absent), laid(pan, order, absent + "c" * bare), laid(truth, order, absent)]
    fitted = fit_pair(arrays[0].shape, arrays[1].shape, orders)
    layouts = (*fitted, fit_truth(arrays[2].shape, *fitted, orders))
    assert fitted[0].samples == samples
    for array, layout, pixels in zip(arrays, layouts, (ms, pan, truth), strict=True):
        for sample in range(samples):
            np.testing.assert_array_equal(layout.read(array, sample), pixels[sample])


def test_one_band_without_an_axis() -> None:
    ms, pan = fit_pair((6, 16, 12), (6, 64, 48), HDF5_ORDERS)
    assert (ms.samples, ms.bands, ms.image, pan.image) == (6, 1, (16, 12), (64, 48))
    ms, pan = fit_pair((16, 12, 6), (64, 48, 6), MATLAB_ORDERS)
    assert (ms.samples, ms.bands, ms.image, pan.image) == (6, 1, (16, 12), (64, 48))
    ms, pan = fit_pair((16, 12), (64, 48), MATLAB_ORDERS)
    assert (ms.samples, ms.bands, ms.image, pan.image) == (1, 1, (16, 12), (64, 48))


@pytest.mark.parametrize(
    ("ms", "pan", "why"),
    [
        ((5, 4, 16, 16), (4, 1, 64, 64), "5 of MS, but 4 of PAN"),
        ((5, 4, 16, 16), (5, 1, 65, 64), "PAN of 64 × 65 px is no whole multiple of MS of 16 × 16 px"),
        ((5, 4, 16, 16), (5, 1, 64, 32), "PAN of 32 × 64 px is no whole multiple of MS of 16 × 16 px"),
        ((5, 4, 64, 64), (5, 1, 64, 64), "no whole multiple"),
        ((5, 4, 0, 16), (5, 1, 0, 64), "no whole multiple"),
        ((5, 4, 16, 16), (5, 3, 64, 64), "PAN the same and one band"),
        ((2, 5, 4, 16, 16), (2, 5, 1, 64, 64), "MS has samples, bands, rows and columns"),
        ((5,), (5, 1, 64, 64), "MS has samples, bands, rows and columns"),
    ],
)
def test_what_does_not_fit(ms: tuple[int, ...], pan: tuple[int, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fit_pair(ms, pan, HDF5_ORDERS)


def test_a_truth_that_does_not_fit() -> None:
    ms, pan = fit_pair((5, 4, 16, 12), (5, 1, 64, 48), HDF5_ORDERS)
    for shape in ((5, 3, 64, 48), (4, 4, 64, 48), (5, 4, 32, 24), (4, 64, 48)):
        with pytest.raises(ValueError, match="it takes 5 × 4 bands of 48 × 64 px"):
            fit_truth(shape, ms, pan, HDF5_ORDERS)
