from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clippan_cli.training.data.full_tiles import RawTile, Tiles, assemble
from clippan_cli.training.data.tile_reader import TileReader
from clippan_cli.training.loop.distributed import Group
from tests.training.conftest import CPU, Said, sites_of, stream_of


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


def test_the_contrast_of_a_scene_becomes_zero_to_one(tiles: Tiles) -> None:
    ends = tiles.low[:, :-1, None, None], tiles.high[:, :-1, None, None]
    assert all(torch.equal(tiles.bands(end), torch.full_like(end, value)) for value, end in enumerate(ends))
    pan = tiles.pans(torch.stack([tiles.low[:, -1], tiles.high[:, -1]], 1)[:, None, :, None])
    torch.testing.assert_close(pan[0, 0, :, 0], torch.tensor([0.0, 1.0]))
    stretched = tiles.bands(tiles.ms_up)
    assert -0.5 < float(stretched.min()) < 0.5 < float(stretched.max()) < 1.5


def test_each_tile_keeps_what_is_known_of_its_scene(put: Callable[..., Path]) -> None:
    put("a", size=40, slip=(0.4, 0.0))
    sites = sites_of(put("b", size=40, seed=1, peak=300))
    raws = [raw for i in range(12) if isinstance(raw := TileReader(sites, 0)[i, 0], RawTile)]
    chosen = [next(raw for raw in raws if raw.site == index) for index in (1, 0)]
    both = assemble(sites, chosen, CPU)
    for i, raw in enumerate(chosen):
        one = assemble(sites, [raw], CPU)
        site = sites[raw.site]
        assert both.sites[i] is site
        assert torch.equal(both.low[i], site.low)
        assert torch.equal(both.high[i], site.high)
        for ours, theirs in (
            (both.ms_up[i], one.ms_up[0]), (both.context.pan_low[i], one.context.pan_low[0]),
            (both.context.traits[i], one.context.traits[0]), (both.context.deviation[i], one.context.deviation[0]),
        ):  # fmt: skip
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    # The shift of one scene is not that of the other.
    assert sites[0].sampling.phases != sites[1].sampling.phases


def test_where_a_batch_lies(tiles: Tiles) -> None:
    (first, _), (second, _) = tiles.boxes
    assert tiles.where == (
        f"tiles a at MS row {first.rows.start}, column {first.cols.start}; "
        f"a at MS row {second.rows.start}, column {second.cols.start}"
    )


def test_a_tile_overlaps_itself(tiles: Tiles) -> None:
    assert bool(tiles.overlaps.diagonal().all())
    assert torch.equal(tiles.overlaps, tiles.overlaps.T)
