from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from clippan_cli import SharpenOptions, explain, sharpen
from clippan_cli.base.documents import as_json, from_plain, read_json
from clippan_cli.base.options import build
from clippan_cli.errors import ResourceError
from clippan_cli.fusion.registry import METHODS
from clippan_cli.metrics.reference import ergas
from clippan_cli.sharpening.quantiser import Changes, Quantiser
from clippan_cli.sharpening.record import Explanation, Record
from tests.conftest import PLACE, Made, read, write

MakeScene = Callable[..., Made]


def run(scene: Made, **options: Any) -> NDArray[Any]:
    sharpen([scene.ms], scene.pan, scene.out, build(SharpenOptions, {"overwrite": True, **options}))
    return read(scene.out)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("collar", [False, True])
def test_tile_size_does_not_matter(make_scene: MakeScene, name: str, collar: bool) -> None:
    side = 48 if name == "sr-d" else 80
    valid = np.ones((side, side), bool)
    if collar:
        rows, cols = np.mgrid[:side, :side] / side
        valid = (rows + 2 * cols > 0.9) & (np.hypot(rows - 0.6, cols - 0.6) > 0.08)
    scene = make_scene(size=side, valid=valid, nodata=0, slip=(0.3, -0.2))
    made = [run(scene, method=name, tile_size=size).astype(int) for size in (64, 128, 512)]
    for other in made[1:]:
        assert np.abs(made[0] - other).max() <= 1
    if collar:
        fine = np.kron(valid, np.ones((4, 4), bool))
        np.testing.assert_array_equal(made[0].all(0), fine)


