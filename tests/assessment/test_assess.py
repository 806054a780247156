"""Whole assessments of scenes made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from clippan_cli.assessment import ground, lattice
from clippan_cli.assessment.assess import assess
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.assessment.record import Assessment, CandidateRecord, WindowsRecord
from clippan_cli.base.options import build
from clippan_cli.errors import InputError, OutputError, UsageError
from clippan_cli.fusion.registry import CLASSICAL
from clippan_cli.metrics.hypercomplex import q2n
from clippan_cli.metrics.qnr import d_lambda, d_lambda_k, d_s
from clippan_cli.metrics.reference import ergas, mpsnr, sam, scc, ssim
from clippan_cli.physics.dlpan import dlpan_degrade, dlpan_filter, imresize, interp23
from clippan_cli.physics.operators import Operators, blur
from clippan_cli.sharpening.options import SharpenOptions
from clippan_cli.sharpening.sharpen import sharpen
from tests.conftest import PLACE, Made, box, read, write

Make = Callable[..., Made]
_Value = TypeVar("_Value")


def fused(scene: Made, **options: Any) -> str:
    sharpen([scene.ms], scene.pan, scene.out, build(SharpenOptions, {"overwrite": True, "jobs": 1, **options}))
    return scene.out


def altered(scene: Made, change: Callable[[NDArray[np.float32]], NDArray[Any]], **more: Any) -> str:
    """A product of the default method, changed, in floats."""
    pixels = change(read(fused(scene, dtype="float32")))
    return write(scene.folder / "altered.tif", pixels.astype("float32"), PLACE, **more)


def judged(scene: Made, image: str | None, **options: Any) -> Assessment:
    return assess([scene.ms], scene.pan, image, build(AssessOptions, {"jobs": 1, **options}))


def there(value: _Value | None) -> _Value:
    assert value is not None
    return value


def part(row: CandidateRecord, name: str = "full") -> dict[str, Any]:
    return dict(getattr(row, name))


def numbers(found: Assessment, name: str = "full") -> dict[str, Any]:
    return part(found.candidates[0], name)


def test_the_result_stands_between_its_anchors(make_scene: Make) -> None:
    scene = make_scene(size=64)
    document = judged(scene, fused(scene, method=CLASSICAL))
    roles = {row.role: row for row in document.candidates}
    assert list(roles) == ["result", "classical", "interpolation"]
    assert part(roles["interpolation"])["d_lambda"] == 0
    # The file is the anchor, rounded to whole numbers.
    assert part(roles["result"])["hqnr"] == pytest.approx(part(roles["classical"])["hqnr"], abs=1e-3)
    assert part(roles["result"])["d_rho"] < part(roles["interpolation"])["d_rho"]
    assert document.verdict.grade == "good"
    json.dumps(asdict(document), allow_nan=False)


def test_streaming_gives_what_the_functions_give(make_scene: Make) -> None:
    """One implementation: the sums over windows are the differentiable indices."""
    scene = make_scene(size=96, count=3)
    image = altered(scene, lambda x: x)
    document = judged(scene, image, register="off", stated_optics=True)
    found = numbers(document)
    hrms, ms, pan = (torch.from_numpy(read(path).astype("float32")) for path in (image, scene.ms, scene.pan))
    pan = pan[0]
    operators = Operators(scene.sampling, box(*pan.shape), box(*ms.shape[1:]))
    ms_up, low = operators.up(ms), operators.low_pass(pan)
    seen = operators.down(hrms)
    expected = {
        "d_lambda": d_lambda(hrms, ms_up),
        "d_s": d_s(hrms, ms_up, pan, low),
        "d_lambda_k": d_lambda_k(blur(hrms, scene.sampling, box(*pan.shape)), ms_up),
        "d_lambda_k_b": d_lambda_k(seen, ms),
        "r_ergas": ergas(seen, ms, 4),
        "r_sam": sam(seen, ms),
        "r_q2n": q2n(seen, ms),
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), abs=2e-5), key
    assert found["hqnr"] == pytest.approx((1 - found["d_lambda_k"]) * (1 - found["d_s"]))


@pytest.mark.parametrize("ratio", [2, 4, 2.5])
def test_no_value_depends_on_the_windows(ratio: float, make_scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = np.ones((160, 160), bool)
    valid[20:30, 50:60] = False
    scene = make_scene(size=160, ratio=ratio, valid=valid if ratio != 2.5 else None, nodata=0)
    image = fused(scene)
    whole = judged(scene, image, reference=image)
    monkeypatch.setattr(lattice, "SIDES", (96,))
    cut = judged(scene, image, reference=image)
    assert there(cut.windows).all > there(whole.windows).all
    assert cut.blocks == whole.blocks
    for row, other in zip(whole.candidates, cut.candidates, strict=True):
        for name in ("full", "truth"):
            for key, value in part(row, name).items():
                ours = part(other, name)[key]
                if value is None:
                    assert ours is None, key
                elif key == "mpsnr":
                    assert ours == pytest.approx(value, abs=0.05)
                else:
                    assert ours == pytest.approx(value, abs=3e-5), (row.role, key)


def test_against_a_truth(make_scene: Make) -> None:
    scene = make_scene(size=64)
    truth = scene.truth.astype("float32")
    reference = write(scene.folder / "truth.tif", truth, PLACE)
    image = altered(scene, lambda x: x)
    document = judged(scene, image, reference=reference)
    edge = there(document.convention).border
    inner = (slice(None), slice(edge, -edge), slice(edge, -edge))
    ours, known = torch.from_numpy(read(image))[inner], torch.from_numpy(truth)[inner]
    found, peak = numbers(document, "truth"), there(document.convention).peak
    assert peak == 1024
    expected = {
        "ergas": ergas(ours, known, 4),
        "sam": sam(ours, known),
        "q2n": q2n(ours, known),
        "scc": scc(ours, known),
        "ssim": ssim(ours, known, peak),
        "mpsnr": mpsnr(ours, known, peak),
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), abs=2e-4), key
    by_band = numbers(document, "by_band")
    assert len(by_band["ergas"]) == len(by_band["ssim"]) == len(by_band["mpsnr"]) == 4


@pytest.mark.parametrize("side", [512, 96])
def test_dlpan_convention_is_the_benchmarks(side: int, make_scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice, "SIDES", (side,))
    scene = make_scene(size=64, phase=2.0)
    image = altered(scene, lambda x: x)
    found = numbers(judged(scene, image, convention="dlpan"))
    hrms, ms, pan = (torch.from_numpy(read(path).astype("float64")) for path in (image, scene.ms, scene.pan))
    ms_up, low = interp23(ms, 4), interp23(imresize(pan, 4), 4)
    gains = (0.3,) * 4
    expected = {
        "d_lambda": d_lambda(hrms, ms_up),
        "d_s": d_s(hrms, ms_up, pan[0], low),
        "d_lambda_k": d_lambda_k(dlpan_filter(hrms, 4, gains), ms_up),
        "d_lambda_k_b": d_lambda_k(dlpan_degrade(hrms, 4, gains), ms),
        "r_ergas": ergas(dlpan_degrade(hrms, 4, gains), ms, 4),
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), abs=5e-5), key


def test_dlpan_needs_its_geometry(make_scene: Make) -> None:
    scene = make_scene(size=64, ratio=2.5)
    with pytest.raises(InputError, match="DLPan's convention is not defined"):
        judged(scene, fused(scene), convention="dlpan")


SEEN_BY = {
    "blurred": (lambda x: _moved(x, 0, 1) / 2 + x / 2, "d_rho"),
    "shifted": (lambda x: _moved(x, 2, 2), "r_ergas"),
    "noisy": (lambda x: x + np.random.default_rng(0).normal(0, 40, x.shape), "d_rho"),
    "tinted": (lambda x: x * np.array([1.2, 1, 1, 0.8])[:, None, None], "r_sam"),
}


def _moved(x: NDArray[Any], rows: int, cols: int) -> NDArray[Any]:
    return np.roll(x, (rows, cols), (1, 2))


@pytest.mark.parametrize("how", SEEN_BY)
def test_damage_is_seen_by_the_index_that_should(how: str, make_scene: Make) -> None:
    change, index = SEEN_BY[how]
    scene = make_scene(size=64)
    good = numbers(judged(scene, altered(scene, lambda x: x)))
    bad = numbers(judged(scene, altered(scene, change)))
    assert bad[index] > 1.1 * good[index]


def test_nodata_is_skipped_and_counted(make_scene: Make) -> None:
    valid = np.ones((96, 96), bool)
    valid[:, :20] = False
    scene = make_scene(size=96, valid=valid, nodata=0)
    document = judged(scene, fused(scene))
    # 20 MS pixels are 80 PAN pixels: three columns of blocks.
    assert there(document.blocks).skipped == 3 * 12
    assert there(document.blocks).judged == 9 * 12
    spoilt = altered(scene, lambda x: np.where(x == 0, 60000, x), nodata=60000)
    again = judged(scene, spoilt)
    assert numbers(again)["hqnr"] == pytest.approx(numbers(document)["hqnr"], abs=1e-3)


def test_too_few_blocks_are_no_number(make_scene: Make) -> None:
    valid = np.zeros((64, 64), bool)
    valid[:24, :12] = True
    scene = make_scene(size=64, valid=valid, nodata=0)
    document = judged(scene, fused(scene))
    assert there(document.blocks).judged == 3
    assert numbers(document)["hqnr"] is None
    assert document.verdict.grade == "unknown"


def test_a_single_band_has_no_spectral_angle(make_scene: Make) -> None:
    scene = make_scene(size=64, count=1)
    found = numbers(judged(scene, fused(scene)))
    assert found["r_sam"] is None
    assert found["d_lambda"] is None
    assert found["qnr"] is None
    assert found["hqnr"] is not None


def test_methods_are_compared_at_both_resolutions(make_scene: Make) -> None:
    scene = make_scene(size=96)
    document = judged(scene, None, compare=("gsa", "exp", "brovey"), consistency=1)
    rows = {row.name: row for row in document.candidates}
    assert list(rows) == ["gsa + 1 BP", "brovey + 1 BP", f"{CLASSICAL} + 2 BP", "exp"]
    for row in rows.values():
        assert part(row)["hqnr"] is not None
        assert part(row, "reduced")["ergas"] is not None
    assert part(rows["gsa + 1 BP"], "reduced")["ergas"] < part(rows["exp"], "reduced")["ergas"]
    assert "suits this scene best" in document.verdict.headline


def test_one_scale_down_only(make_scene: Make) -> None:
    scene = make_scene(size=96)
    document = judged(scene, None, compare=("gsa",), reduced=True)
    assert numbers(document, "reduced")["q2n"] > 0.5
    assert document.candidates[0].full is None
    assert document.convention is None


def test_reduced_resolution_knows_gaps(make_scene: Make) -> None:
    valid = np.ones((96, 96), bool)
    valid[40:60, 40:60] = False
    whole, holed = make_scene(size=96), None
    first = judged(whole, None, compare=("gsa",), reduced=True)
    holed = make_scene(size=96, valid=valid, nodata=0)
    second = judged(holed, None, compare=("gsa",), reduced=True)
    assert there(second.reduced).pixels < there(first.reduced).pixels
    found = numbers(second, "reduced")["ergas"]
    assert found == pytest.approx(numbers(first, "reduced")["ergas"], rel=0.3)


def test_a_crop_of_pans_grid_is_judged_there(make_scene: Make) -> None:
    scene = make_scene(size=96)
    pixels = read(fused(scene))
    crop = write(scene.folder / "crop.tif", pixels[:, 100:260, 64:300], PLACE @ rasterio.Affine.translation(64, 100))
    document = judged(scene, crop)
    assert there(document.blocks).judged + there(document.blocks).skipped == 5 * 7
    assert there(document.blocks).skipped == 0
    assert numbers(document)["r_ergas"] < 3


def test_some_bands(make_scene: Make) -> None:
    scene = make_scene(size=64)
    image = fused(scene, bands=(3, 1))
    document = judged(scene, image, bands=(3, 1))
    assert document.bands == ("band 3", "band 1")
    assert len(numbers(document, "by_band")["r_ergas"]) == 2
    swapped = judged(scene, image, bands=(1, 3))
    assert numbers(swapped)["r_ergas"] > 2 * numbers(document)["r_ergas"]
    with pytest.raises(InputError, match="has 2 bands, MS has 4"):
        judged(scene, image)
    with pytest.raises(UsageError, match="MS has no band 5"):
        judged(scene, image, bands=(1, 5))


def test_values_in_another_unit_are_named(make_scene: Make) -> None:
    scene = make_scene(size=64)
    with pytest.raises(InputError, match=r"another unit than MS: its mean is 0\.\d+, that of MS \d+"):
        judged(scene, altered(scene, lambda x: x / 10000))


def test_an_image_without_data(make_scene: Make) -> None:
    scene = make_scene(size=64)
    empty = write(scene.folder / "empty.tif", np.zeros((4, 256, 256), "uint16"), PLACE, nodata=0)
    with pytest.raises(InputError, match="no pixel is valid"):
        judged(scene, empty)


@pytest.mark.parametrize(
    ("place", "more", "words"),
    [
        (PLACE @ rasterio.Affine.scale(1.2), {}, r"another grid than PAN: its pixel is 0\.6 × 0\.6"),
        (
            PLACE @ rasterio.Affine.translation(0.37, 0),
            {},
            r"between PAN's pixels: its corner is at row 0\.00, column 0\.37",
        ),
        (PLACE @ rasterio.Affine.translation(-5, 0), {}, r"columns -5–251 of PAN's grid"),
        (PLACE, {"crs": "EPSG:32632"}, "different CRS: the image is in EPSG:32632, PAN in EPSG:32631"),
    ],
)
def test_another_grid(place: Any, more: dict[str, Any], words: str, make_scene: Make) -> None:
    scene = make_scene(size=64)
    moved = write(scene.folder / "moved.tif", read(fused(scene)), place, **more)
    with pytest.raises(InputError, match=words):
        judged(scene, moved)


def test_contradictions(make_scene: Make, tmp_path: Path) -> None:
    scene = make_scene(size=64)
    with pytest.raises(UsageError, match="nothing to assess"):
        judged(scene, None)
    with pytest.raises(UsageError, match="beside other methods"):
        judged(scene, scene.pan, compare=("gsa",))
    with pytest.raises(UsageError, match="unknown convention"):
        judged(scene, scene.pan, convention="wald")
    with pytest.raises(UsageError, match="no method or model"):
        judged(scene, None, compare=("magic",))
    report = tmp_path / "there.html"
    report.write_text("x")
    with pytest.raises(OutputError, match="exists"):
        judged(scene, scene.pan, report=str(report))
    with pytest.raises(OutputError, match="does not exist"):
        judged(scene, scene.pan, report=str(tmp_path / "no" / "r.html"))


def test_anchors_are_judged_on_a_sample_of_a_large_scene(make_scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(size=128)
    image = fused(scene, method=CLASSICAL)
    monkeypatch.setattr(lattice, "SIDES", (128,))
    monkeypatch.setattr(ground, "ANCHOR_PIXELS", 4 * 128**2)
    document = judged(scene, image)
    assert document.windows == WindowsRecord(all=16, anchors=4)
    result, classical, _ = document.candidates
    assert part(result, "common")["hqnr"] == pytest.approx(part(classical, "common")["hqnr"], abs=2e-3)
    assert part(result, "common") != part(result)


def test_clipping_is_reported(make_scene: Make) -> None:
    scene = make_scene(size=64, dtype="uint8", peak=250)
    image = write(scene.folder / "hot.tif", np.clip(read(fused(scene)) * 1.7, 0, 255).astype("uint8"), PLACE)
    assert any("highest value of uint8: clipped" in text for text in judged(scene, image).warnings)


def test_maps_lie_where_the_image_lies(make_scene: Make, tmp_path: Path) -> None:
    valid = np.ones((96, 96), bool)
    valid[:, :20] = False
    scene = make_scene(size=96, valid=valid, nodata=0)
    document = judged(scene, fused(scene), maps=str(tmp_path / "maps"))
    assert {Path(path).name for path in there(document.maps)} == {"d_s.tif", "d_lambda.tif", "spectral.tif"}
    with rasterio.open(tmp_path / "maps" / "d_s.tif") as source, rasterio.open(scene.out) as image:
        values = source.read(1)
        assert source.crs == image.crs
        assert source.bounds == image.bounds
        assert values.shape == (12, 12)
        assert np.isnan(values[:, :3]).all()
        assert np.isfinite(values[:, 3:]).all()
    with pytest.raises(OutputError, match="exists"):
        judged(scene, scene.out, maps=str(tmp_path / "maps"))


def test_reordered_bands_are_judged_in_their_order(make_scene: Make) -> None:
    scene = make_scene(size=64)
    straight = judged(scene, fused(scene))
    turned = judged(scene, fused(scene, bands=(4, 3, 2, 1)), bands=(4, 3, 2, 1))
    for row, other in zip(straight.candidates, turned.candidates, strict=True):
        assert part(other)["r_ergas"] == pytest.approx(part(row)["r_ergas"], rel=1e-3)
    wrong = judged(scene, fused(scene, bands=(4, 3, 2, 1)))
    assert numbers(wrong)["r_ergas"] > 5 * numbers(straight)["r_ergas"]
    assert wrong.verdict.grade != "good"


def test_saturated_clouds_are_no_error(make_scene: Make) -> None:
    scene = make_scene(size=96, dtype="uint8", peak=200)
    for path in (scene.ms, scene.pan):
        with rasterio.open(path, "r+") as target:
            pixels = target.read()
            pixels[:, : pixels.shape[1] // 2] = 255
            target.write(pixels)
    document = judged(scene, fused(scene), maps=str(scene.folder / "maps"))
    spectral = read(str(scene.folder / "maps" / "spectral.tif"))[0]
    assert spectral[:4].max() < 1e-3
    assert numbers(document)["r_q2n"] > 0.95


def test_a_dead_band_spoils_nothing(make_scene: Make) -> None:
    scene = make_scene(size=64)
    with rasterio.open(scene.ms, "r+") as target:
        target.write(np.zeros((64, 64), "uint16"), 4)
    document = judged(scene, fused(scene))
    json.dumps(asdict(document), allow_nan=False)
    assert numbers(document)["r_ergas"] < 2
    assert numbers(document)["hqnr"] > 0.5
    assert numbers(document, "by_band")["r_ergas"][3] is None
    assert (read(scene.out)[3] == 0).all()


def test_anchors_are_judged_where_there_are_data(make_scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = np.zeros((160, 160), bool)
    valid[66:94, 66:94] = True
    scene = make_scene(size=160, valid=valid, nodata=0)
    image = fused(scene)
    monkeypatch.setattr(lattice, "SIDES", (128,))
    monkeypatch.setattr(ground, "ANCHOR_PIXELS", 2 * 128**2)
    document = judged(scene, image)
    assert there(document.windows).anchors < there(document.windows).all
    assert part(document.candidates[1], "common")["hqnr"] is not None


@pytest.mark.parametrize("report", ["ms.tif", "hrms.tif", "truth.tif"])
def test_no_report_replaces_an_input(report: str, make_scene: Make) -> None:
    scene = make_scene(size=64)
    image = fused(scene)
    truth = write(scene.folder / "truth.tif", read(image), PLACE)
    before = read(str(scene.folder / report))
    with pytest.raises(OutputError, match="is an input or another output"):
        judged(scene, image, reference=truth, report=str(scene.folder / "." / report), overwrite=True)
    assert (read(str(scene.folder / report)) == before).all()


def test_one_scale_down_has_its_own_truth(make_scene: Make, tmp_path: Path) -> None:
    scene = make_scene(size=96)
    with pytest.raises(UsageError, match="MS is the truth"):
        judged(scene, None, compare=("gsa",), reduced=True, reference=scene.pan)
    with pytest.raises(UsageError, match="no maps one scale down"):
        judged(scene, None, compare=("gsa",), reduced=True, maps=str(tmp_path / "m"))


def test_too_small_for_one_scale_down(make_scene: Make) -> None:
    scene = make_scene(size=48)
    document = judged(scene, None, compare=("gsa",))
    assert numbers(document)["hqnr"] is not None
    assert any("48 × 48 px is too small" in text for text in document.warnings)
    with pytest.raises(InputError, match="one scale down: MS of 48 × 48 px is too small"):
        judged(scene, None, compare=("gsa",), reduced=True)


def test_an_image_named_like_an_anchor(make_scene: Make) -> None:
    scene = make_scene(size=64)
    image = Path(fused(scene)).rename(scene.folder / "exp")
    document = judged(scene, str(image))
    assert [row.name for row in document.candidates][::2] == ["exp (the image)", "exp"]
    assert numbers(document)["d_lambda"] > 0


def test_the_truth_has_the_last_word(make_scene: Make) -> None:
    scene = make_scene(size=64)
    truth = write(scene.folder / "truth.tif", scene.truth.astype("float32"), PLACE)
    assert judged(scene, truth, reference=truth).verdict.grade == "good"
    spoilt = altered(scene, lambda x: x * 1.3)
    assert judged(scene, spoilt, reference=truth).verdict.headline == "Farther from the truth than interpolation"
    with pytest.raises(InputError, match="the reference is in another unit"):
        judged(scene, spoilt, reference=write(scene.folder / "t.tif", (scene.truth / 1e4).astype("float32"), PLACE))


def test_pan_of_another_place_is_suspected(make_scene: Make) -> None:
    scene = make_scene(size=64)
    with rasterio.open(scene.pan, "r+") as target:
        target.write(np.random.default_rng(0).integers(1, 1000, (1, 256, 256)).astype("uint16"))
    document = judged(scene, fused(scene, register="off"), register="off")
    assert document.verdict.headline == "PAN and MS show no common detail: do they belong together?"


def test_dlpan_leaves_out_what_invalid_pixels_reach(make_scene: Make) -> None:
    valid = np.ones((96, 96), bool)
    valid[:, :40] = False
    spectral = []
    for holes in (valid, None):
        scene = make_scene(size=96, valid=holes, nodata=0)
        image = fused(scene, register="off", method="exp", consistency=0, dtype="float32")
        judged(scene, image, convention="dlpan", maps=str(scene.folder / "maps"), overwrite=True)
        spectral.append(read(str(scene.folder / "maps" / "spectral.tif"))[0])
    known = np.isfinite(spectral[0])
    # 40 MS pixels are 160 PAN pixels, five columns of blocks; the filters reach into the sixth.
    assert (known.sum(1) == 6).all()
    # The last column of blocks sees the first: the interpolation wraps round.
    assert np.abs(spectral[0] - spectral[1])[:, 6:-1].max() < 0.01


def test_dlpan_refuses_another_origin(make_scene: Make) -> None:
    scene = make_scene(size=64, phase=5.5)
    with pytest.raises(InputError, match=r"MS begins \+4\.00, \+4\.00 PAN px"):
        judged(scene, fused(scene), convention="dlpan")


def test_a_crop_far_from_the_samples_is_in_the_same_unit(make_scene: Make) -> None:
    scene = make_scene(size=160)
    for path in (scene.ms, scene.pan):
        with rasterio.open(path, "r+") as target:
            pixels = target.read()
            pixels[:, :, pixels.shape[2] // 2 :] //= 8
            target.write(pixels)
    pixels = read(fused(scene))
    crop = write(scene.folder / "crop.tif", pixels[:, 500:600, 500:620], PLACE @ rasterio.Affine.translation(500, 500))
    assert there(judged(scene, crop).blocks).judged > 0


def test_judging_first_leaves_gradients_to_others(make_scene: Make) -> None:
    """Judging needs no gradients; what it keeps at hand must still serve a training that does."""
    scene = make_scene(size=64)
    judged(scene, fused(scene))
    image = torch.rand(4, 64, 64).requires_grad_()
    q2n(image, torch.rand(4, 64, 64)).backward()  # type: ignore[no-untyped-call]
    operators = Operators(scene.sampling, box(256, 256), box(64, 64))
    fine = torch.rand(4, 256, 256).requires_grad_()
    operators.down(fine).square().sum().backward()  # type: ignore[no-untyped-call]
    assert fine.grad is not None


def test_dlpan_has_a_phase_of_its_own(make_scene: Make) -> None:
    scene = make_scene(size=64)
    with pytest.raises(UsageError, match="phase of its own"):
        judged(scene, scene.pan, convention="dlpan", register="off")
    with pytest.raises(UsageError, match="scene's own convention"):
        judged(scene, None, compare=("gsa",), convention="dlpan", reduced=True)
