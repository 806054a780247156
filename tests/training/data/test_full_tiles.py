from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.metrics.local import local_correlation
from clippan_cli.metrics.qnr import d_lambda, d_s
from clippan_cli.metrics.reference import ssim
from clippan_cli.opening.options import SceneOptions
from clippan_cli.training.data.full_tiles import RawTile, Tiles
from clippan_cli.training.data.surveyed_scenes import Geometry, Site, survey_scenes
from clippan_cli.training.data.tile_reader import TileReader, TileStream, _pan_box, held_tiles
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.objectives.without_truth import (
    imitation_loss,
    judge,
    quality_loss,
    spatial_loss,
    spectral_loss,
    structural_loss,
)
from tests.conftest import Made
from tests.training.test_training import Said

MakeScene = Callable[..., Made]
CPU = torch.device("cpu")


@pytest.fixture
def put(make_scene: MakeScene, tmp_path: Path) -> Callable[..., Path]:
    """Makes scenes, each in a folder of its own under ``scenes``."""

    def make(name: str, **more: object) -> Path:
        scene = make_scene(**more)
        folder = tmp_path / "scenes" / name
        folder.mkdir(parents=True)
        for path in (scene.ms, scene.pan):
            Path(path).rename(folder / Path(path).name)
        return tmp_path / "scenes"

    return make


def sites_of(place: Path, said: Said | None = None, side: int = 80) -> list[Site]:
    return survey_scenes([str(place)], side, {"gsa": method("gsa")}, SceneOptions(), said or Said())


def test_tiles_are_cut_where_they_belong(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=60, slip=(0.3, -0.2)))
    tiles = stream_of(sites, batch=3, seed=3, workers=0, group=Group(), hears=Said())(0, 3)
    assert tiles.ms.shape == (3, 4, 20, 20)
    assert tiles.pan.shape == (3, 1, 80, 80)
    # What a single window of the engine sees is what the batch sees.
    for i, (_, tile) in enumerate(tiles.singly()):
        assert torch.allclose(tile.ms_up, tiles.ms_up[i], atol=1e-5)
        down = tile.operators.down(tiles.pan[i].expand(4, -1, -1))
        batch = tiles.operators.down(tiles.pan.expand(-1, 4, -1, -1).flatten(0, 1)).view_as(tiles.ms)
        assert torch.allclose(down, batch[i], atol=1e-5)


def stream_of(sites: list[Site], **more: Any) -> TileStream:
    return TileStream(
        **{"sites": sites, "side": 80, "seed": 0, "workers": 0, "group": Group(), "hears": Said(), **more}
    )


@pytest.mark.parametrize("ratio", [2, 4.015])
def test_any_ratio(put: Callable[..., Path], ratio: float) -> None:
    sites = sites_of(put("a", size=80, ratio=ratio))
    tiles = stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=Said())(0, 2)
    assert tiles.pan.shape[-1] >= 80
    assert tiles.pan.shape[-1] % 8 == 0
    seen = tiles.operators.down(tiles.ms_up.flatten(0, 1)).view_as(tiles.ms)
    inner = (..., slice(3, -3), slice(3, -3))
    assert float((seen - tiles.ms)[inner].abs().mean()) < 0.2 * float(tiles.ms.std())


def test_large_seeds(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=60))
    first, other = (
        stream_of(sites, batch=2, seed=seed, workers=0, group=Group(), hears=Said())(9, 2).pan
        for seed in (2**31, 20_261_121)
    )
    assert not torch.equal(first, other)


def test_tiles_repeat_whoever_reads_them(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=60))

    def stream(workers: int, group: Group) -> TileStream:
        return stream_of(sites, batch=4, seed=1, workers=workers, group=group, hears=Said())

    alone, others = stream(0, Group()), stream(2, Group())
    first = [alone(i, 4) for i in range(3)]
    for i in range(3):
        assert torch.equal(others(i, 4).pan, first[i].pan)
    assert torch.equal(stream(0, Group())(2, 4).pan, first[2].pan)
    assert not torch.equal(first[0].pan, first[1].pan)
    # Two processes share what one has, and short memory takes the first of them.
    halves = [stream(0, Group(rank, 2))(1, 4).pan for rank in (0, 1)]
    assert torch.equal(torch.cat(halves)[[0, 2, 1, 3]], first[1].pan)
    assert torch.equal(alone(2, 2).pan, first[2].pan[:2])


