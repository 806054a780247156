from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clippan_cli.assessment.lattice import Cell, Lattice, cut, window_side
from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.physics.sampling import Sampling


def lattice(area: Box, ratio: float, side: int, ms: tuple[int, int] | None = None) -> Lattice:
    sampling = Sampling.uniform((ratio, ratio), ((ratio - 1) / 2,) * 2, (0.3,))
    return cut(area, sampling, ms or (math.ceil(area.rows.stop / ratio), math.ceil(area.cols.stop / ratio)), side)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(40, 3000),
    width=st.integers(40, 3000),
    ratio=st.sampled_from([1.3, 2.0, 2.5, 4.0, 4.0151, 16.0]),
    side=st.sampled_from([256, 512, 1024]),
    start=st.integers(0, 70),
)
def test_windows_cover_everything_once_and_cut_no_block(
    height: int, width: int, ratio: float, side: int, start: int
) -> None:
    area = Box(Span(start, start + height), Span(0, width))
    made = lattice(area, ratio, side)
    pan, ms = np.zeros((start + height, width), int), np.zeros((made.common.rows.stop, made.common.cols.stop), int)
    for cell in made.cells:
        pan[slice(*cell.pan.rows), slice(*cell.pan.cols)] += 1
        ms[slice(*cell.ms.rows), slice(*cell.ms.cols)] += 1
        for span, outer in zip(cell.pan, area, strict=True):
            assert (span.start - outer.start) % BLOCK == 0
            assert (span.stop - outer.start) % BLOCK == 0 or span.stop == outer.stop
        for span, outer in zip(cell.ms, made.common, strict=True):
            assert (span.start - outer.start) % BLOCK == 0
            assert (span.stop - outer.start) % BLOCK == 0 or span.stop == outer.stop
    assert (pan[start:] == 1).all()
    assert (ms[made.common.rows.start :, made.common.cols.start :] == 1).all()


def test_the_chosen_windows_are_spread() -> None:
    made = lattice(Box(Span(0, 8192), Span(0, 8192)), 4, 1024)
    chosen = made.spread(16, lambda _: True)
    assert len(chosen) == 16
    assert len({cell.pan.rows.start for cell in chosen}) >= 6
    assert len({cell.pan.cols.start for cell in chosen}) >= 6
    assert made.spread(1000, lambda _: False) == made.cells
    corner = made.spread(16, lambda cell: cell.pan.rows.start < 2048 and cell.pan.cols.start < 1024)
    assert [cell.pan.rows.start for cell in corner] == [0, 1024]


def test_what_is_smaller_than_a_block_is_refused() -> None:
    with pytest.raises(InputError, match="31 × 400 px, is smaller than a block of 32 px"):
        lattice(Box(Span(0, 400), Span(0, 31)), 4, 512)


def test_what_ms_does_not_cover_is_left_out() -> None:
    sampling = Sampling.uniform((4.0, 4.0), (4001.5, 4001.5), (0.3,))
    made = cut(Box(Span(0, 20_000), Span(0, 20_000)), sampling, (500, 500), 512)
    assert made.area == Box(Span(4000, 6000), Span(4000, 6000))
    assert max(max(cell.pan.shape) for cell in made.cells) < 1000


def test_ms_must_reach_the_area() -> None:
    with pytest.raises(InputError, match="no MS pixel"):
        lattice(Box(Span(400, 500), Span(0, 100)), 4, 512, ms=(50, 50))


def test_more_memory_gives_larger_windows() -> None:
    sides = [window_side(8, 60, 2, bound << 20) for bound in (800, 1500, 8000)]
    assert sides == sorted(sides)
    assert sides[0] < sides[-1]


def test_a_heavy_method_gets_smaller_windows() -> None:
    light, heavy = (window_side(4, 100, 2, 2 << 30, planes=planes) for planes in (0, 500))
    assert heavy < light
    assert window_side(4, 100, 2, 8 << 30, planes=500) > heavy


def test_cells_are_values() -> None:
    made = lattice(Box(Span(0, 100), Span(0, 100)), 4, 256)
    assert made.cells == (Cell(made.area, made.common),)
