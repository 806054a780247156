from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box, Span
from clippan_cli.sharpening.blend import Blender, ramp
from clippan_cli.sharpening.plan import OVERLAP, Plan

BOX = Box(Span(40, 340), Span(10, 275))
PLANS = st.builds(
    lambda corner, shape, size: Plan(Box.at(corner, shape), size, 10, 63, 1),
    st.tuples(st.integers(0, 50), st.integers(0, 50)),
    st.tuples(st.integers(1, 250), st.integers(1, 250)),
    st.integers(64, 130),
)


def blended(plan: Plan, tiles: dict[tuple[int, int], NDArray[np.float32]], first: int = 0) -> NDArray[np.float32]:
    """What comes of the tiles, from a row of them on."""
    bands = len(next(iter(tiles.values())))
    out = np.full((bands, *plan.box.shape), np.nan, np.float32)
    blender = Blender(plan, bands, first)
    for row in range(first, plan.rows):
        for col in range(plan.cols):
            place = plan.finished(row, col).within(plan.box)
            out[(slice(None), *place)] = blender.add(row, col, tiles[row, col].copy())
    return out


def random_tiles(plan: Plan, bands: int, seed: int = 0) -> dict[tuple[int, int], NDArray[np.float32]]:
    """Tiles that have nothing to do with one another."""
    rng = np.random.default_rng(seed)
    return {
        (row, col): rng.standard_normal((bands, *tile.shape)).astype(np.float32)
        for row in range(plan.rows)
        for col, tile in enumerate(plan.tiles(row))
    }


def weights(outer: Span, tiles: list[Span]) -> NDArray[np.float64]:
    """The share of each tile along one axis, ``(tiles, pixels)``, as blending is meant."""
    found = np.zeros((len(tiles), outer.size))
    for index, tile in enumerate(tiles):
        here = tile.moved(-outer.start)
        found[index, here.slice] = 1
        if index:
            seam = Span(here.start, min(here.start + OVERLAP, here.stop))
            rising = 0.5 - 0.5 * np.cos(np.pi * (np.arange(seam.size) + 0.5) / OVERLAP)
            found[index, seam.slice] = rising
            found[index - 1, seam.slice] = 1 - rising
    return found


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


@settings(max_examples=25)
@given(PLANS, st.integers(1, 3))
def test_blending_is_a_weighted_sum_of_tiles(plan: Plan, bands: int) -> None:
    tiles = random_tiles(plan, bands)
    boxes = {(row, col): tile for row in range(plan.rows) for col, tile in enumerate(plan.tiles(row))}
    down = weights(plan.box.rows, [boxes[row, 0].rows for row in range(plan.rows)])
    right = weights(plan.box.cols, [boxes[0, col].cols for col in range(plan.cols)])
    np.testing.assert_allclose(down.sum(0), 1)
    wanted = np.zeros((bands, *plan.box.shape))
    for (row, col), tile in tiles.items():
        rows, cols = boxes[row, col].within(plan.box)
        wanted[:, rows, cols] += down[row, rows][:, None] * right[col, cols] * tile
    np.testing.assert_allclose(blended(plan, tiles), wanted, atol=2e-6)


@settings(max_examples=25)
@given(PLANS, st.floats(-1000, 1000, width=32))
def test_constant_tiles_give_the_constant_exactly(plan: Plan, value: float) -> None:
    tiles = {place: np.full_like(tile, value) for place, tile in random_tiles(plan, 1).items()}
    assert (blended(plan, tiles) == np.float32(value)).all()


@settings(max_examples=25)
@given(PLANS, st.data())
def test_a_run_that_begins_later_ends_the_same(plan: Plan, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, plan.rows - 1))
    tiles = random_tiles(plan, 2)
    start = 0 if first == 0 else plan.size * (first + 1)
    np.testing.assert_array_equal(blended(plan, tiles, first)[:, start:], blended(plan, tiles)[:, start:])


def test_values_stay_between_those_of_the_tiles() -> None:
    plan = Plan(BOX, 64, 10, 63, 1)
    tiles = {place: np.clip(tile, -1, 1) for place, tile in random_tiles(plan, 1).items()}
    made = blended(plan, tiles)
    assert np.isfinite(made).all()
    assert np.abs(made).max() <= 1


def test_a_ramp_rises() -> None:
    rising = ramp(OVERLAP)
    assert (np.diff(rising) > 0).all()
    assert 0 < rising[0] < 0.01
    np.testing.assert_array_equal(ramp(5), rising[:5])
