from __future__ import annotations

import filecmp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import OutputError
from clippan_cli.fusion.moments import MomentsRecord
from clippan_cli.scene.grid import Grid
from clippan_cli.scene.raster import Band
from clippan_cli.scene.writer import Format, Meaning, Writer
from clippan_cli.sharpening.journal import Header, Journal
from clippan_cli.sharpening.quantiser import Changes
from tests.conftest import PLACE, read

SIDE = 700
GRID = Grid((SIDE, SIDE), PLACE, rasterio.crs.CRS.from_epsg(32631))


def band(name: str, **more: Any) -> Band:
    plain = {"nodata": None, "colour": ColorInterp.undefined, "scale": 1.0, "offset": 0.0, "unit": None, "tags": {}}
    return Band(name=name, **{**plain, **more})


BANDS = (
    band("red", scale=0.1, offset=-5.0, unit="W/m2", tags={"wavelength": "660"}),
    band("nir"),
)


def form(**more: Any) -> Format:
    return Format(**{"driver": "GTiff", "dtype": "uint16", "nodata": None, "mask": False, **more})


def data(dtype: str = "uint16") -> NDArray[Any]:
    rng = np.random.default_rng(0)
    return (500 + 20 * rng.standard_normal((2, SIDE, SIDE)).cumsum(2)).clip(0, 4000).astype(dtype)


def fill(writer: Writer, pixels: NDArray[Any], starts: tuple[int, ...] = (0, 512)) -> None:
    for row in starts:
        with writer.session():
            rows = Span(row, min(SIDE, row + 512))
            writer.write(Box(rows, Span(0, SIDE)), pixels[:, rows.start : rows.stop], None)


def test_meaning_survives(tmp_path: Path) -> None:
    numbers = [f"{name}_{part}" for name in ("height", "lat", "line", "long", "samp") for part in ("off", "scale")]
    lists = [f"{name}_{part}_coeff" for name in ("line", "samp") for part in ("num", "den")]
    rpc = RPC(**dict.fromkeys(numbers, 1.0), **dict.fromkeys(lists, [0.5] * 20))
    writer = Writer(tmp_path / "a.tif", form(), Meaning(GRID, BANDS, {"SATELLITE": "X"}, rpc))
    writer.create()
    fill(writer, data())
    writer.finish()
    assert not (tmp_path / "a.tif").exists()
    writer.publish()
    with rasterio.open(tmp_path / "a.tif") as made:
        assert made.transform == PLACE
        assert made.descriptions == ("red", "nir")
        assert made.colorinterp == (ColorInterp.red, ColorInterp.undefined)
        assert made.scales == (0.1, 1.0)
        assert made.offsets == (-5.0, 0.0)
        assert made.units[0] == "W/m2"
        assert made.tags(1)["wavelength"] == "660"
        assert made.tags()["SATELLITE"] == "X"
        assert made.rpcs.line_off == 1
        assert made.block_shapes == [(512, 512)] * 2
        assert made.compression.value == "DEFLATE"
        np.testing.assert_array_equal(made.read(), data())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]


@pytest.mark.parametrize("options", [{}, {"COMPRESS": "NONE"}, {"COMPRESS": "ZSTD", "TILED": "NO"}])
@pytest.mark.parametrize("mask", [False, True])
def test_bytes_do_not_depend_on_an_interruption(tmp_path: Path, options: dict[str, str], mask: bool) -> None:
    pixels = data()
    made = []
    for name in ("whole", "broken"):
        writer = Writer(tmp_path / f"{name}.tif", form(options=options, mask=mask), Meaning(GRID, BANDS, {}, None))
        writer.create()
        journal = Journal(writer.partial)
        journal.start(Header(key={"a": 1}, moments=MomentsRecord(names=[], sums=[]), method="exp", guard=None))
        fill(writer, pixels, (0,))
        journal.note(0, Changes(clipped=3))
        if name == "broken":
            fill(writer, pixels[:, ::-1], (512,))
            found = Journal(writer.partial).resume({"a": 1})
            assert found is not None
            _, state = found
            assert (state.rows, state.counts) == (1, Changes(clipped=3))
        fill(writer, pixels, (512,))
        journal.remove()
        writer.finish()
        writer.publish()
        made.append(writer.path)
    assert filecmp.cmp(made[0], made[1], shallow=False)
    np.testing.assert_array_equal(read(str(made[0])), pixels)


def test_internal_mask(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.tif", form(mask=True), Meaning(GRID, BANDS, {}, None))
    valid = np.random.default_rng(0).random((SIDE, SIDE)) > 0.3
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        writer.create()
        with writer.session():
            writer.write(Box(Span(0, SIDE), Span(0, SIDE)), data(), valid)
        writer.finish()
        writer.publish()
    with rasterio.open(tmp_path / "a.tif") as made:
        np.testing.assert_array_equal(made.read_masks(1) > 0, valid)
    assert not (tmp_path / "a.tif.msk").exists()


def test_cog(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.tif", form(driver="COG"), Meaning(GRID, BANDS, {"SATELLITE": "X"}, None))
    writer.create()
    fill(writer, data())
    writer.finish()
    writer.publish()
    with rasterio.open(tmp_path / "a.tif") as made:
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert made.overviews(1) == [2]
        assert made.descriptions == ("red", "nir")
        assert made.tags()["SATELLITE"] == "X"
        np.testing.assert_array_equal(made.read(), data())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]


@pytest.mark.parametrize(
    ("options", "driver", "words"),
    [
        ({"COMPRES": "DEFLATE"}, "GTiff", "COMPRES"),
        ({"COMPRESS": "SQUEEZE"}, "GTiff", "SQUEEZE"),
        ({"COMPRESS": "JPEG"}, "GTiff", ""),
        ({"QUALTY": "3"}, "COG", "QUALTY"),
    ],
)
def test_options_that_gdal_does_not_take(tmp_path: Path, options: dict[str, str], driver: str, words: str) -> None:
    writer = Writer(tmp_path / "a.tif", form(driver=driver, options=options), Meaning(GRID, BANDS, {}, None))
    with pytest.raises(OutputError) as caught:
        writer.create()
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_lossy_codec_is_accepted(tmp_path: Path) -> None:
    writer = Writer(
        tmp_path / "a.tif", form(dtype="uint8", options={"COMPRESS": "JPEG"}), Meaning(GRID, BANDS, {}, None)
    )
    writer.create()
    pixels = (data() // 16).astype("uint8")
    fill(writer, pixels)
    writer.finish()
    writer.publish()
    assert np.abs(read(str(writer.path)).astype(int) - pixels).mean() < 4
