from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError, ModelError, UsageError
from clippan_cli.fusion.moments import Moments
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.scene import Scene
from clippan_cli.opening.statistics import gather
from clippan_cli.training.data import surveyed_scenes
from clippan_cli.training.data.full_tiles import RawTile, Tiles
from clippan_cli.training.data.surveyed_scenes import Geometry, Site, _parts, mixture, survey_scenes
from clippan_cli.training.data.tile_reader import TileReader, held_tiles
from tests.conftest import bands, read
from tests.training.conftest import CPU, Put, Said, sites_of, stream_of


def test_what_is_validated_on_is_not_learned_from(put: Callable[..., Path]) -> None:
    for i in range(5):
        place = put(f"{i}", size=40, seed=i)
    sites = sites_of(place)
    assert [site.held is not None for site in sites] == [False] * 4 + [True]
    assert [site.learned is not None for site in sites] == [True] * 4 + [False]


def test_a_strip_of_a_single_scene_is_kept_aside(put: Callable[..., Path]) -> None:
    (site,) = sites_of(put("a", size=60))
    assert site.learned is not None
    assert site.held is not None
    assert site.learned.rows.stop == site.held.rows.start
    said = Said()
    # Half of it is not enough for a tile: SSIM needs room.
    (small,) = sites_of(put("b", size=24).parent / "scenes" / "b", said)
    assert small.learned == small.held
    assert any("too small to keep a part of them aside" in line for line in said.lines)
    kept = held_tiles([site], 3, CPU, said)
    assert all(ms_box.rows.start >= site.held.rows.start for tiles in kept for ms_box, _ in tiles.boxes)


def test_a_lone_scene_is_halved_rather_than_learned_from_alone(put: Put) -> None:
    """It has no room for two tiles of the side that is asked for, but for two smaller ones."""
    said = Said()
    (site,) = sites_of(put("a", size=60), said, side=224)
    assert site.tile == Geometry(30, 120)
    assert site.learned is not None
    assert site.held is not None
    assert not site.learned.meets(site.held)
    assert not any("warning" in line for line in said.lines)
    (tiles, *_) = held_tiles([site], 1, CPU, said)
    assert tiles.ms.shape[-2:] == (30, 30)
    assert tiles.boxes[0][0].inside(site.held)


def test_of_many_scenes_none_is_halved(put: Put) -> None:
    for i in range(5):
        place = put(f"{i}", size=40, seed=i)
    assert {site.tile for site in sites_of(place, side=224)} == {Geometry(40, 160)}


def test_scenes_of_other_tiles_are_of_another_kind(put: Put) -> None:
    put("a", size=60)
    small, large = sites_of(put("b", size=80, seed=1), side=224)
    assert (small.tile.pan, large.tile.pan) == (120, 160)
    assert small.kind[:2] == large.kind[:2]
    assert small.kind != large.kind
    # A batch is of one kind: its tiles are alike.
    stream = stream_of([small, large], batch=3)
    seen = [stream(i, 3) for i in range(6)]
    assert {tiles.pan.shape[-1] for tiles in seen} == {120, 160}
    assert all(tiles.pan.shape[-1] == site.tile.pan for tiles in seen for site in tiles.sites)


def test_what_cannot_be_used_is_left_out(put: Callable[..., Path]) -> None:
    put("tiny", size=12)
    place = put("good", size=40)
    (place / "broken").mkdir()
    for name in ("ms.tif", "pan.tif"):
        (place / "broken" / name).write_bytes(b"no raster")
    said = Said()
    sites = sites_of(place, said)
    assert [site.files.name for site in sites] == ["good"]
    assert sum("is left out" in line for line in said.lines) == 2
    put("other", size=40, count=3)
    with pytest.raises(InputError, match="different numbers of bands: good: 4, other: 3"):
        sites_of(place)
    with pytest.raises(InputError, match="none of the 1 scenes can be used"):
        sites_of(place / "tiny")


def test_something_is_kept_aside_though_scenes_are_left_out(put: Callable[..., Path]) -> None:
    for i in range(4):
        place = put(f"{i}", size=40, seed=i)
    put("tiny", size=12)
    assert [site.held is not None for site in sites_of(place)] == [False] * 3 + [True]


