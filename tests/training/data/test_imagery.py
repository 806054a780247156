"""Images and real pairs as sources of pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from clippan_cli.errors import InputError, UsageError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.physics.pixels import EVERYWHERE
from clippan_cli.training.data import imagery, procedural
from clippan_cli.training.data.imagery import image_sources, pair_sources, procedural_sources
from tests.conftest import PLACE, bands, read, write
from tests.training.conftest import MakeScene, Put, Said


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagery, "SIDE", 32)
    monkeypatch.setattr(imagery, "_PROCEDURAL", (3, 32))
    monkeypatch.setattr(procedural, "_SHAPES", 40)


def photo(count: int = 3, side: int = 40) -> NDArray[np.uint8]:
    return (255 * bands((side, side), count)).astype("uint8")


def reasons(said: Said) -> dict[str, str]:
    """Why each file was left out."""
    lines = [line.removeprefix("warning: ").split(" is left out: ") for line in said.lines if "left out" in line]
    return {Path(name).name: why for name, why in lines}


def test_images_from_nothing_repeat_and_differ() -> None:
    first, again, other = procedural_sources(3, 7), procedural_sources(2, 7), procedural_sources(1, 8)
    assert [source.name for source in first] == ["procedural 0", "procedural 1", "procedural 2"]
    assert all(torch.equal(a.bands, b.bands) for a, b in zip(first, again, strict=False))
    assert not torch.equal(first[0].bands, first[1].bands)
    assert not torch.equal(first[0].bands, other[0].bands)
    assert procedural_sources(0, 7) == []


def test_an_image_is_scaled_to_one(tmp_path: Path) -> None:
    pixels = photo()
    write(tmp_path / "a.tif", pixels, PLACE)
    (source,) = image_sources([str(tmp_path)], 0, Said())
    assert (source.name, source.pan, source.valid, source.softness) == ("a.tif", None, EVERYWHERE, 0.0)
    np.testing.assert_allclose(source.bands.numpy(), pixels / pixels.max(), rtol=1e-6)


def test_a_window_of_a_large_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagery, "LARGEST", 36)
    row, col = np.mgrid[0:60, 0:50]
    write(tmp_path / "a.tif", np.stack([1 + row, 1 + col, 200 + 0 * row]).astype("uint8"), PLACE)
    corners = set()
    for seed in range(6):
        (source,) = image_sources([str(tmp_path)], seed, Said())
        (again,) = image_sources([str(tmp_path)], seed, Said())
        assert torch.equal(source.bands, again.bands)
        seen = (200 * source.bands).round()
        top, left = (int(seen[axis, 0, 0]) - 1 for axis in (0, 1))
        assert seen.shape == (3, 36, 36)
        assert torch.equal(seen[0, :, 0], torch.arange(36.0) + top + 1)
        assert torch.equal(seen[1, 0], torch.arange(36.0) + left + 1)
        corners.add((top, left))
    assert len(corners) > 3


def test_alpha_is_no_band(tmp_path: Path) -> None:
    pixels = np.concatenate([photo(), np.full((1, 40, 40), 255, "uint8")])
    pixels[3, :10] = 0
    write(tmp_path / "a.png", pixels, PLACE, driver="PNG", crs=None)
    (source,) = image_sources([str(tmp_path)], 0, Said())
    assert source.bands.shape == (3, 40, 40)
    assert not source.valid.everywhere
    assert torch.equal(source.valid.of(source.bands[0]).all(1), torch.arange(40) >= 10)
    assert not source.bands[:, :10].any()


def test_gaps_and_numbers_that_are_none(tmp_path: Path) -> None:
    pixels = photo().astype("float32")
    pixels[:, :5], pixels[1, 20, 20], pixels[2, 21, 21] = -9999, math.nan, math.inf
    write(tmp_path / "a.tif", pixels, PLACE, nodata=-9999)
    (source,) = image_sources([str(tmp_path)], 0, Said())
    assert not source.valid.everywhere
    assert not source.valid.of(source.bands[0])[:5].any()
    assert not source.valid.of(source.bands[0])[20, 20]
    assert not source.valid.of(source.bands[0])[21, 21]
    assert int(source.valid.of(source.bands[0]).sum()) == 35 * 40 - 2
    assert bool(torch.isfinite(source.bands).all())
    assert 0 <= float(source.bands.min()) <= float(source.bands.max()) == 1


def test_what_is_left_out_and_why(tmp_path: Path) -> None:
    write(tmp_path / "good.tif", photo(), PLACE)
    write(tmp_path / "two.tif", photo(2), PLACE)
    write(tmp_path / "small.tif", photo(side=31), PLACE)
    write(tmp_path / "black.tif", 0 * photo(), PLACE)
    write(tmp_path / "gap.tif", 0 * photo(), PLACE, nodata=0)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image either")
    said = Said()
    assert [source.name for source in image_sources([str(tmp_path)], 0, said)] == ["good.tif"]
    why = reasons(said)
    assert set(why) == {"two.tif", "small.tif", "black.tif", "gap.tif", "broken.jpg"}
    assert why["two.tif"] == "2 bands of 40 × 40 px"
    assert why["small.tif"] == "3 bands of 31 × 31 px"
    assert why["black.tif"] == "all pixels are 0"
    assert why["gap.tif"] == "no pixel is valid"


def test_sub_folders_and_capitals(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path / "a" / "b" / "1.TIF", photo(), PLACE)
    write(tmp_path / "a" / "0.tiff", photo(), PLACE)
    assert {source.name for source in image_sources([str(tmp_path)], 0, Said())} == {"1.TIF", "0.tiff"}
    both = image_sources([str(tmp_path / "a" / "b"), str(tmp_path / "a")], 0, Said())
    assert len(both) == 3


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image to learn from in") as caught:
        image_sources([str(tmp_path)], 0, Said())
    assert "32 px a side" in caught.value.hint
    with pytest.raises(InputError, match="is no folder"):
        image_sources([str(tmp_path / "a.tif")], 0, Said())


def test_a_pair_keeps_what_was_measured(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    (source,) = pair_sources([str(scene.folder)], SceneOptions(), Said())
    measured = read(scene.ms).astype("float32")
    assert source.pan is not None
    assert source.pan.shape == source.bands.shape[1:] == (40, 40)
    np.testing.assert_allclose(source.bands.numpy(), measured / measured.max(), rtol=1e-5)
    # PAN, seen at MS's resolution, is what the bands are on average.
    assert source.valid.everywhere
    apart = (source.bands.mean(0) - source.pan)[4:-4, 4:-4]
    assert float(apart.std()) < 0.15 * float(source.pan.std())


def test_gaps_of_a_pair(put: Put) -> None:
    valid = np.ones((40, 40), bool)
    valid[:12, :12] = False
    place = put("a", size=40, valid=valid, nodata=0)
    (source,) = pair_sources([str(place)], SceneOptions(), Said())
    assert not source.valid.everywhere
    assert source.pan is not None
    assert not source.valid.of(source.bands[0])[:12, :12].any()
    # What PAN's optics see of the gap is not valid either.
    assert not source.valid.of(source.bands[0])[12, 5]
    assert float(source.bands[:, source.valid.of(source.bands[0])].min()) > 0
    assert not source.pan[~source.valid.of(source.bands[0])].any()


def break_off(place: Path, name: str) -> None:
    """A scene whose files are no rasters."""
    (place / name).mkdir(parents=True)
    for file in ("ms.tif", "pan.tif"):
        (place / name / file).write_bytes(b"no raster")


def test_pairs_that_cannot_be_used(put: Put) -> None:
    put("tiny", size=20)
    place = put("good", size=36)
    break_off(place, "broken")
    said = Said()
    assert [source.name for source in pair_sources([str(place)], SceneOptions(), said)] == ["good"]
    assert reasons(said)["scene tiny"] == "MS of 20 × 20 px is too small"
    assert set(reasons(said)) == {"scene tiny", "scene broken"}
    with pytest.raises(InputError, match="no scene to learn from in"):
        pair_sources([str(place / "tiny")], SceneOptions(), said)


def test_a_sensor_that_is_not_known_is_no_reason_to_leave_all_scenes_out(put: Put) -> None:
    said = Said()
    with pytest.raises(UsageError, match="unknown sensor 'sputnik'"):
        pair_sources([str(put("a", size=36))], SceneOptions(sensor="sputnik"), said)
    assert said.lines == []


def test_the_stated_nodata_keeps_a_hole_out_of_a_pair(put: Put) -> None:
    valid = np.ones((40, 40), bool)
    valid[10:20, 10:20] = False
    place = put("a", size=40, valid=valid, nodata=5000)
    for name in ("ms.tif", "pan.tif"):
        with rasterio.open(place / "a" / name, "r+") as file:
            file.nodata = None
    (believed,) = pair_sources([str(place)], SceneOptions(), Said())
    (told,) = pair_sources([str(place)], SceneOptions(src_nodata=5000.0), Said())
    assert bool(believed.valid.of(believed.bands[0])[15, 15])
    assert not told.valid.everywhere
    assert not told.valid.of(told.bands[0])[10:20, 10:20].any()
    assert bool(told.valid.of(told.bands[0])[30, 30])
