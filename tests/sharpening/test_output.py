from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.rpc import RPC

from clippan_cli import SharpenOptions, explain, sharpen
from clippan_cli.base.options import build
from clippan_cli.base.version import __version__
from clippan_cli.errors import InputError, OutputError, UsageError
from clippan_cli.sharpening.job import check_output
from clippan_cli.sharpening.record import PlanRecord
from tests.conftest import PLACE, Made, read, write

MakeScene = Callable[..., Made]
FAST: dict[str, Any] = {"method": "exp", "consistency": 0, "register": "off", "overwrite": True}


def planned(scene: Made, **more: Any) -> PlanRecord:
    return explain([scene.ms], scene.pan, options=build(SharpenOptions, FAST | more)).plan


def run(scene: Made, **more: Any) -> Any:
    sharpen([scene.ms], scene.pan, scene.out, build(SharpenOptions, FAST | more))
    return read(scene.out)


def with_gap(size: int = 16) -> Any:
    valid = np.ones((size, size), bool)
    valid[:5, :7] = False
    return valid


@pytest.mark.parametrize(
    ("scene", "options", "nodata", "mask"),
    [
        ({}, {}, None, False),
        ({"nodata": 7}, {}, 7, False),
        ({"nodata": 7}, {"dtype": "uint8"}, 7, False),
        ({"nodata": -9999, "dtype": "int16"}, {"dtype": "uint8"}, 0, False),
        ({"nodata": 7}, {"dst_nodata": 3.0}, 3, False),
        ({"nodata": 7}, {"dst_nodata": "none"}, None, True),
        ({}, {"dst_nodata": "none"}, None, False),
        ({}, {"dst_nodata": 65535.0}, 65535, False),
        ({"dtype": "float32", "peak": 1.0}, {}, "nan", False),
        ({"dtype": "float32", "peak": 1.0}, {"dtype": "uint16"}, 0, False),
        ({"dtype": "float32", "peak": 1.0, "nodata": -9999.0}, {}, -9999, False),
        ({"valid": with_gap(64), "size": 64}, {}, 0, False),
        ({"nodata": 7}, {"src_nodata": "none"}, None, False),
        ({}, {"src_nodata": 5.0}, 5, False),
    ],
)
def test_where_nodata_comes_from(
    make_scene: MakeScene, scene: dict[str, Any], options: dict[str, Any], nodata: Any, mask: bool
) -> None:
    plan = planned(make_scene(**({"size": 16} | scene)), **options)
    found = "nan" if isinstance(plan.nodata, float) and math.isnan(plan.nodata) else plan.nodata
    assert (found, plan.internal_mask) == (nodata, mask)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 256.0), ("uint8", -1.0), ("uint16", 0.5), ("int16", math.nan), ("int32", 2.0**31), ("uint16", math.inf),
     ("float32", 1e39)],
)  # fmt: skip
def test_nodata_that_does_not_exist_is_refused(make_scene: MakeScene, dtype: str, nodata: float) -> None:
    with pytest.raises(UsageError, match=f"does not exist in {dtype}") as found:
        planned(make_scene(size=16), dtype=dtype, dst_nodata=nodata)
    assert "`dst_nodata`" in found.value.hint


@pytest.mark.parametrize(("dtype", "nodata"), [("float32", math.nan), ("float64", -math.inf), ("float64", 1e300)])
def test_floats_hold_any_nodata(make_scene: MakeScene, dtype: str, nodata: float) -> None:
    plan = planned(make_scene(size=16), dtype=dtype, dst_nodata=nodata)
    assert isinstance(plan.nodata, float)
    assert plan.nodata == nodata or math.isnan(nodata)


@pytest.mark.parametrize("dtype", ["uint7", "complex64", "int64", "float16", ""])
def test_pixel_types_that_are_refused(make_scene: MakeScene, dtype: str) -> None:
    with pytest.raises(UsageError, match="unknown pixel type") if dtype else pytest.raises(AssertionError):
        assert planned(make_scene(size=16), dtype=dtype).dtype == dtype


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_another_pixel_type_holds_the_same_values(make_scene: MakeScene, dtype: str) -> None:
    scene = make_scene(size=16, peak=200)
    wanted = run(scene).astype(float)
    made = run(scene, dtype=dtype)
    assert made.dtype == dtype
    np.testing.assert_allclose(made, wanted, atol=0.5001 if dtype.startswith("float") else 0)


