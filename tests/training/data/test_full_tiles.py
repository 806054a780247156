from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clippan_cli.training.loop.distributed import Group
from tests.training.conftest import Said, sites_of, stream_of


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


@pytest.mark.parametrize("ratio", [2, 4.015])
def test_any_ratio(put: Callable[..., Path], ratio: float) -> None:
    sites = sites_of(put("a", size=80, ratio=ratio))
    tiles = stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=Said())(0, 2)
    assert tiles.pan.shape[-1] >= 80
    assert tiles.pan.shape[-1] % 8 == 0
    seen = tiles.operators.down(tiles.ms_up.flatten(0, 1)).view_as(tiles.ms)
    inner = (..., slice(3, -3), slice(3, -3))
    assert float((seen - tiles.ms)[inner].abs().mean()) < 0.2 * float(tiles.ms.std())


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