def test_invalid_pixels_never_enter(put: Callable[..., Path]) -> None:
    valid = np.ones((60, 60), bool)
    valid[:25, :30] = False
    sites = sites_of(put("a", size=60, valid=valid, nodata=0))
    reader = TileReader(sites, 80, 0)
    for number in range(12):
        raw = reader[number, 0]
        assert isinstance(raw, RawTile)
        assert float(raw.window.ms.values.min()) > 0
        assert float(raw.window.pan.values.min()) > 0


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
    (small,) = sites_of(put("b", size=24).parent / "scenes" / "b", said)
    assert small.learned == small.held
    assert any("too small to keep a part of them aside" in line for line in said.lines)
    kept = held_tiles([site], 80, 3, CPU, said)
    assert all(ms_box.rows.start >= site.held.rows.start for tiles in kept for ms_box, _ in tiles.boxes)


def test_tiles_that_are_validated_on_do_not_overlap(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=120))
    kept = held_tiles(sites, 80, 6, CPU, Said())
    boxes = [ms_box for tiles in kept for ms_box, _ in tiles.boxes]
    assert len(boxes) > 2
    pixels = [(row, col) for box in boxes for row in range(*box.rows) for col in range(*box.cols)]
    assert len(pixels) == len(set(pixels))


def test_which_tiles_overlap(put: Callable[..., Path]) -> None:
    put("a", size=60)
    sites = sites_of(put("b", size=60, seed=1))
    tiles = stream_of(sites, batch=6, seed=0, workers=0, group=Group(), hears=Said())(0, 6)
    for i, (one, (box, _)) in enumerate(zip(tiles.sites, tiles.boxes, strict=True)):
        for j, (other, (their, _)) in enumerate(zip(tiles.sites, tiles.boxes, strict=True)):
            rows = set(range(*box.rows)) & set(range(*their.rows))
            shared = bool(rows) and bool(set(range(*box.cols)) & set(range(*their.cols)))
            assert bool(tiles.overlaps[i, j]) == (shared and one.files == other.files)
    assert 6 < int(tiles.overlaps.sum()) < 36


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


def test_a_scene_that_breaks_later_is_skipped(put: Callable[..., Path]) -> None:
    put("a", size=40)
    place = put("b", size=40, seed=1)
    sites = sites_of(place)
    (place / "a" / "pan.tif").write_bytes(b"gone")
    said = Said()
    stream = stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=said)
    for i in range(4):
        assert {site.files.name for site in stream(i, 2).sites} == {"b"}
    assert list(stream.lost) == [0]
    assert sum("a is skipped from here on" in line for line in said.lines) == 1
    (place / "b" / "ms.tif").write_bytes(b"gone")
    with pytest.raises(InputError, match="no tile of 80 PAN pixels without gaps was found"):
        stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=said)(0, 2)


def test_no_room_without_gaps(put: Callable[..., Path]) -> None:
    valid = np.ones((40, 40), bool)
    valid[::8] = False
    sites = sites_of(put("a", size=40, valid=valid, nodata=0))
    for workers in (0, 1):
        with pytest.raises(InputError, match="no tile of 80 PAN pixels without gaps") as caught:
            stream_of(sites, batch=2, seed=0, workers=workers, group=Group(), hears=Said())(0, 2)
        assert caught.value.hint == "give scenes with more valid pixels"


def test_a_kind_without_tiles_is_passed_over(put: Callable[..., Path]) -> None:
    valid = np.ones((80, 80), bool)
    valid[::8] = False
    put("a", size=60)
    sites = sites_of(put("gaps", size=80, ratio=2, seed=1, valid=valid, nodata=0))
    stream = stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=Said())
    assert {site.files.name for i in range(8) for site in stream(i, 2).sites} == {"a"}


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
    ((_, tile),) = held_tiles([site], 80, 1, CPU, Said())[0].singly()
    assert torch.equal(site.fitted[DEFAULT].fuse(tile), other.fitted[DEFAULT].fuse(tile))


def test_kinds_do_not_mix(put: Callable[..., Path]) -> None:
    put("a", size=60, ratio=4)
    sites = sites_of(put("b", size=80, ratio=2, seed=1))
    stream = stream_of(sites, batch=3, seed=0, workers=0, group=Group(), hears=Said())
    seen = [{site.files.name for site in stream(i, 3).sites} for i in range(8)]
    assert all(len(names) == 1 for names in seen)
    assert len({name for names in seen for name in names}) == 2


@pytest.fixture
def tiles(put: Callable[..., Path]) -> Tiles:
    sites = sites_of(put("a", size=60))
    return stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=Said())(0, 2)


def test_the_mixture_is_what_pan_is(tiles: Tiles) -> None:
    weights = tiles.sites[0].mixture
    assert float(weights[:-1].min()) >= 0
    assert float(weights[:-1].sum()) == pytest.approx(1, abs=0.05)
    assert float(weights[-1]) == pytest.approx(0, abs=0.02)