@pytest.mark.parametrize("how", ["nodata", "mask", "none"])
def test_gaps_are_where_the_inputs_have_them(make_scene: MakeScene, how: str) -> None:
    valid = with_gap(24)
    said: dict[str, Any] = {"nodata": 9.0, "mask": "none", "none": None}
    scene = make_scene(size=24, valid=valid, nodata=0)
    run(scene, dst_nodata=said[how])
    with rasterio.open(scene.out) as made:
        np.testing.assert_array_equal(made.dataset_mask() > 0, np.kron(valid, np.ones((4, 4), bool)))
        assert made.nodata == {"nodata": 9, "mask": None, "none": 0}[how]


def test_few_bits(make_scene: MakeScene) -> None:
    scene = make_scene(size=16, peak=2000)
    made = run(scene, creation={"NBITS": "10"})
    assert made.max() == 1023
    with rasterio.open(scene.out) as source:
        assert source.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "10"


@pytest.mark.parametrize(
    "creation", [{"compress": "none"}, {"TILED": "NO"}, {"INTERLEAVE": "BAND"}, {"BIGTIFF": "YES"}]
)
def test_creation_options_change_no_pixel(make_scene: MakeScene, creation: dict[str, str]) -> None:
    scene = make_scene(size=16)
    wanted = run(scene)
    np.testing.assert_array_equal(run(scene, creation=creation), wanted)


def test_the_meaning_travels(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=20, tags={"ACQUIRED": "2024-05-01", "TIFFTAG_SOFTWARE": "other"})
    with rasterio.open(scene.ms, "r+") as target:
        target.scales, target.offsets, target.units = (0.1,) * 4, (-5.0,) * 4, ("W",) * 4
        target.update_tags(2, CHANNEL="two")
    run(scene, bands=(2, 1))
    with rasterio.open(scene.out) as made:
        tags = made.tags()
        assert tags["ACQUIRED"] == "2024-05-01"
        assert tags["TIFFTAG_SOFTWARE"] == f"clippan {__version__}"
        assert (tags["CLIPPAN_METHOD"], tags["CLIPPAN_VERSION"]) == ("exp", __version__)
        assert made.descriptions == ("band 2", "band 1")
        assert (made.scales, made.offsets, made.units) == ((0.1,) * 2, (-5.0,) * 2, ("W",) * 2)
        assert made.tags(1)["CHANNEL"] == "two"
        assert "CHANNEL" not in made.tags(2)


def test_pans_sensor_model_moves_with_the_window(make_scene: MakeScene) -> None:
    scene = make_scene(size=20)
    rpc = RPC(0.0, 1.0, 40.0, 0.01, [1.0] + [0.0] * 19, [0.0, 1.0] + [0.0] * 18, 40.0, 40.0, 2.0, 0.01,
              [1.0] + [0.0] * 19, [0.0, 0.0, 1.0] + [0.0] * 17, 41.0, 40.0)  # fmt: skip
    with rasterio.open(scene.pan, "r+") as target:
        target.rpcs = rpc
    run(scene)
    with rasterio.open(scene.out) as made:
        assert made.rpcs.line_off == 40
        assert made.rpcs.samp_off == 41
    place = rasterio.open(scene.pan).transform @ Affine.translation(12, 7)
    corners = [place @ corner for corner in ((0, 0), (30, 0), (30, 20), (0, 20), (0, 0))]
    path = scene.folder / "aoi.geojson"
    path.write_text(
        f'{{"type": "Polygon", "coordinates": [{[list(corner) for corner in corners]}],'
        ' "crs": {"properties": {"name": "EPSG:32631"}}}'
    )
    run(scene, aoi=str(path))
    with rasterio.open(scene.out) as made:
        assert made.transform == place
        assert made.shape == (20, 30)
        assert (made.rpcs.line_off, made.rpcs.samp_off) == (40 - 7, 41 - 12)


