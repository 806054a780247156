from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from clippan_cli.errors import InputError, UsageError
from clippan_cli.scene.pair import open_pair
from clippan_cli.scene.sensors import sensors
from tests.conftest import PLACE, write

RNG = np.random.default_rng(0)


def raster(path: Path, shape: tuple[int, int, int], place: Affine, **more: Any) -> str:
    return write(path, RNG.integers(1, 99, shape).astype("uint16"), place, **more)


@pytest.mark.parametrize(
    ("scale", "corner", "phase"), [(4, 0, 1.5), (2, -0.5, 0.0), (2, 0.5, 1.0), (4.015, 0.3, 1.8075), (3, -3, -2.0)]
)
def test_ratio_and_phase_come_from_the_affines(tmp_path: Path, scale: float, corner: float, phase: float) -> None:
    place = PLACE @ Affine.translation(corner, corner) @ Affine.scale(scale)
    ms = raster(tmp_path / "ms.tif", (4, 20, 24), place)
    with open_pair([ms], raster(tmp_path / "pan.tif", (1, 80, 96), PLACE)) as pair:
        assert pair.sampling.ratio == pytest.approx((scale, scale))
        assert pair.sampling.nominal == pytest.approx((phase, phase))
        assert pair.pan.grid.transform == PLACE


def test_rows_and_columns_are_not_mixed_up(tmp_path: Path) -> None:
    place = PLACE @ Affine.translation(1, 3) @ Affine.scale(2, 4)
    ms = raster(tmp_path / "ms.tif", (4, 20, 40), place)
    with open_pair([ms], raster(tmp_path / "pan.tif", (1, 80, 80), PLACE)) as pair:
        assert pair.sampling.ratio == pytest.approx((4, 2))
        assert pair.sampling.nominal == pytest.approx((4.5, 1.5))


@pytest.mark.parametrize("georeferenced", ["ms", "pan", "neither"])
def test_equal_extents_are_assumed_with_a_warning(tmp_path: Path, georeferenced: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        known = {"crs": None}
        place = PLACE @ Affine.scale(4)
        ms_place, ms_more = (place, {}) if georeferenced == "ms" else (Affine.identity(), known)
        pan_place, pan_more = (PLACE, {}) if georeferenced == "pan" else (Affine.identity(), known)
        ms = raster(tmp_path / "ms.tif", (4, 20, 24), ms_place, **ms_more)
        pan = raster(tmp_path / "pan.tif", (1, 80, 96), pan_place, **pan_more)
        with open_pair([ms], pan) as pair:
            assert pair.sampling.ratio == pytest.approx((4, 4))
            assert pair.sampling.nominal == pytest.approx((1.5, 1.5))
            assert any("assumed to cover the same ground" in text for text in pair.warnings)


def test_a_crs_on_one_side_is_taken_for_both(tmp_path: Path) -> None:
    ms = raster(tmp_path / "ms.tif", (4, 20, 24), PLACE @ Affine.scale(4), crs=None)
    with open_pair([ms], raster(tmp_path / "pan.tif", (1, 80, 96), PLACE)) as pair:
        assert pair.ms.grid.crs == pair.pan.grid.crs
        assert any("has no CRS" in text for text in pair.warnings)


def test_warp_brings_ms_onto_pans_crs(tmp_path: Path) -> None:
    degrees = Affine.translation(3.0003, 48.7533) @ Affine.scale(2.8e-5, -1.8e-5)
    ms = raster(tmp_path / "ms.tif", (4, 60, 60), degrees, crs="EPSG:4326")
    pan = raster(tmp_path / "pan.tif", (1, 160, 160), Affine(0.5, 0, 499_990, 0, -0.5, 5_400_020))
    with pytest.raises(InputError, match="different CRS: MS is in EPSG:4326, PAN in EPSG:32631") as caught:
        open_pair([ms], pan)
    assert f"rio warp {ms} ms_warped.tif --dst-crs EPSG:32631 --resampling cubic" in caught.value.hint
    away = raster(tmp_path / "away.tif", (4, 60, 60), Affine.translation(0, 1) @ degrees, crs="EPSG:4326")
    with pytest.raises(InputError, match="do not overlap"):
        open_pair([away], pan, warp=True)
    with open_pair([ms], pan, warp=True) as pair:
        assert pair.ms.grid.crs == pair.pan.grid.crs
        assert pair.sampling.ratio == pytest.approx((4, 4))
        assert pair.sampling.nominal[0] % 1 == pytest.approx(0.5)
        values, valid = pair.ms.read(pair.ms.grid.box)
    inside = values[:, :] if valid is None else values[:, valid[0]]
    assert inside[0].size > 100
    assert 0 < inside.mean() < 99


def test_sensor_from_tags_names_and_option(tmp_path: Path) -> None:
    place = PLACE @ Affine.scale(4)
    pan = raster(tmp_path / "pan.tif", (1, 80, 96), PLACE)
    tagged = raster(tmp_path / "ms.tif", (8, 20, 24), place, tags={"SATELLITEID": "WV03"})
    named = raster(tmp_path / "QB02_scene_ms.tif", (4, 20, 24), place)
    with open_pair([tagged], pan) as pair:
        assert pair.sensor.id == "worldview-3"
        assert pair.sampling.gains[7] == 0.315
        assert pair.ms.bands[0].name == "coastal"
    with open_pair([named], pan) as pair:
        assert pair.sensor.id == "quickbird"
        assert pair.sampling.gains == (0.34, 0.32, 0.30, 0.22)
    with open_pair([named], pan, sensor="ikonos") as pair:
        assert pair.sampling.pan_gain == 0.17
    with open_pair([named], pan, mtf_gain=0.4) as pair:
        assert pair.sampling.gains == (0.4,) * 4
        assert pair.sampling.pan_gain == pair.sensor.pan_gain
    with pytest.raises(UsageError, match="unknown sensor"):
        open_pair([named], pan, sensor="sputnik")


def test_gains_follow_names_codes_and_numbers() -> None:
    table = sensors()
    assert [optics.name for optics in table["landsat-8"].optics(["B2", "LC08_B5", None])] == ["blue", "nir", "band 3"]
    four = table["worldview-3"].optics([None] * 4)
    assert [optics.gain for optics in four] == [0.355, 0.36, 0.365, 0.335]
    assert [optics.gain for optics in table["generic"].optics([None] * 5)] == [0.30] * 5
    odd = table["quickbird"].optics(["mystery"])
    assert odd[0].gain == pytest.approx(0.295)


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("LC08_L1TP_B8.TIF", "landsat-8"),
        ("LE07_L1TP_B8.TIF", "landsat-7"),
        ("GF2_PMS1_E113.9_MSS.tiff", "gaofen-2"),
        ("IMG_PHR1A_P_001.TIF", "pleiades"),
        ("SPOT6_PAN.tif", "spot"),
        ("WV02_10300100.tif", "worldview-2"),
        ("IK01_ms.tif", "ikonos"),
        ("holiday.tif", "generic"),
    ],
)
def test_sensor_from_file_names(tmp_path: Path, name: str, sensor: str) -> None:
    ms = raster(tmp_path / name, (4, 20, 24), PLACE @ Affine.scale(4))
    with open_pair([ms], raster(tmp_path / "p.tif", (1, 80, 96), PLACE)) as pair:
        assert pair.sensor.id == sensor