def test_losses_against_loops(tiles: Tiles) -> None:
    out = tiles.ms_up + 0.02 * torch.randn(tiles.ms_up.shape, generator=torch.Generator().manual_seed(0))
    low, high = tiles.low[0], tiles.high[0]
    spectral, spatial, quality, structure = [], [], [], []
    for b in range(2):
        one = out[b]
        seen = tiles.operators.down(torch.cat([out[0], out[1]]))[4 * b : 4 * b + 4]
        ends = low[:4, None, None], (high - low)[:4, None, None]
        x, y = (((image - ends[0]) / ends[1])[:, 4:-4, 4:-4] for image in (seen, tiles.ms[b]))
        spectral.append(float(((x - y) ** 2).mean() + 1 - ssim(x, y, 1.0)))
        mixed = sum(tiles.sites[b].mixture[k] * one[k] for k in range(4)) + tiles.sites[b].mixture[4]
        x, y = (mixed - low[4]) / (high - low)[4], (tiles.pan[b, 0] - low[4]) / (high - low)[4]
        spatial.append(float(((x - y) ** 2).mean() + 1 - ssim(x[None], y[None], 1.0)))
        distortion = d_s(one, tiles.ms_up[b], tiles.pan[b, 0], tiles.context.pan_low[b])
        quality.append(float(1 - (1 - d_lambda(one, tiles.ms_up[b])) * (1 - distortion)))
        images = [(image - ends[0]) / ends[1] for image in (one, tiles.ms_up[b])]
        pans = [(pan - low[4]) / (high - low)[4] for pan in (tiles.pan[b, 0], tiles.context.pan_low[b, 0])]
        apart = 1 - local_correlation(images[0], pans[0], 2, floor=1e-6)[:, 6:-6, 6:-6]
        allowed = 1 - local_correlation(images[1], pans[1], 8, floor=1e-6)
        structure.append(float((apart * (apart > allowed)).mean()))
    assert float(spectral_loss(out, tiles)) == pytest.approx(sum(spectral) / 2, rel=1e-3)
    assert float(spatial_loss(out, tiles)) == pytest.approx(sum(spatial) / 2, rel=1e-3)
    assert float(quality_loss(out, tiles)) == pytest.approx(sum(quality) / 2, rel=1e-3)
    assert float(structural_loss(out, tiles)) == pytest.approx(sum(structure) / 2, rel=1e-3)
    assert float(imitation_loss(out, out, tiles)) == 0


def test_losses_have_finite_gradients(tiles: Tiles) -> None:
    for loss in (
        lambda x: spectral_loss(x, tiles),
        lambda x: spectral_loss(x, tiles, "bicubic"),
        lambda x: spatial_loss(x, tiles),
        lambda x: quality_loss(x, tiles),
        lambda x: structural_loss(x, tiles),
        lambda x: imitation_loss(x, 0.9 * tiles.ms_up, tiles),
    ):
        x = tiles.ms_up.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x), x)  # type: ignore[no-untyped-call]
        assert torch.isfinite(gradient).all()
        assert bool(gradient.any())


def test_the_better_fusion_is_judged_better(put: Callable[..., Path]) -> None:
    (tiles,) = held_tiles(sites_of(put("a", size=60), side=128), 128, 1, CPU, Said())
    ((site, tile),) = tiles.singly()
    plain, good = judge(tiles.ms_up, tiles), judge(site.fitted["gsa"].fuse(tile)[None], tiles)
    assert good["d_rho"] < plain["d_rho"]
    assert good["hqnr"] > plain["hqnr"]


def test_constant_scenes_and_bands_are_borne(put: Callable[..., Path]) -> None:
    place = put("a", size=60)
    with rasterio.open(place / "a" / "ms.tif", "r+") as file:
        file.write(np.full((240 // 4, 240 // 4), 7, "uint16"), 2)
    (site,) = sites_of(place)
    assert float((site.high - site.low).min()) >= 0.04 * float((site.high - site.low).max())
    assert torch.isfinite(site.mixture).all()


def test_landsats_grid_ends_within_a_pixel(put: Callable[..., Path]) -> None:
    (site,) = sites_of(put("a", size=48, ratio=2, phase=0))
    shorter = replace(site, pan_shape=(95, 95))
    size = Geometry.of(site.sampling.ratio, 64)
    corner = Box(Span(48 - size.ms, 48), Span(48 - size.ms, 48))
    assert _pan_box(shorter, corner, size) == Box(Span(95 - size.pan, 95), Span(95 - size.pan, 95))
