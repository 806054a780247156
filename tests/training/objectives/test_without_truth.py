from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.fusion.registry import method
from clippan_cli.metrics.local import local_correlation
from clippan_cli.metrics.qnr import d_lambda, d_s
from clippan_cli.metrics.reference import ssim
from clippan_cli.opening.options import SceneOptions
from clippan_cli.training.data.full_tiles import Tiles, assemble
from clippan_cli.training.data.surveyed_scenes import survey_scenes
from clippan_cli.training.data.tile_reader import held_tiles
from clippan_cli.training.objectives.without_truth import (
    DEGRADATIONS,
    anchor_loss,
    free_of_pan_gain,
    imitation_loss,
    judge,
    quality_loss,
    spatial_loss,
    spectral_loss,
    structural_loss,
    without_gain,
)
from tests.conftest import Made
from tests.training.conftest import CPU, MakeScene, Put, Said, raw_of, sites_of, stream_of


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
    (tiles,) = held_tiles(sites_of(put("a", size=60), side=128), 1, CPU, Said())
    ((site, tile),) = tiles.singly()
    plain, good = judge(tiles.ms_up, tiles), judge(site.fitted["gsa"].fuse(tile)[None], tiles)
    assert good["d_rho"] < plain["d_rho"]
    assert good["hqnr"] > plain["hqnr"]


@pytest.fixture
def known(make_scene: MakeScene) -> tuple[Tiles, Tensor]:
    """Tiles of a scene whose ground is known, and that ground."""
    return on_known_ground(make_scene(size=60))


def on_known_ground(scene: Made) -> tuple[Tiles, Tensor]:
    """Tiles of a scene whose ground is known, and that ground: ``(B, C, H, W)`` in scene units."""
    folder = scene.folder / "known" / "a"
    folder.mkdir(parents=True)
    for path in (scene.ms, scene.pan):
        Path(path).rename(folder / Path(path).name)
    options = SceneOptions(register="off", mtf_gain=0.3)
    sites = survey_scenes([str(folder.parent)], 80, {"gsa": method("gsa")}, options, Said())
    tiles = stream_of(sites, batch=2)(0, 2)
    cuts = [scene.truth[:, pan.rows.slice, pan.cols.slice] for _, pan in tiles.boxes]
    return tiles, torch.from_numpy(np.stack(cuts)).float() / sites[0].scale


Loss = Callable[[Tensor, Tiles], Tensor]
LOSSES: list[Loss] = [spectral_loss, spatial_loss, quality_loss, structural_loss]


def test_the_ground_loses_next_to_nothing(known: tuple[Tiles, Tensor]) -> None:
    tiles, ground = known
    assert float(spectral_loss(ground, tiles)) < 1e-3
    assert float(spatial_loss(ground, tiles)) < 0.02
    for loss in (LOSSES[0], LOSSES[1], LOSSES[3]):
        assert float(loss(ground, tiles)) < 0.5 * float(loss(tiles.ms_up, tiles)), loss.__name__
    soft = F.avg_pool2d(ground, 9, 1, 4)
    for loss in LOSSES:
        assert float(loss(ground, tiles)) < float(loss(soft, tiles)), loss.__name__


def test_the_ground_is_judged_better_than_interpolation(known: tuple[Tiles, Tensor]) -> None:
    tiles, ground = known
    one = assemble(tiles.sites, [raw_of(tiles, 0)], CPU)
    plain, best = judge(one.ms_up, one), judge(ground[:1], one)
    assert set(plain) == {"hqnr", "d_rho", "r_ergas"}
    assert best["hqnr"] > plain["hqnr"]
    assert best["d_rho"] < plain["d_rho"]
    assert best["r_ergas"] < 0.1
    assert 0 <= best["hqnr"] <= 1