def test_a_teacher_knows_the_scene_as_sharpening_does(put: Callable[..., Path]) -> None:
    place = str(put("a", size=60))
    methods = {name: method(name) for name in ("bdsd-pc", "gsa", DEFAULT)}
    (site,), (other,) = (
        survey_scenes([place], 80, chosen, SceneOptions(), Said()) for chosen in (methods, {DEFAULT: methods[DEFAULT]})
    )
    ((_, tile),) = held_tiles([site], 1, CPU, Said())[0].singly()
    assert torch.equal(site.fitted[DEFAULT].fuse(tile), other.fitted[DEFAULT].fuse(tile))


def test_the_mixture_is_what_pan_is(tiles: Tiles) -> None:
    weights = tiles.sites[0].mixture
    assert float(weights[:-1].min()) >= 0
    assert float(weights[:-1].sum()) == pytest.approx(1, abs=0.05)
    assert float(weights[-1]) == pytest.approx(0, abs=0.02)


def test_constant_scenes_and_bands_are_borne(put: Callable[..., Path]) -> None:
    place = put("a", size=60)
    with rasterio.open(place / "a" / "ms.tif", "r+") as file:
        file.write(np.full((240 // 4, 240 // 4), 7, "uint16"), 2)
    (site,) = sites_of(place)
    assert float((site.high - site.low).min()) >= 0.04 * float((site.high - site.low).max())
    assert torch.isfinite(site.mixture).all()


def one_site(place: Path, options: SceneOptions, said: Said | None = None) -> Site:
    (site,) = survey_scenes([str(place)], 80, {}, options, said or Said())
    return site


@pytest.mark.parametrize("suffix", ["csv", "toml"])
def test_a_list_of_scenes(put: Put, tmp_path: Path, suffix: str) -> None:
    put("a", size=30)
    place = put("b", size=30, seed=1)
    listed = tmp_path / f"scenes.{suffix}"
    names_ = ("b", "a")
    if suffix == "csv":
        lines = [f"scenes/{name}/ms.tif,scenes/{name}/pan.tif,{name}" for name in names_]
        listed.write_text("\n".join(["ms,pan,name", *lines]))
    else:
        texts = [f'[[scene]]\nms = "scenes/{n}/ms.tif"\npan = "scenes/{n}/pan.tif"\nname = "{n}"' for n in names_]
        listed.write_text("\n".join(texts))
    found = {site.files.name: site for site in survey_scenes([str(listed)], 80, {}, SceneOptions(), Said())}
    folder = {site.files.name: site for site in survey_scenes([str(place)], 80, {}, SceneOptions(), Said())}
    assert list(found) == ["b", "a"]
    for name, site in found.items():
        assert torch.equal(site.mixture, folder[name].mixture)
        assert (site.learned, site.held, site.scale) == (folder[name].learned, folder[name].held, folder[name].scale)


def test_no_scene_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scene in") as caught:
        survey_scenes([str(tmp_path)], 80, {}, SceneOptions(), Said())
    assert "town/ms.tif" in caught.value.hint
    (tmp_path / "scenes.csv").write_text("ms,pan\n")
    with pytest.raises(InputError, match="no scene in"):
        survey_scenes([str(tmp_path / "scenes.csv")], 80, {}, SceneOptions(), Said())


def test_an_unknown_sensor_is_refused_before_a_scene_is_opened(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    place, said = put("a", size=30), Said()
    monkeypatch.setattr(surveyed_scenes, "open_to_learn", None)
    with pytest.raises(UsageError, match="unknown sensor 'sputnik'"):
        survey_scenes([str(place)], 80, {}, SceneOptions(sensor="sputnik"), said)
    assert said.lines == []


def test_a_scene_that_breaks_in_the_middle_of_its_survey(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a", size=30)
    place, said = put("b", size=30, seed=1), Said()
    real = gather

    calls = iter([OSError(5, "Input/output error"), None])

    def first_fails(scene: Scene, *more: Any, **rest: Any) -> Moments:
        if (error := next(calls)) is not None:
            raise error
        return real(scene, *more, **rest)

    monkeypatch.setattr(surveyed_scenes, "gather", first_fails)
    sites = survey_scenes([str(place)], 80, {}, SceneOptions(), said)
    assert [site.files.name for site in sites] == ["b"]
    assert said.lines[0] == "warning: scene a is left out: [Errno 5] Input/output error"


def test_a_model_that_cannot_be_used_is_no_fault_of_a_scene(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ModelError("weights are damaged", "")

    monkeypatch.setattr(surveyed_scenes, "gather", broken)
    with pytest.raises(ModelError, match="weights are damaged"):
        survey_scenes([str(put("a", size=30))], 80, {}, SceneOptions(), Said())


def test_what_is_said_of_the_optics_reaches_every_site(put: Put) -> None:
    place = put("a", size=30)
    with rasterio.open(place / "a" / "ms.tif", "r+") as file:
        file.descriptions = ("blue", "green", "red", "nir")
    options = SceneOptions(mtf_gain=0.17, sensor="worldview-4", stated_optics=True)
    site = one_site(place, replace(options, register=(0.25, -0.5)))
    assert site.sampling.gains == (0.17,) * 4
    assert site.sensor == "worldview-4"
    assert site.wavelengths == (480, 545, 672, 850)
    plain = one_site(place, SceneOptions(register="off"))
    for phase, other in zip(site.sampling.phases, plain.sampling.phases, strict=True):
        assert tuple(np.subtract(phase, other)) == pytest.approx((4 * 0.25, 4 * -0.5))
    told = site.traits.values
    assert not torch.equal(told, plain.traits.values)


def test_undeclared_nodata_stays_out_where_it_is_stated(put: Put) -> None:
    """In the survey and, since the options travel with the site, in every tile."""
    valid = np.ones((60, 60), bool)
    valid[8:20, 10:24] = False
    place = put("a", size=60, valid=valid, nodata=5000)
    undeclare(place / "a")
    believed, told = one_site(place, SceneOptions()), one_site(place, SceneOptions(src_nodata=5000.0))
    assert float(believed.high.max()) * believed.scale > 4900
    assert float(told.high.max()) * told.scale < 1001
    most = [[float(raw.window.ms.values.max()) * site.scale for raw in raws_of(site)] for site in (believed, told)]
    assert max(most[0]) > 4900
    assert max(most[1]) < 1001


def raws_of(site: Site) -> list[RawTile]:
    """Ten tiles."""
    found = [TileReader([site], 0)[number, 0] for number in range(10)]
    raws = [raw for raw in found if isinstance(raw, RawTile)]
    assert len(raws) == 10
    return raws


def undeclare(folder: Path) -> None:
    """Forget which value means that there is none."""
    for name in ("ms.tif", "pan.tif"):
        with rasterio.open(folder / name, "r+") as file:
            file.nodata = None


def test_a_mixture_that_is_known_is_found(put: Put) -> None:
    place = put("a", size=60)
    weights, constant = np.array([0.1, 0.5, 0.0, 0.3]), 40.0
    fine = read(str(place / "a" / "pan.tif")).shape[1:]
    ground = bands(fine, 4) * 1000
    with rasterio.open(place / "a" / "pan.tif", "r+") as file:
        file.write(np.rint(np.tensordot(weights, ground, 1) + constant).astype("uint16"), 1)
    site = one_site(place, SceneOptions(register="off", mtf_gain=0.3))
    np.testing.assert_allclose(site.mixture[:-1].numpy(), weights, atol=0.03)
    assert float(site.mixture[-1]) * site.scale == pytest.approx(constant, abs=8)


def moments(ms: NDArray[np.float64], pan: NDArray[np.float64]) -> Moments:
    """Of pixels ``(N, C)`` and ``(N,)``; PAN as each band sees it is the same."""
    count = ms.shape[1]
    table = np.column_stack([np.ones(len(ms)), ms, np.tile(pan[:, None], count)])
    return Moments(("ms",) * count + ("pan_low",) * count, table.T @ table)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_a_mixture_is_never_negative(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ms = rng.random((200, count)) @ rng.random((count, count))
    wanted = rng.normal(size=count)
    found = mixture(moments(ms, ms @ wanted + 0.2)).numpy()
    assert (found[:-1] >= 0).all()
    if (wanted >= 0).all():
        np.testing.assert_allclose(found[:-1], wanted, atol=0.02)
    # The mean is met whatever the bounds.
    assert found[:-1] @ ms.mean(0) + found[-1] == pytest.approx((ms @ wanted).mean() + 0.2, abs=1e-4)


def test_bands_that_are_one_and_the_same_share_a_mixture() -> None:
    one = np.random.default_rng(0).random(300)
    found = mixture(moments(np.column_stack([one, one, one]), 0.9 * one)).numpy()
    assert found[:-1].sum() == pytest.approx(0.9, abs=1e-3)
    assert (mixture(moments(np.full((50, 2), 3.0), np.full(50, 1.5))).numpy()[:-1] >= 0).all()


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 40), st.integers(1, 60), st.sampled_from([None, 0, 1]))
def test_what_is_held_and_what_is_learned_never_meet(
    height: int, width: int, top: int, side: int, held: bool | None
) -> None:
    whole = Box(Span(top, top + height), Span(3, 3 + width))
    if min(whole.shape) < side:
        with pytest.raises(InputError, match=f"no room for a tile of {side}"):
            _parts(whole, side, held)
        return
    learned, kept = _parts(whole, side, held if held is None else bool(held))
    assert learned or kept
    for part in (learned, kept):
        assert part is None or (part.inside(whole) and min(part.shape) >= side)
    if learned and kept:
        assert not learned.meets(kept)
        assert learned.pixels + kept.pixels == whole.pixels
        assert kept.rows.size >= height // 5


@settings(max_examples=80, deadline=None)
@given(st.floats(1.1, 12), st.floats(1.0, 1.05), st.integers(1, 700))
def test_a_tiles_size_is_one_that_networks_take(ratio: float, apart: float, side: int) -> None:
    size = Geometry.of((ratio, ratio * apart), side)
    assert size.pan % 8 == 0
    assert size.pan >= side
    assert size.ms * ratio >= size.pan
    # SSIM has room: 11 pixels, and 4 at each border.
    assert size.ms >= 19


@settings(max_examples=80, deadline=None)
@given(st.floats(1.1, 12), st.floats(1.0, 1.05), st.integers(1, 700), st.integers(20, 400), st.integers(20, 400))
def test_a_tile_is_as_large_as_is_asked_or_as_there_is_room(
    ratio: float, apart: float, side: int, height: int, width: int
) -> None:
    """Unless the least that SSIM takes is more than there is."""
    ratios = (ratio, ratio * apart)
    size, asked = Geometry.within(ratios, side, (height, width)), Geometry.of(ratios, side)
    least = Geometry.of(ratios, 1)
    assert least.pan <= size.pan <= asked.pan
    assert size in (asked, least) or size.ms <= min(height, width) < asked.ms
    assert size.pan + 8 > min(asked.pan, ratio * min(height, width)) - 1e-6


def test_the_ends_of_the_contrast_are_percentiles(put: Put) -> None:
    place = put("a", size=60)
    site = one_site(place, SceneOptions())
    for index, name in ((slice(0, -1), "ms"), (slice(-1, None), "pan")):
        pixels = read(str(place / "a" / f"{name}.tif")) / site.scale
        wanted = np.quantile(pixels.reshape(len(pixels), -1), (0.01, 0.99), axis=1)
        np.testing.assert_allclose(site.low[index].numpy(), wanted[0], atol=0.02)
        np.testing.assert_allclose(site.high[index].numpy(), wanted[1], atol=0.02)


def test_moments_of_a_site_are_those_of_its_pixels(put: Put) -> None:
    place = put("a", size=60)
    site = one_site(place, SceneOptions())
    pixels = read(str(place / "a" / "ms.tif")).reshape(4, -1) / site.scale
    np.testing.assert_allclose(site.mean.numpy(), pixels.mean(1), rtol=0.02)
    np.testing.assert_allclose(site.covariance.numpy(), np.cov(pixels), rtol=0.08, atol=1e-4)


def test_what_was_found_is_said(put: Put) -> None:
    put("a", size=60)
    said = Said()
    sites_of(put("b", size=80, ratio=2), said)
    assert said.lines[-1].startswith("scenes: ")
    assert "1 of " in said.lines[-1]
    assert "ratio 4" in said.lines[-1]
    assert "ratio 2" in said.lines[-1]


def test_scenes_with_room_for_nothing(put: Put) -> None:
    """Five scenes of which only the one that is kept aside has room."""
    for i in range(4):
        put(f"{i}", size=12, seed=i)
    said = Said()
    (site,) = sites_of(put("4", size=40), said)
    assert site.learned == site.held
    assert sum("left out" in line for line in said.lines) == 4
    assert any("validation is on what is learned from" in line for line in said.lines)
