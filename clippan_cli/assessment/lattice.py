"""How a scene is cut into windows for judging, so that no value depends on the cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.physics.sampling import Sampling

SIDES = (1024, 512, 256)

_BASE_BYTES = 430 << 20
_PLANES = 10
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Cell:
    """Holds one window.

    Args:
        pan: The PAN pixels that it judges; whole blocks, but at the end of the scene.
        ms: The MS pixels that it judges; whole blocks, but at the end of the scene.
    """

    pan: Box
    ms: Box


@dataclass(frozen=True)
class Lattice:
    """Lays blocks and windows over a judged area.

    Blocks of ``BLOCK`` PAN pixels are anchored at the area's first pixel, those of ``BLOCK`` MS pixels at the first MS
    pixel whose centre lies in it. Windows hold whole blocks of both kinds.

    Args:
        area: The pixels of PAN's grid that are judged.
        common: The MS pixels whose centres lie in it.
        cells: The windows.
    """

    area: Box
    common: Box
    cells: tuple[Cell, ...]

    @property
    def blocks(self) -> tuple[int, int]:
        """The number of rows and columns of blocks of PAN pixels."""
        return self.area.rows.size // BLOCK, self.area.cols.size // BLOCK

    def at(self, cell: Cell) -> tuple[int, int]:
        """Return row and column of a window's first block of PAN pixels."""
        return (
            (cell.pan.rows.start - self.area.rows.start) // BLOCK,
            (cell.pan.cols.start - self.area.cols.start) // BLOCK,
        )

    def spread(self, most: int, useful: Callable[[Cell], bool]) -> tuple[Cell, ...]:
        """Pick at most so many windows, spread evenly over the area.

        Args:
            most: The highest number of windows.
            useful: The function that tells whether a window is worth taking; asked only where not all are taken.
        """
        if len(self.cells) <= most:
            return self.cells
        # Multiples of the golden ratio fill the unit interval evenly and fall in step with no row of windows.
        order = np.argsort(np.arange(len(self.cells)) * _GOLDEN % 1.0, kind="stable")
        found = list(islice((index for index in order if useful(self.cells[index])), most))
        return tuple(self.cells[index] for index in sorted(found or order[:most]))


def cut(area: Box, sampling: Sampling, ms_shape: tuple[int, int], side: int) -> Lattice:
    """Cut an area into windows of about ``side`` PAN pixels.

    Args:
        area: The area on PAN's grid; what MS does not cover of it is left out.
        sampling: The place of MS on PAN.
        ms_shape: The number of rows and columns of the MS image.
        side: The number of PAN pixels along a window.

    Raises:
        InputError: The area is smaller than a block, or MS does not reach it.
    """
    area = Box(*(_under_ms(area[axis], sampling, axis, ms_shape[axis]) for axis in (0, 1)))
    if min(area.shape) < BLOCK:
        raise InputError(
            f"what MS covers of the image, {area.shape[1]} × {area.shape[0]} px, is smaller than a block of {BLOCK} px",
            "the indices are means over blocks: assess a larger image",
        )
    pans, commons, mses = [], [], []
    for axis in (0, 1):
        common = sampling.centred(axis, area[axis], ms_shape[axis])
        if common.size <= 0:
            raise _apart()
        edges = _ms_edges(common, sampling.ratio[axis], side)
        mses.append([Span(int(a), int(b)) for a, b in pairwise(edges)])
        starts = _pan_edges(edges, area[axis], sampling.nominal[axis], sampling.ratio[axis])
        pans.append([Span(int(a), int(b)) for a, b in pairwise(starts)])
        commons.append(common)
    cells = tuple(
        Cell(Box(pan_rows, pan_cols), Box(ms_rows, ms_cols))
        for pan_rows, ms_rows in zip(pans[0], mses[0], strict=True)
        for pan_cols, ms_cols in zip(pans[1], mses[1], strict=True)
    )
    return Lattice(area, Box(*commons), cells)


def _under_ms(span: Span, sampling: Sampling, axis: int, limit: int) -> Span:
    """Return the part of a span of PAN pixels that MS's pixels cover."""
    ratio, phase = sampling.ratio[axis], sampling.nominal[axis]
    start = max(span.start, math.ceil(phase - ratio / 2))
    stop = min(span.stop, math.floor(phase + ratio * (limit - 0.5)) + 1)
    if stop <= start:
        raise _apart()
    return Span(start, stop)


def _apart() -> InputError:
    return InputError("no MS pixel lies in the image to assess", "check that the files show the same scene")


def _ms_edges(common: Span, ratio: float, side: int) -> NDArray[np.int64]:
    """Say where windows begin and end, in MS pixels."""
    step = BLOCK * max(1, round(side / (BLOCK * ratio)))
    count = max(1, round(common.size / step))
    return np.append(common.start + step * np.arange(count), common.stop)


def _pan_edges(edges: NDArray[np.int64], span: Span, phase: float, ratio: float) -> NDArray[np.int64]:
    """Return the same edges on PAN's grid, moved to the nearest edge of a block."""
    at = phase + ratio * (edges[1:-1] - 0.5) + 0.5
    inner = span.start + BLOCK * np.rint((at - span.start) / BLOCK).astype(np.int64)
    return np.concatenate([[span.start], inner, [span.stop]])


def window_side(bands: int, halo: int, workers: int, memory: int, *, images: int = 2, planes: int = 0) -> int:
    """Return the longest side (PAN pixels) of a window that fits into the memory.

    Args:
        bands: The number of MS bands.
        halo: The PAN pixels that methods and indices look beyond a window.
        workers: The number of windows in work at once.
        memory: The bytes for the whole process.
        images: The number of images of a window that are judged together.
        planes: The number of single images of a window that the heaviest method holds at its peak.
    """
    for side in SIDES:
        pixels = (1.5 * side + 2 * halo) * (side + 2 * halo)
        held = max(_PLANES * (bands + 1), planes) + images * (bands + 1)
        if _BASE_BYTES + memory // 4 + workers * held * pixels * 4 <= memory:
            return side
    return SIDES[-1]
