from __future__ import annotations

import numpy as np
import pytest

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import ResourceError
from clippan_cli.sharpening.blend import Blender, ramp
from clippan_cli.sharpening.plan import OVERLAP, Plan, memory_needed, plan_tiles

BOX = Box(Span(40, 340), Span(10, 275))


@pytest.mark.parametrize("size", [64, 100, 128, 300])
def test_finished_windows_tile_the_output(size: int) -> None:
    plan = Plan(BOX, size, 10, 63, 1)
    seen = np.zeros((400, 300), int)
    for row in range(plan.rows):
        for col, tile in enumerate(plan.tiles(row)):
            done = plan.finished(row, col)
            seen[slice(*done.rows), slice(*done.cols)] += 1
            assert tile.rows.start == done.rows.start
            assert tile.rows.stop == min(BOX.rows.stop, done.rows.start + size + OVERLAP)
    assert (seen[slice(*BOX.rows), slice(*BOX.cols)] == 1).all()
    assert seen.sum() == BOX.shape[0] * BOX.shape[1]


@pytest.mark.parametrize("size", [64, 100, 128, 300])
def test_blending_equal_tiles_changes_nothing(size: int) -> None:
    plan = Plan(BOX, size, 10, 63, 1)
    image = np.random.default_rng(0).random((2, 400, 300)).astype(np.float32)
    out = np.full_like(image, np.nan)
    blender = Blender(plan, 2)
    for row in range(plan.rows):
        for col, tile in enumerate(plan.tiles(row)):
            done = plan.finished(row, col)
            out[:, slice(*done.rows), slice(*done.cols)] = blender.add(
                row, col, image[:, slice(*tile.rows), slice(*tile.cols)].copy()
            )
    np.testing.assert_allclose(out[:, 40:340, 10:275], image[:, 40:340, 10:275], atol=1e-6)


def test_unequal_tiles_fade_into_each_other() -> None:
    plan = Plan(Box(Span(0, 128), Span(0, 128)), 64, 0, 63, 1)
    blender = Blender(plan, 1)
    out = np.zeros((128, 128), np.float32)
    for row in range(2):
        for col, tile in enumerate(plan.tiles(row)):
            done = plan.finished(row, col)
            out[slice(*done.rows), slice(*done.cols)] = blender.add(
                row, col, np.full((1, *tile.shape), 2.0 * row + col, np.float32)
            )[0]
    assert np.abs(np.diff(out, axis=0)).max() < 2 * 2 / OVERLAP * 1.6
    assert np.abs(np.diff(out, axis=1)).max() < 2 / OVERLAP * 1.6
    np.testing.assert_allclose(out[10, 64:80], ramp(16), atol=1e-6)
    assert (out[:64, :64] == 0).all()
    assert (out[80:, 80:] == 3).all()


def test_ramps_sum_to_one() -> None:
    np.testing.assert_allclose(ramp(OVERLAP) + ramp(OVERLAP)[::-1], 1, atol=1e-6)


def test_memory_chooses_the_tile() -> None:
    whole = Box(Span(0, 20_000), Span(0, 20_000))
    sizes = [
        plan_tiles(whole, bands=8, halo=60, planes=63, workers=2, memory=memory << 20).size
        for memory in (4096, 1200, 800)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    for bands in (4, 8):
        plan = plan_tiles(whole, bands=bands, halo=60, planes=7 * (bands + 1), workers=2, memory=2 << 30)
        assert memory_needed(plan, bands) <= 2 << 30
    with pytest.raises(ResourceError, match="`memory` allows 100 MiB"):
        plan_tiles(whole, bands=4, halo=60, planes=35, workers=2, memory=100 << 20)
    with pytest.raises(ResourceError, match="tiles of 8192 px"):
        plan_tiles(whole, bands=4, halo=60, planes=35, workers=2, memory=2 << 30, size=8192)
