from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from clippan_cli.sharpening.output import DTYPES
from clippan_cli.sharpening.quantiser import Changes, Quantiser

INTEGERS = [name for name in DTYPES if np.issubdtype(np.dtype(name), np.integer)]
FLOATS = [name for name in DTYPES if name not in INTEGERS]
SHAPE = (3, 4, 5)


def pixels(most: float) -> st.SearchStrategy[NDArray[np.float32]]:
    """Images whose values often lie at an edge or between two integers."""
    edges = [0.0, 0.49, 0.5, 1.5, 2.5, 254.6, 255.5, 65534.5, 65536.0, -0.5, -0.51, -32768.5]
    near = [float(np.float32(edge)) for edge in edges if abs(edge) <= most]
    values = st.floats(-most, most, width=32) | st.sampled_from(near)
    return arrays.arrays(np.float32, SHAPE, elements=values)


VALID = st.none() | st.sampled_from([1, 3]).flatmap(lambda bands: arrays.arrays(np.bool_, (bands, *SHAPE[1:])))


def naive(
    image: NDArray[np.float32], valid: NDArray[np.bool_] | None, low: int, high: int, nodata: int | None
) -> tuple[NDArray[Any], int, int]:
    """The same, pixel by pixel: values, how many were clipped, how many were moved."""
    out = np.zeros(image.shape, np.int64)
    clipped = moved = 0
    known = np.broadcast_to(True if valid is None else valid, image.shape)
    for at in np.ndindex(image.shape):
        value, rounded = float(image[at]), round(float(image[at]))
        if not known[at]:
            out[at] = 0 if nodata is None else nodata
            continue
        clipped += not low - 0.5 <= value <= high + 0.5
        out[at] = min(max(rounded, low), high)
        if nodata is not None and out[at] == nodata:
            moved += 1
            out[at] += 1 if nodata < high else -1
    return out, clipped, moved


@settings(max_examples=60)
@given(st.sampled_from(INTEGERS), pixels(1e5), VALID, st.sampled_from([None, 0, 1, "low", "high"]))
def test_integers_are_rounded_clipped_and_kept_off_nodata(
    dtype: str, image: NDArray[np.float32], valid: NDArray[np.bool_] | None, nodata: int | str | None
) -> None:
    limits = np.iinfo(dtype)
    number = {"low": limits.min, "high": limits.max}.get(str(nodata), nodata)
    assert number is None or isinstance(number, int)
    changes = Changes()
    made = Quantiser(dtype, None if number is None else float(number), (0, 1, 2))(image.copy(), valid, changes)
    wanted, clipped, moved = naive(image, valid, int(limits.min), int(limits.max), number)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made.astype(np.int64), wanted)
    assert changes == Changes(clipped, moved)


@given(pixels(5000), st.integers(2, 12), VALID)
def test_fewer_bits_clip_earlier(image: NDArray[np.float32], bits: int, valid: NDArray[np.bool_] | None) -> None:
    changes = Changes()
    made = Quantiser("uint16", 0, (0, 1, 2), bits)(image.copy(), valid, changes)
    wanted, clipped, moved = naive(image, valid, 0, 2**bits - 1, 0)
    np.testing.assert_array_equal(made, wanted)
    assert changes == Changes(clipped, moved)


@given(st.sampled_from(FLOATS), pixels(1e5), VALID, st.sampled_from([None, np.nan, 0.0, 255.5, -9999.0]))
def test_floats_stay_as_they_are(
    dtype: str, image: NDArray[np.float32], valid: NDArray[np.bool_] | None, nodata: float | None
) -> None:
    image[0, 0, :2] = (-9999.0, 255.5)
    changes = Changes()
    made = Quantiser(dtype, nodata, (0, 1, 2))(image.copy(), valid, changes)
    known = np.broadcast_to(True if valid is None else valid, SHAPE)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made[~known], np.dtype(dtype).type(0 if nodata is None else nodata))
    equal = known & (image == (np.nan if nodata is None else nodata))
    np.testing.assert_array_equal(made[known & ~equal], image[known & ~equal])
    assert (made[equal] != nodata).all()
    np.testing.assert_allclose(made[equal], image[equal], rtol=1e-6, atol=1e-30)
    assert changes == Changes(0, int(equal.sum()))


def test_ties_go_to_the_even_number() -> None:
    image = np.array([[[0.5, 1.5, 2.5, 3.5, -0.5]]], np.float32)
    assert Quantiser("uint8", None, (0,))(image, None, Changes()).tolist() == [[[0, 2, 2, 4, 0]]]


@pytest.mark.parametrize("bands", [(2, 0), (1,), (0, 1, 2), (0, 0)])
def test_bands_are_picked_in_their_order(bands: tuple[int, ...]) -> None:
    image = np.arange(60, dtype=np.float32).reshape(SHAPE)
    valid = np.ones((len(bands), *SHAPE[1:]), bool)
    valid[-1, 0, 0] = False
    made = Quantiser("int16", -1, bands)(image.copy(), valid, Changes())
    wanted = image[list(bands)].copy()
    wanted[-1, 0, 0] = -1
    np.testing.assert_array_equal(made, wanted)


def test_changes_add_up() -> None:
    changes = Changes()
    quantiser = Quantiser("uint8", 0, (0,))
    for _ in range(3):
        quantiser(np.array([[[300.0, 0.0, 7.0]]], np.float32), None, changes)
    assert changes == Changes(clipped=3, moved_off_nodata=3)


def test_invalid_values_count_for_nothing() -> None:
    changes = Changes()
    image = np.array([[[1e6, 0.0, -5.0]]], np.float32)
    made = Quantiser("uint8", 0, (0,))(image, np.zeros((1, 1, 3), bool), changes)
    assert made.tolist() == [[[0, 0, 0]]]
    assert changes == Changes()


def test_few_bits_keep_off_nodata_at_their_top() -> None:
    made = Quantiser("uint16", 1023, (0,), 10)(np.array([[[1023.0, 2000.0]]], np.float32), None, Changes())
    assert made.tolist() == [[[1022, 1022]]]
