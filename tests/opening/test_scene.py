from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from clippan_cli.base.documents import as_json, from_plain
from clippan_cli.base.machine import CACHE, MachineOptions, use_machine
from clippan_cli.errors import InputError, UsageError
from clippan_cli.fusion.method import make_tile
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.record import SceneRecord, describe_files, describe_scene
from clippan_cli.opening.scene import Scene, open_scene, set_up_gdal
from clippan_cli.physics.pixels import Pixels
from clippan_cli.scene.find import SceneFiles
from clippan_cli.scene.pair import Pair, open_pair
from tests.conftest import Made, read, write

MakeScene = Callable[..., Made]


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def begin(self, what: str, total: int) -> None:
        raise AssertionError("an opening is no work")

    def advance(self, pixels: int) -> None:
        raise AssertionError("an opening is no work")


@contextmanager
def opened(scene: Made, *, jobs: int = 1, hears: Heard | None = None, **options: Any) -> Iterator[Scene]:
    files = SceneFiles("scene", (scene.ms,), scene.pan)
    machine = use_machine(MachineOptions(device="cpu", jobs=jobs))
    with machine as at_hand, open_scene(files, SceneOptions(**options), at_hand, hears or Heard()) as found:
        yield found


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """All pairs that were opened."""
    found: list[Pair] = []
    opens = open_pair

    def remember(*words: Any, **more: Any) -> Pair:
        found.append(opens(*words, **more))
        return found[-1]

    monkeypatch.setattr("clippan_cli.opening.scene.open_pair", remember)
    return found


def closed(pair: Pair) -> bool:
    return all(dataset.closed for raster in (pair.ms, pair.pan) for dataset in raster.datasets)


