from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.scene.collar import detect_collar
from clippan_cli.scene.raster import Raster
from tests.conftest import PLACE, box, write

SIZE = 40


def pixels(dtype: str = "uint16") -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(10, 200, (3, SIZE, SIZE)).astype(dtype)


def test_all_valid_is_none(tmp_path: Path) -> None:
    data = pixels()
    with Raster([write(tmp_path / "a.tif", data, PLACE)]) as raster:
        values, valid = raster.read(Box(Span(3, 20), Span(5, 40)))
    assert valid is None
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, data[:, 3:20, 5:40])


def test_nodata_counts_in_each_band(tmp_path: Path) -> None:
    data = pixels()
    data[:, :4] = 0
    data[1, 20, 20] = 0
    with Raster([write(tmp_path / "a.tif", data, PLACE, nodata=0)]) as raster:
        _, valid = raster.read(box(SIZE, SIZE))
    assert valid is not None
    np.testing.assert_array_equal(valid, data != 0)


@pytest.mark.parametrize("nodata", [float("nan"), -9999.0, -3.4e38])
def test_invalid_floats_read_as_zero(tmp_path: Path, nodata: float) -> None:
    data = pixels("float32")
    data[:, :4], data[0, 9, 9] = nodata, np.nan
    with Raster([write(tmp_path / "a.tif", data, PLACE, nodata=nodata)]) as raster:
        values, valid = raster.read(box(SIZE, SIZE))
    assert valid is not None
    assert not valid[:, :4].any()
    assert not valid[0, 9, 9]
    assert valid[1, 9, 9]
    assert (values[~valid] == 0).all()


def test_src_nodata_goes_before_everything(tmp_path: Path) -> None:
    data = pixels()
    data[:, 0], data[:, 1] = 0, 7
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[2] = 0
    path = write(tmp_path / "a.tif", data, PLACE, mask=mask)
    for override, gone in ((None, {2}), (7.0, {1}), ("none", set())):
        with Raster([path], override) as raster:
            _, valid = raster.read(box(SIZE, SIZE))
        found = set() if valid is None else {row for row in range(SIZE) if not valid[:, row].any()}
        assert found == gone


def test_alpha_is_validity_and_no_band(tmp_path: Path) -> None:
    data = np.concatenate([pixels(), np.full((1, SIZE, SIZE), 255, np.uint16)])
    data[3, :5] = 0
    path = write(tmp_path / "a.tif", data, PLACE)
    with rasterio.open(path, "r+") as target:
        target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    with Raster([path]) as raster:
        values, valid = raster.read(box(SIZE, SIZE))
        assert raster.count == 3
        assert raster.declares_mask
    assert valid is not None
    np.testing.assert_array_equal(valid[0], data[3] > 0)
    assert (values[:, :5] == 0).all()


def test_alpha_of_every_file_counts(tmp_path: Path) -> None:
    paths = []
    for k in range(2):
        data = np.concatenate([pixels()[:1], np.full((1, SIZE, SIZE), 255, np.uint16)])
        data[1, 5 * k : 5 * k + 5] = 0
        paths.append(write(tmp_path / f"A{k}.tif", data, PLACE))
        with rasterio.open(paths[-1], "r+") as target:
            target.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    with Raster(paths) as raster:
        _, valid = raster.read(box(SIZE, SIZE))
    assert valid is not None
    assert not valid[0, :10].any()
    assert valid[0, 10:].all()


def test_single_band_files_make_one_raster(tmp_path: Path) -> None:
    data = pixels()
    paths = [write(tmp_path / f"B{k}.tif", data[k : k + 1], PLACE, names=(f"B{k}",)) for k in range(3)]
    with Raster(paths) as raster:
        values, _ = raster.read(box(SIZE, SIZE))
        assert [band.name for band in raster.bands] == ["B0", "B1", "B2"]
    np.testing.assert_array_equal(values, data)
    odd = write(tmp_path / "B9.tif", data[:1, :-1], PLACE)
    with pytest.raises(InputError, match="bands on different grids"):
        Raster([*paths, odd])


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot open"):
        Raster([str(tmp_path / "missing.tif")])
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(InputError, match="cannot open"):
        Raster([str(tmp_path / "text.tif")])
    with pytest.raises(InputError, match="complex numbers"):
        Raster([write(tmp_path / "c.tif", pixels().astype("complex64"), PLACE)])
    with pytest.raises(InputError, match="does not exist in uint16"):
        Raster([write(tmp_path / "a.tif", pixels(), PLACE)], -1.0)


def test_collar_is_found_from_the_corner_and_leaves_dark_pixels_alone(tmp_path: Path) -> None:
    data = pixels()
    rows, cols = np.mgrid[:SIZE, :SIZE]
    outside = rows + cols < 25
    data[:, outside] = 0
    data[:, 30, 30] = 0
    with Raster([write(tmp_path / "a.tif", data, PLACE)]) as raster:
        collar = detect_collar(raster)
        assert collar is not None
        assert collar.value == 0
        assert collar.share == pytest.approx(outside.mean())
        raster.mark_collar(collar)
        _, valid = raster.read(box(SIZE, SIZE))
        _, part = raster.read(Box(Span(5, 20), Span(0, 30)))
    assert valid is not None
    assert part is not None
    np.testing.assert_array_equal(valid[0], ~outside)
    np.testing.assert_array_equal(part[0], ~outside[5:20, :30])


def test_what_is_no_collar(tmp_path: Path) -> None:
    bright = pixels("uint8")
    bright[:, :15, :15] = 255
    declared = pixels()
    declared[:, :15, :15] = 0
    with Raster([write(tmp_path / "kept.tif", declared, PLACE)], "none") as raster:
        assert detect_collar(raster) is None
    for name, data, nodata in (("bright", bright, None), ("plain", pixels(), None), ("declared", declared, 0)):
        with Raster([write(tmp_path / f"{name}.tif", data, PLACE, nodata=nodata)]) as raster:
            assert detect_collar(raster) is None


def test_grid_is_exact(tmp_path: Path) -> None:
    place = Affine(0.1, 0, 123.456789, 0, -0.3, 987.654321)
    with Raster([write(tmp_path / "a.tif", pixels(), place)]) as raster:
        part = raster.grid.crop(Box(Span(7, 20), Span(3, 30)))
    assert part.shape == (13, 27)
    assert part.transform == place @ Affine.translation(3, 7)
    assert raster.grid.north_up
    assert raster.grid.bounds == pytest.approx((123.456789, 987.654321 - 12, 127.456789, 987.654321))
