from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clippan_cli.metrics.local import local_correlation
from clippan_cli.metrics.qnr import d_lambda, d_s
from clippan_cli.metrics.reference import ssim
from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.data.tile_reader import held_tiles
from clippan_cli.training.objectives.without_truth import (
    imitation_loss,
    judge,
    quality_loss,
    spatial_loss,
    spectral_loss,
    structural_loss,
)
from tests.training.conftest import CPU, Said, sites_of


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