def change(path: str, to: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    with rasterio.open(path, "r+") as target:
        target.write(to(target.read()))


def test_files_are_closed_on_leaving(make_scene: MakeScene, pairs: list[Pair]) -> None:
    with opened(make_scene(size=16)) as scene:
        assert not closed(scene.pair)
        assert scene.pair is pairs[0]
    assert closed(pairs[0])


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_files_are_closed_whatever_happens(make_scene: MakeScene, pairs: list[Pair], kind: type[BaseException]) -> None:
    with pytest.raises(kind), opened(make_scene(size=16)):
        raise kind
    assert closed(pairs[0])


def test_files_are_closed_if_the_scene_is_refused(make_scene: MakeScene, pairs: list[Pair]) -> None:
    made = make_scene(size=16, valid=np.zeros((16, 16), bool), nodata=0)
    with pytest.raises(InputError, match="no pixel is valid in both") as found, opened(made):
        pytest.fail("it was opened")
    assert "`src_nodata`" in found.value.hint
    assert closed(pairs[0])


def test_the_environment_of_gdal_is_set_and_left(make_scene: MakeScene) -> None:
    scene = make_scene(size=16)
    with opened(scene, config={"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}):
        settings = rasterio.env.getenv()
        assert settings["GDAL_DISABLE_READDIR_ON_OPEN"] == "TRUE"
        assert settings["GDAL_CACHEMAX"] == CACHE
    assert not rasterio.env.hasenv() or "GDAL_DISABLE_READDIR_ON_OPEN" not in rasterio.env.getenv()


def test_the_users_sensor_and_gain_reach_the_sampling(make_scene: MakeScene) -> None:
    scene = make_scene(size=16)
    with opened(scene) as usual:
        assert (usual.pair.sensor.id, usual.pair.recognised_by) == ("generic", "not recognised")
    with opened(scene, sensor="landsat-8") as named:
        assert (named.pair.sensor.id, named.pair.recognised_by) == ("landsat-8", "--sensor")
        assert named.sampling.pan_gain == named.pair.sensor.pan_gain
        assert named.sampling.gains != usual.sampling.gains
    with opened(scene, mtf_gain=0.21) as given:
        assert given.sampling.gains == (0.21,) * 4
        assert given.sampling.phases == usual.sampling.phases
    with pytest.raises(UsageError, match="unknown sensor 'sputnik'"), opened(scene, sensor="sputnik"):
        pytest.fail("it was opened")


def shared(image: Pixels) -> float:
    """The share of an image that is valid."""
    return image.valid.count(image.values) / image.values.numel()


def test_the_users_nodata_reaches_the_samples(make_scene: MakeScene) -> None:
    scene = make_scene(size=24)
    for path, factor in ((scene.ms, 1), (scene.pan, 4)):

        def hole(pixels: NDArray[Any], factor: int = factor) -> NDArray[Any]:
            pixels[:, : 6 * factor, : 6 * factor] = 7
            return pixels

        change(path, hole)
    shares = {}
    for value in (None, "none", 7.0):
        with opened(scene, register="off", src_nodata=value) as found:
            shares[value] = shared(found.known.samples[0].ms)
            assert found.pair.ms.nodata == (7 if value == 7 else None)
    assert shares == {None: 1.0, "none": 1.0, 7.0: pytest.approx(1 - 36 / 576)}


def test_another_crs_is_warped_on_demand(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    pixels, pan = read(scene.ms), read(scene.pan)
    corner, size = (3.0, 48.75), 2.0 / 111_000
    scene.ms = write(tmp_path / "ms4326.tif", pixels, Affine(size * 1.5, 0, corner[0], 0, -size, corner[1] + 0.0012),
                     crs="EPSG:4326")  # fmt: skip
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(*corner)
    scene.pan = write(tmp_path / "pan2.tif", pan, Affine(0.5, 0, x, 0, -0.5, y + 100))
    with pytest.raises(InputError, match="different CRS") as refused, opened(scene):
        pytest.fail("it was opened")
    assert "`warp`" in refused.value.hint
    hears = Heard()
    with opened(scene, warp=True, register="off", hears=hears) as found:
        assert found.pair.ms.grid.crs == found.pair.pan.grid.crs
        assert found.pair.sampling.ratio == pytest.approx((4, 4), abs=0.5)
    assert "is resampled from EPSG:4326" in hears.warned[0]


def test_saturation_is_said(make_scene: MakeScene) -> None:
    scene = make_scene(size=24)
    change(scene.pan, lambda pixels: np.where(pixels > 600, 1023, pixels))
    hears = Heard()
    with opened(scene, sensor="ikonos", hears=hears) as found:
        assert found.known.saturation == (np.inf, 1023 / found.known.scale)
    assert hears.warned == list(found.warnings)
    assert hears.warned == [f"{scene.pan} is saturated at 1023; such pixels are left out of the statistics"]


@pytest.mark.parametrize("top", [1022, 1000])
def test_a_bright_pixel_is_not_saturated(make_scene: MakeScene, top: int) -> None:
    scene = make_scene(size=24)
    change(scene.pan, lambda pixels: np.where(pixels > 600, top, pixels))
    with opened(scene, sensor="ikonos") as found:
        assert found.known.saturation == (np.inf, np.inf)
        assert found.warnings == ()


def test_a_top_value_that_is_no_ceiling_is_not_saturated(make_scene: MakeScene) -> None:
    """The values below it are as frequent: it is where the histogram happens to end."""
    scene = make_scene(size=24)
    change(scene.pan, lambda pixels: np.where(pixels > 600, 1023 - np.arange(96) % 2, pixels))
    with opened(scene, sensor="ikonos") as found:
        assert found.known.saturation == (np.inf, np.inf)


def test_a_scene_far_apart_is_said(make_scene: MakeScene) -> None:
    hears = Heard()
    with opened(make_scene(size=64, slip=(2.4, 1.2)), sensor="ikonos", hears=hears) as found:
        assert found.known.measured is not None
    assert hears.warned == ["MS and PAN lie 2.7 MS px apart: check that the georeference is right"]
    with opened(make_scene(size=64, slip=(1.2, 0.8)), sensor="ikonos", hears=(hears := Heard())):
        assert hears.warned == []


def test_bands_outside_of_pan_are_said(make_scene: MakeScene) -> None:
    scene = make_scene(size=16)
    with rasterio.open(scene.ms, "r+") as target:
        target.descriptions = ("blue", "green", "red", "nir")
    with opened(scene, sensor="landsat-8", hears=(hears := Heard())):
        (text,) = hears.warned
    assert text.startswith("PAN does not see ")
    assert "nir" in text
    assert "green" not in text


def test_windows_hold_what_the_files_hold(make_scene: MakeScene) -> None:
    made = make_scene(size=20, valid=np.arange(400).reshape(20, 20) % 7 > 0, nodata=0)
    with opened(made, register="off") as scene:
        whole = scene.read(scene.pair.ms.grid.box, scene.pair.pan.grid.box)
        assert not whole.ms.valid.everywhere
        assert not whole.pan.valid.everywhere
        np.testing.assert_array_equal(whole.ms.values, read(made.ms))
        np.testing.assert_array_equal(whole.pan.values, read(made.pan)[0])
        np.testing.assert_array_equal(whole.ms.valid.of(whole.ms.values).all(0), read(made.ms).all(0))
        for ms_box, pan_box in zip(whole.ms_box.pieces(7, 9), whole.pan_box.pieces(28, 36), strict=True):
            part = scene.read(ms_box, pan_box)
            cut = whole.cut(ms_box, pan_box)
            np.testing.assert_array_equal(part.ms.values, cut.ms.values)
            np.testing.assert_array_equal(part.pan.values, cut.pan.values)


def test_a_tile_is_in_scene_units_and_has_no_gaps(make_scene: MakeScene) -> None:
    valid = np.ones((24, 24), bool)
    valid[10:12, 10:13] = False
    made = make_scene(size=24, valid=valid, nodata=0)
    with opened(made, register="off") as scene:
        window = scene.read(scene.pair.ms.grid.box, scene.pair.pan.grid.box)
        ms = window.ms.values.clone()
        tile = make_tile(window.divided(scene.known.scale), scene.sampling, scene.machine.device)
        assert not tile.ms.valid.everywhere
        assert not tile.pan.valid.everywhere
        seen, pan = tile.ms.values, tile.pan.values
        np.testing.assert_array_equal((seen * scene.known.scale).numpy()[:, valid], ms.numpy()[:, valid])
        np.testing.assert_array_equal(pan * scene.known.scale, window.pan.values)
        filled = seen.numpy()[:, ~valid]
        assert (filled > 0).all()
        assert filled.max() <= seen.max()
        np.testing.assert_array_equal(window.ms.values, ms, "a window is not changed by its tile")
        assert seen.max() <= 1
        assert pan.max() <= 1


def test_the_record_says_what_was_found(make_scene: MakeScene) -> None:
    made = make_scene(size=64, slip=(0.5, -0.25), nodata=0)
    with opened(made, mtf_gain=0.25) as scene:
        record = describe_scene(scene)
    assert record.inputs.ms.shape == (4, 64, 64)
    assert record.inputs.pan.shape == (1, 256, 256)
    assert record.inputs.ms.bands == ["band 1", "band 2", "band 3", "band 4"]
    assert record.inputs.ms.validity == "nodata"
    assert record.inputs.overlap == 1
    assert record.geometry.ratio == (4, 4)
    assert record.geometry.phase == (1.5, 1.5)
    assert record.geometry.phases_used == list(scene.sampling.phases)
    assert record.geometry.notes == list(scene.known.notes)
    assert record.sensor.mtf_gains == [0.25] * 4
    measured = record.geometry.measured_shift
    assert measured is not None
    assert (measured.row, measured.col) == pytest.approx((0.5, -0.25), abs=0.05)
    assert measured.spread is None
    assert measured.windows == 1
    assert len(record.geometry.measured_band_shifts) == 4
    assert from_plain(SceneRecord, json.loads(as_json(record))) == record


def test_files_are_told_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"12345")
    (before,) = describe_files([str(path)])
    assert (before.path, before.bytes) == (str(path), 5)
    assert describe_files([str(path)]) == [before]
    path.write_bytes(b"123456")
    assert describe_files([str(path)]) != [before]
    for name in ("/vsizip/some.zip/a.tif", "https://example.org/a.tif", ""):
        (found,) = describe_files([name])
        assert found.bytes is None or name == ""


def test_gdals_cache_belongs_to_the_budget(make_scene: MakeScene) -> None:
    scene = make_scene(size=16)
    with pytest.raises(UsageError, match="GDAL's cache"), set_up_gdal(SceneOptions(config={"GDAL_CACHEMAX": "64"})):
        pytest.fail(scene.ms)