@pytest.mark.parametrize("loss", LOSSES)
def test_every_tile_of_a_batch_has_a_gradient(tiles: Tiles, loss: Loss) -> None:
    out = tiles.ms_up.clone().requires_grad_()
    value = loss(out, tiles)
    assert value.shape == ()
    assert float(value.detach()) >= 0
    torch.autograd.backward(value)
    assert out.grad is not None
    assert bool(torch.isfinite(out.grad).all())
    assert bool(out.grad.flatten(1).abs().sum(1).gt(0).all())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_counts_its_tiles_alike(tiles: Tiles, loss: Loss) -> None:
    raws = [raw_of(tiles, i) for i in range(len(tiles.ms))]
    out = tiles.ms_up + 0.02 * torch.randn(tiles.ms_up.shape, generator=torch.Generator().manual_seed(1))
    alone = [float(loss(out[i : i + 1], assemble(tiles.sites[:1], [raw], CPU))) for i, raw in enumerate(raws)]
    assert float(loss(out, tiles)) == pytest.approx(sum(alone) / 2, rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_steps_against_the_gradient_lead_down(tiles: Tiles, loss: Loss) -> None:
    out = tiles.ms_up.clone().requires_grad_()
    optimiser = torch.optim.Adam([out], 2e-3)
    first = float(loss(out, tiles).detach())
    for _ in range(6):
        optimiser.zero_grad()
        torch.autograd.backward(loss(out, tiles))
        optimiser.step()
    assert float(loss(out, tiles).detach()) < first


def test_bicubic_takes_no_notice_of_the_phase(make_scene: MakeScene) -> None:
    tiles, ground = on_known_ground(make_scene(size=60, phase=0.5))
    mtf, bicubic = (float(spectral_loss(ground, tiles, way)) for way in DEGRADATIONS)
    assert mtf < 1e-3
    assert bicubic > 20 * mtf


def test_a_single_band_has_no_other_to_be_distorted_against(put: Put) -> None:
    tiles = stream_of(sites_of(put("a", size=60, count=1)), batch=2)(0, 2)
    out = tiles.ms_up.clone().requires_grad_()
    value = quality_loss(out, tiles)
    torch.autograd.backward(value)
    assert out.grad is not None
    assert bool(torch.isfinite(out.grad).all())
    spatial = [
        d_s(one, ms_up, pan[0], low)
        for one, ms_up, pan, low in zip(tiles.ms_up, tiles.ms_up, tiles.pan, tiles.context.pan_low, strict=True)
    ]
    assert float(value.detach()) == pytest.approx(float(torch.stack(spatial).mean()), abs=1e-4)


def test_imitation_is_a_distance(tiles: Tiles) -> None:
    width = (tiles.high - tiles.low)[:, :-1, None, None]
    assert float(imitation_loss(tiles.ms_up + 0.1 * width, tiles.ms_up, tiles)) == pytest.approx(0.1, rel=1e-3)
    one, other = tiles.ms_up, tiles.ms_up.flip(-1)
    assert torch.equal(imitation_loss(one, other, tiles), imitation_loss(other, one, tiles))


def test_the_anchor_is_a_squared_distance(tiles: Tiles) -> None:
    width = (tiles.high - tiles.low)[:, :-1, None, None]
    assert float(anchor_loss(tiles.ms_up + 0.1 * width, tiles.ms_up, tiles)) == pytest.approx(0.01, rel=1e-3)
    assert float(anchor_loss(tiles.ms_up, tiles.ms_up, tiles)) == 0


def test_what_is_free_of_a_gain_is_orthogonal_to_the_detail(tiles: Tiles) -> None:
    detail = tiles.pan - tiles.context.pan_low
    planes = torch.randn(tiles.ms_up.shape, generator=torch.Generator().manual_seed(0)) + 3 * detail
    free = without_gain(planes, detail)
    assert float((free * detail).sum((2, 3)).abs().max()) < 1e-3 * float((planes * detail).sum((2, 3)).abs().min())
    torch.testing.assert_close(without_gain(free, detail), free, rtol=1e-4, atol=1e-5)
    # What is taken out of a band is the detail times one number.
    taken = (planes - free) / detail
    torch.testing.assert_close(taken, taken.mean((2, 3), keepdim=True).expand_as(taken), rtol=1e-2, atol=1e-2)
    assert not without_gain(3 * detail, detail).abs().gt(1e-5).any()
    assert torch.equal(without_gain(planes, torch.zeros_like(detail)), planes)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_that_asks_for_no_gain_is_the_same_loss(tiles: Tiles, loss: Loss) -> None:
    """Its value is the same, and its gradient but for what lies along PAN's detail, band by band."""
    noise = torch.randn(tiles.ms_up.shape, generator=torch.Generator().manual_seed(4))
    out = (tiles.ms_up + 0.02 * noise).requires_grad_()
    plain = loss(out, tiles)
    free = free_of_pan_gain(lambda image: loss(image, tiles), out, tiles)
    assert float(free.detach()) == pytest.approx(float(plain.detach()), abs=1e-6)
    (before,), (after,) = (torch.autograd.grad(value, out) for value in (plain, free))
    detail = tiles.pan - tiles.context.pan_low
    along = (after * detail).sum((2, 3)).abs() / (after.norm(dim=(2, 3)) * detail.norm(dim=(2, 3)))
    assert float(along.max()) < 1e-4
    torch.testing.assert_close(after, without_gain(before, detail))


def test_more_of_pan_is_not_asked_for_through_the_net_that_makes_it(tiles: Tiles) -> None:
    """A gain for all of a band is what the loss of the images would move, and is not moved."""
    detail = tiles.pan - tiles.context.pan_low
    gain = torch.full((4, 1, 1), 0.5, requires_grad=True)

    def loss(image: Tensor) -> Tensor:
        return (image - tiles.ms_up - detail).square().mean()

    (before,) = torch.autograd.grad(loss(tiles.ms_up + gain * detail), gain)
    (after,) = torch.autograd.grad(free_of_pan_gain(loss, tiles.ms_up + gain * detail, tiles), gain)
    assert float(before.abs().min()) > 1e3 * float(after.abs().max())


def test_a_loss_without_a_gradient_is_borne(tiles: Tiles) -> None:
    assert float(free_of_pan_gain(lambda _: torch.tensor(0.7), tiles.ms_up, tiles)) == pytest.approx(0.7)
    # Nobody learns: the value is all there is.
    value = free_of_pan_gain(lambda image: image.square().mean(), tiles.ms_up, tiles)
    assert not value.requires_grad
    assert float(value) == pytest.approx(float(tiles.ms_up.square().mean()))


def test_structure_is_not_asked_for_where_the_lower_scale_has_none(tiles: Tiles) -> None:
    """A band that does not follow PAN there may differ here as much."""
    noise = torch.randn(tiles.ms_up.shape, generator=torch.Generator().manual_seed(3))
    unlike = replace(tiles, ms_up=noise)
    assert float(structural_loss(noise, unlike)) < float(structural_loss(noise, tiles))
