from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clippan_cli.base.geometry import Box, Span

PLACES = st.integers(-40, 40)
SPANS = st.builds(lambda start, size: Span(start, start + size), PLACES, st.integers(1, 30))
BOXES = st.builds(Box, SPANS, SPANS)
OUTER = Box(Span(-50, 90), Span(-50, 90))


def cells(box: Box) -> set[tuple[int, int]]:
    """The pixels of a box, one by one: what all its algebra is about."""
    return {(row, col) for row in range(*box.rows) for col in range(*box.cols)}


@given(BOXES, BOXES)
def test_intersection_is_that_of_the_pixels(a: Box, b: Box) -> None:
    common = a.intersection(b)
    assert cells(common) == cells(a) & cells(b)
    assert common == b.intersection(a)
    assert a.meets(b) == bool(cells(a) & cells(b)) == (not common.empty)
    assert a.inside(b) == (cells(a) <= cells(b))


@given(BOXES, BOXES, BOXES)
def test_the_hull_is_the_smallest_that_covers_both(a: Box, b: Box, c: Box) -> None:
    hull = a.hull(b)
    assert a.inside(hull)
    assert b.inside(hull)
    assert hull.inside(c.hull(hull))
    assert not (a.inside(c) and b.inside(c)) or hull.inside(c)
    assert hull.hull(c) == a.hull(b.hull(c))


@given(BOXES, st.integers(1, 40), st.integers(1, 40))
def test_pieces_cover_each_pixel_once(box: Box, rows: int, cols: int) -> None:
    pieces = list(box.pieces(rows, cols))
    assert sum(piece.pixels for piece in pieces) == box.pixels == len(cells(box))
    assert set().union(*map(cells, pieces)) == cells(box)
    assert all(piece.rows.size <= rows and piece.cols.size <= cols for piece in pieces)
    assert [piece.corner for piece in pieces] == sorted(piece.corner for piece in pieces)


@given(BOXES, PLACES, PLACES)
def test_moving_there_and_back_changes_nothing(box: Box, rows: int, cols: int) -> None:
    moved = box.moved(rows, cols)
    assert moved.shape == box.shape
    assert cells(moved) == {(row + rows, col + cols) for row, col in cells(box)}
    assert moved.moved(-rows, -cols) == box
    assert box.relative_to(moved).corner == (-rows, -cols)


@given(BOXES, BOXES)
def test_relative_pixels_return_where_they_came_from(box: Box, outer: Box) -> None:
    assert box.relative_to(outer).moved(*outer.corner) == box
    assert outer.relative_to(outer) == Box.whole(outer.shape)
    assert Box.at(box.corner, box.shape) == box


@given(BOXES, st.integers(0, 20))
def test_growing_and_shrinking(box: Box, by: int) -> None:
    grown = box.grown(by)
    assert grown.shape == (box.rows.size + 2 * by, box.cols.size + 2 * by)
    assert box.inside(grown)
    assert grown.grown(-by) == box


@given(BOXES, st.integers(0, 20), st.integers(1, 60), st.integers(1, 60))
def test_growing_stays_within_the_image(box: Box, by: int, height: int, width: int) -> None:
    whole = Box.whole((3, height, width))
    assert box.grow(by, (height, width)) == box.grown(by).intersection(whole)


@given(BOXES, st.integers(1, 40))
def test_the_middle_is_centred(box: Box, most: int) -> None:
    middle = box.middle(most)
    assert middle.inside(box)
    assert middle.shape == (min(most, box.rows.size), min(most, box.cols.size))
    for part, whole in zip(middle, box, strict=True):
        before, after = part.start - whole.start, whole.stop - part.stop
        assert 0 <= after - before <= 1


@given(BOXES)
def test_cuts_are_views_of_just_these_pixels(box: Box) -> None:
    rows, cols = np.mgrid[slice(*OUTER.rows), slice(*OUTER.cols)]
    planes = np.stack([rows, cols])
    cut = box.cut(planes, OUTER)
    assert set(zip(cut[0].flat, cut[1].flat, strict=True)) == cells(box)
    assert np.shares_memory(cut, planes)
    np.testing.assert_array_equal(box.cut(torch.from_numpy(planes), OUTER).numpy(), cut)
    np.testing.assert_array_equal(planes[0][box.within(OUTER)], cut[0])


@pytest.mark.parametrize(("span", "step", "sizes"), [((3, 10), 3, [3, 3, 1]), ((0, 4), 9, [4]), ((5, 5), 2, [])])
def test_the_last_piece_takes_what_is_left(span: tuple[int, int], step: int, sizes: list[int]) -> None:
    assert [piece.size for piece in Span(*span).pieces(step)] == sizes


def test_boxes_apart_have_no_pixel_in_common() -> None:
    a, b = Box.at((0, 0), (4, 4)), Box.at((0, 4), (4, 4))
    assert a.intersection(b).empty
    assert not a.meets(b)
    assert Box.at((2, 2), (0, 5)).empty
