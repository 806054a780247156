from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import ResourceError
from clippan_cli.sharpening.plan import OVERLAP, TILE_SIZES, Plan, memory_needed, plan_tiles

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


BOXES = st.builds(Box.at, st.tuples(st.integers(0, 500), st.integers(0, 500)), st.tuples(*[st.integers(1, 900)] * 2))


@given(BOXES, st.integers(64, 400))
def test_finished_windows_partition_any_box(box: Box, size: int) -> None:
    plan = Plan(box, size, 10, 63, 1)
    places = [(row, col) for row in range(plan.rows) for col in range(plan.cols)]
    done = [plan.finished(*place) for place in places]
    assert done == list(box.pieces(size, size))
    for (row, col), window in zip(places, done, strict=True):
        tile = list(plan.tiles(row))[col]
        assert window.inside(tile)
        assert tile.inside(box)
        assert tile.inside(Box.at(window.corner, (size + OVERLAP, size + OVERLAP)))


@given(BOXES, st.integers(64, 400))
def test_a_tile_shares_pixels_with_its_neighbours_only(box: Box, size: int) -> None:
    plan = Plan(box, size, 10, 63, 1)
    spans = [tile.cols for tile in plan.tiles(0)]
    for before, after in pairwise(spans):
        assert before.intersection(after).size == min(OVERLAP, after.size)
    for first, third in zip(spans, spans[2:], strict=False):
        assert first.intersection(third).size <= 0


@given(
    st.tuples(*[st.integers(1, 30_000)] * 2), st.integers(1, 12), st.integers(0, 200), st.integers(1, 150),
    st.integers(1, 16), st.integers(600, 8000),
)  # fmt: skip
def test_the_memory_is_respected_or_the_least_is_named(
    shape: tuple[int, int], bands: int, halo: int, planes: int, workers: int, mib: int
) -> None:
    box = Box.whole(shape)
    cost = {"bands": bands, "halo": halo, "planes": planes, "workers": workers}
    try:
        plan = plan_tiles(box, **cost, memory=mib << 20)
    except ResourceError as error:
        found = re.search(r"need (\d+) MiB, `memory` allows (\d+) MiB", error.what)
        assert found is not None
        assert int(found[2]) == mib <= int(found[1])
        allowed = re.search(r"`memory=(\d+)M`", error.hint)
        assert allowed is not None
        plan = plan_tiles(box, **cost, memory=int(allowed[1]) << 20)
        assert plan.size == TILE_SIZES[-1]
    else:
        assert memory_needed(plan, bands) <= mib << 20
        larger = [size for size in TILE_SIZES if plan.size < size < 2 * max(shape)]
        assert all(memory_needed(Plan(box, size, halo, planes, workers), bands) > mib << 20 for size in larger)


@given(st.integers(1, 12), st.integers(0, 200), st.integers(1, 150), st.integers(1, 16))
def test_more_of_anything_needs_more_memory(bands: int, halo: int, planes: int, workers: int) -> None:
    box = Box.whole((5000, 5000))
    needed = memory_needed(Plan(box, 256, halo, planes, workers), bands)
    more = (
        memory_needed(Plan(box, 256, halo, planes, workers), bands + 1),
        memory_needed(Plan(box, 256, halo + 1, planes, workers), bands),
        memory_needed(Plan(box, 256, halo, planes + 1, workers), bands),
        memory_needed(Plan(box, 256, halo, planes, workers + 1), bands),
        memory_needed(Plan(box, 512, halo, planes, workers), bands),
    )
    assert all(each > needed for each in more)
    # Tiles that are read and tiles that wait to be written hold every band.
    assert more[0] - needed >= (workers + 2) * (256 + 2 * halo) ** 2 * 4


@given(st.tuples(*[st.integers(1, 500)] * 2), st.integers(64, 2000))
def test_the_users_tile_is_taken_or_refused(shape: tuple[int, int], size: int) -> None:
    box = Box.whole(shape)
    cost = {"bands": 4, "halo": 60, "planes": 35, "workers": 2}
    assert plan_tiles(box, **cost, memory=64 << 30, size=size).size == size
    with pytest.raises(ResourceError, match=f"tiles of {size} px") as found:
        plan_tiles(box, **cost, memory=1 << 20, size=size)
    assert "smaller tiles (`tile_size`)" in found.value.hint


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_small_scene_gets_no_huge_tiles(height: int, width: int) -> None:
    plan = plan_tiles(Box.whole((height, width)), bands=4, halo=9, planes=9, workers=1, memory=64 << 30)
    assume(plan.size > TILE_SIZES[-1])
    assert plan.size < 2 * max(height, width)