def test_statistics_do_not_depend_on_the_tiles(make_scene: MakeScene) -> None:
    scene = make_scene(size=80, slip=(0.3, -0.2))
    # It learns from samples, whatever the tiles are.
    for name in set(METHODS) - {"sr-d"}:
        fitted = []
        for size in (64, 512):
            record = sharpen(
                [scene.ms], scene.pan, scene.out, SharpenOptions(method=name, tile_size=size, overwrite=True)
            )
            fitted.append(record.fitted)
        for key, values in fitted[0].items():
            np.testing.assert_allclose(values, fitted[1][key], rtol=1e-5, atol=1e-7, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", ["mtf-glp-fs", "mtf-glp-hpm-r", "sr-d"])
def test_a_collar_draws_no_detail(make_scene: MakeScene, name: str) -> None:
    valid = np.ones((60, 60), bool)
    valid[:20] = False
    scene = make_scene(size=60, valid=valid, nodata=0)
    with rasterio.open(scene.ms, "r+") as target:
        target.write(np.where(target.read() > 0, 500, 0).astype("uint16"))
    made = run(scene, method=name, consistency=0)
    assert np.abs(made[:, 80:].astype(int) - 500).max() <= 1


def test_odd_ratio_and_offset(make_scene: MakeScene) -> None:
    scene = make_scene(ratio=4.015, phase=0.3, size=70)
    made = [run(scene, tile_size=size).astype(int) for size in (64, 96, 512)]
    for other in made[1:]:
        assert np.abs(made[0] - other).max() <= 1


def test_output_lies_on_pans_grid_bit_for_bit(make_scene: MakeScene) -> None:
    scene = make_scene(ratio=4.015, phase=0.3, size=50)
    run(scene)
    with rasterio.open(scene.out) as made, rasterio.open(scene.pan) as pan, rasterio.open(scene.ms) as ms:
        assert made.transform == pan.transform
        assert made.crs == pan.crs
        assert (made.height, made.width) == (pan.height, pan.width)
        assert made.dtypes == ms.dtypes
        assert made.descriptions == ms.descriptions


def test_sharper_than_interpolation_and_consistent_with_ms(make_scene: MakeScene) -> None:
    import torch

    scene = make_scene()
    truth = torch.from_numpy(scene.truth)
    exp, best = (
        ergas(torch.from_numpy(run(scene, method=name).astype("float64")), truth, 4)
        for name in ("exp", "mtf-glp-hpm-r")
    )
    assert float(best) < 0.4 * float(exp)


@pytest.mark.parametrize("slip", [(0.5, -0.5), (1.2, 0.4)])
def test_registration_mends_a_shift(make_scene: MakeScene, slip: tuple[float, float]) -> None:
    import torch

    scene = make_scene(slip=slip, size=96)
    truth = torch.from_numpy(scene.truth)
    inner = (slice(None), slice(24, -24), slice(24, -24))
    scores = {}
    for register in ("auto", "off", slip):
        made = torch.from_numpy(run(scene, register=register).astype("float64"))
        scores[str(register)] = float(ergas(made[inner], truth[inner], 4))
    assert scores["auto"] < 0.5 * scores["off"]
    assert scores["auto"] == pytest.approx(scores[str(slip)], rel=0.1)


def test_a_constant_scene_is_constant_up_to_its_collar(make_scene: MakeScene) -> None:
    rows, cols = np.mgrid[:60, :60]
    valid = (rows + cols > 40) & (cols < 50)
    scene = make_scene(size=60, valid=valid, nodata=0)
    for path in (scene.ms, scene.pan):
        with rasterio.open(path, "r+") as target:
            pixels = target.read()
            target.write(np.where(pixels > 0, 500, 0).astype("uint16"))
    fine = np.kron(valid, np.ones((4, 4), bool))
    for name in METHODS:
        made = run(scene, method=name)
        assert set(np.unique(made[:, fine])) == {500}, name
        assert set(np.unique(made[:, ~fine])) == {0}, name


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_pixel_types_round_trip(make_scene: MakeScene, dtype: str) -> None:
    peak = 200 if dtype == "uint8" else 1.0 if dtype.startswith("float") else 900
    scene = make_scene(size=40, dtype=dtype, peak=peak)
    made = run(scene)
    assert made.dtype == dtype
    assert np.abs(made - scene.truth).mean() < 0.05 * peak


def test_nan_and_partial_nodata(make_scene: MakeScene) -> None:
    scene = make_scene(size=48, dtype="float32", peak=1.0, nodata=-9999.0)
    with rasterio.open(scene.ms, "r+") as target:
        pixels = target.read()
        pixels[:, 10:20, 10:20] = -9999
        pixels[1, 30, 30] = np.nan
        target.write(pixels)
    made = run(scene)
    hole = np.zeros((192, 192), bool)
    hole[40:80, 40:80] = True
    assert (made[:, hole] == -9999).all()
    assert (made[1, 120:124, 120:124] == -9999).all()
    good = made[0][~hole]
    assert good.min() > -0.5
    assert good.max() < 1.5


def test_valid_pixels_keep_off_nodata() -> None:
    changes = Changes()
    pixels = np.array([[[-3.0, 0.4, 0.6, 70000.0]]], np.float32)
    valid = np.array([[[True, True, True, True]]])
    made = Quantiser("uint16", 0, (0,))(pixels, valid, changes)
    assert made.tolist() == [[[1, 1, 1, 65535]]]
    assert changes == Changes(clipped=2, moved_off_nodata=2)
    made = Quantiser("uint8", 255, (0,))(np.array([[[254.9, 3.5]]], np.float32), valid[..., :2], changes)
    assert made.tolist() == [[[254, 4]]]
    made = Quantiser("float32", -1.0, (0,))(np.array([[[-1.0, 5.0]]], np.float32), np.array([[[True, False]]]), changes)
    assert made[0, 0, 0] != -1
    assert made[0, 0, 1] == -1


def test_large_integers_do_not_wrap() -> None:
    changes = Changes()
    for dtype in ("int32", "uint32"):
        pixels = np.array([[[3e9, -3e9, 5e9]]], np.float32)
        made = Quantiser(dtype, None, (0,))(pixels, None, changes)
        limits = np.iinfo(dtype)
        assert made[0, 0, 1] == limits.min
        assert made[0, 0, 2] == limits.max


def test_bands_are_chosen_and_reordered(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    everything = run(scene)
    chosen = run(scene, bands=(3, 1))
    np.testing.assert_array_equal(chosen, everything[[2, 0]])
    with rasterio.open(scene.out) as made:
        assert made.descriptions == ("band 3", "band 1")


def test_aoi_is_a_cut_of_the_whole(make_scene: MakeScene) -> None:
    scene = make_scene(size=60)
    whole = run(scene)
    ring = [list(PLACE @ corner) for corner in ((50, 30), (150, 30), (150, 130), (50, 30))]
    document = {
        "type": "Polygon",
        "coordinates": [ring],
        "crs": {"type": "name", "properties": {"name": "EPSG:32631"}},
    }
    path = scene.folder / "aoi.geojson"
    path.write_text(json.dumps(document))
    part = run(scene, aoi=str(path))
    with rasterio.open(scene.out) as made:
        assert made.transform == PLACE @ Affine.translation(50, 30)
        assert made.nodata == 0
    assert part.shape == (4, 100, 100)
    inside = part.all(0)
    assert 0.45 < inside.mean() < 0.55
    cut = whole[:, 30:130, 50:150]
    assert np.abs(part[:, inside].astype(int) - cut[:, inside]).max() <= 1


def test_pan_larger_than_ms_is_nodata_outside(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=60)
    with rasterio.open(scene.ms) as source:
        part = source.read()[:, 10:50, 5:45]
        place = source.transform @ Affine.translation(5, 10)
    small = write(tmp_path / "part.tif", part, place)
    record = sharpen([small], scene.pan, scene.out, SharpenOptions())
    made = read(scene.out)
    assert record.inputs.overlap == pytest.approx((40 / 60) ** 2)
    assert made[:, 40:200, 20:180].all()
    made[:, 40:200, 20:180] = 0
    assert not made.any()


def test_ms_larger_than_pan(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=60)
    whole = run(scene)
    with rasterio.open(scene.pan) as source:
        part = source.read()[:, 43:190, 37:201]
    small = write(tmp_path / "part.tif", part, PLACE @ Affine.translation(37, 43))
    sharpen([scene.ms], small, scene.out, SharpenOptions(overwrite=True))
    made = read(scene.out).astype(int)
    assert made.shape == (4, 147, 164)
    assert np.abs(made - whole[:, 43:190, 37:201]).mean() < 15


def test_a_small_island_of_valid_pixels_is_found(make_scene: MakeScene) -> None:
    valid = np.zeros((700, 700), bool)
    valid[135:160, 135:160] = True
    scene = make_scene(size=700, ratio=2, valid=valid, nodata=0)
    made = run(scene)
    np.testing.assert_array_equal(made.all(0), np.kron(valid, np.ones((2, 2), bool)))


def test_mask_travels(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    mask = np.full((40, 40), 255, np.uint8)
    mask[:12] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(scene.ms, "r+") as target:
        target.write_mask(mask)
    run(scene)
    with rasterio.open(scene.out) as made:
        assert made.nodata is None
        np.testing.assert_array_equal(made.read_masks(1) > 0, np.kron(mask > 0, np.ones((4, 4), bool)))
    assert not Path(scene.out + ".msk").exists()


def test_record_says_what_was_done(make_scene: MakeScene) -> None:
    scene = make_scene(slip=(0.4, 0.0))
    record = sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(method="gsa"))
    assert read_json(Record, Path(scene.out + ".clippan.json")) == record
    assert record.geometry.measured_shift is not None
    assert record.geometry.measured_shift.row == pytest.approx(0.4, abs=0.05)
    assert len(record.fitted["weights"]) == 4
    assert record.timing.seconds > 0
    assert record.peak_memory_mib > 50
    assert record.versions.clippan
    assert record.plan.method == "gsa"
    assert record.counts.pixels == 256 * 256


def test_explain_does_nothing(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    before = sorted(scene.folder.iterdir())
    document = explain([scene.ms], scene.pan, scene.out)
    assert sorted(scene.folder.iterdir()) == before
    assert document.plan.method == "injector-4"
    assert document.geometry.ratio == (4, 4)
    assert from_plain(Explanation, json.loads(as_json(document))) == document


def test_too_little_memory_is_said_before_the_work(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    with pytest.raises(ResourceError, match="`memory` allows 64 MiB"):
        run(scene, memory=64 << 20)
    assert not Path(scene.out).exists()


@pytest.mark.parametrize(("count", "size"), [(1, 16), (12, 20), (2, 3)])
def test_small_and_odd_scenes(make_scene: MakeScene, count: int, size: int) -> None:
    scene = make_scene(count=count, size=size)
    assert run(scene).shape == (count, 4 * size, 4 * size)