def test_a_cog_holds_the_same_pixels(make_scene: MakeScene) -> None:
    scene = make_scene(size=30)
    wanted = run(scene)
    np.testing.assert_array_equal(run(scene, driver="COG"), wanted)


def test_what_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    out, other = tmp_path / "hrms.tif", tmp_path / "other.tif"
    inputs = [str(tmp_path / "ms.tif"), str(tmp_path / "sub" / ".." / "pan.tif")]
    check_output(out, inputs, SharpenOptions())
    for driver in ("PNG", "gtiff", "COG "):
        with pytest.raises(UsageError, match="unknown output format"):
            check_output(out, inputs, SharpenOptions(driver=driver))
    for name in ("ms.tif", "pan.tif"):
        with pytest.raises(OutputError, match="is an input"):
            check_output(tmp_path / name, inputs, SharpenOptions(overwrite=True))
    with pytest.raises(OutputError, match=r"its working file hrms\.tif\.partial is an input"):
        check_output(out, [str(tmp_path / "hrms.tif.partial")], SharpenOptions())
    other.symlink_to(tmp_path / "ms.tif")
    with pytest.raises(OutputError, match="is an input"):
        check_output(other, inputs, SharpenOptions(overwrite=True))
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path, inputs, SharpenOptions(overwrite=True))
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "no" / "hrms.tif", inputs, SharpenOptions())
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists") as found:
        check_output(out, inputs, SharpenOptions())
    assert "`overwrite`" in found.value.hint
    check_output(out, inputs, SharpenOptions(overwrite=True))
    check_output(out, inputs, SharpenOptions(resume=True))
    assert out.read_bytes() == b"precious"


@pytest.mark.parametrize("bands", [(0,), (5,), (1, 5), (-1,)])
def test_bands_that_ms_does_not_have(make_scene: MakeScene, bands: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"MS has no band .*: it has 4"):
        planned(make_scene(size=16), bands=bands)


def test_the_disk_is_asked_before_the_work(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(size=16)
    room = 64 * 64 * 4 * 2
    for options, needed in (
        ({"creation": {"COMPRESS": "NONE"}}, room),
        ({}, room // 4),
        ({"driver": "COG"}, room // 2),
        ({"bands": (1,), "creation": {"COMPRESS": "none"}}, room // 4),
        ({"dtype": "float64", "creation": {"COMPRESS": "NONE"}}, 4 * room),
    ):
        for free in (needed - 1, needed):
            monkeypatch.setattr("clippan_cli.sharpening.sharpen.free_space", lambda _, free=free: free)
            if free < needed:
                with pytest.raises(OutputError, match="the disk is full"):
                    run(scene, **options)
                assert not list(scene.folder.glob("hrms*"))
            else:
                run(scene, **options)
                for path in scene.folder.glob("hrms*"):
                    path.unlink()


def test_a_broken_write_leaves_the_former_output(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=16)
    run(scene)
    before = Path(scene.out).read_bytes(), Path(scene.out + ".clippan.json").read_bytes()
    with pytest.raises(OutputError):
        run(scene, creation={"COMPRESS": "FOO"})
    assert before == (Path(scene.out).read_bytes(), Path(scene.out + ".clippan.json").read_bytes())
    write(Path(scene.ms), np.zeros((4, 16, 16), "complex64"), PLACE @ Affine.scale(4))
    with pytest.raises(InputError, match="complex"):
        run(scene)
    assert before == (Path(scene.out).read_bytes(), Path(scene.out + ".clippan.json").read_bytes())


def test_gaps_survive_few_bits(make_scene: MakeScene) -> None:
    valid = with_gap()
    scene = make_scene(size=16, valid=valid, nodata=0, peak=2000)
    run(scene, dst_nodata=1023.0, creation={"NBITS": "10"})
    with rasterio.open(scene.out) as made:
        np.testing.assert_array_equal(made.dataset_mask() > 0, np.kron(valid, np.ones((4, 4), bool)))
    with pytest.raises(UsageError, match="does not exist in uint16 of 10 bits"):
        run(scene, dst_nodata=65535.0, creation={"NBITS": "10"}, overwrite=True)
