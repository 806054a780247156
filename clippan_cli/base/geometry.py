"""Pixels of a grid as values: spans of one axis, boxes of two, and all their algebra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar


class Planes(Protocol):
    """An array whose last two dimensions are rows and columns; NumPy's and torch's both are."""

    @property
    def shape(self) -> Any:
        """The size of each dimension."""

    def __getitem__(self, index: Any, /) -> Any:
        """Return the pixels that the index picks."""


_Planes = TypeVar("_Planes", bound=Planes)


class Span(NamedTuple):
    """Pixels ``start <= i < stop`` of one axis."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of pixels."""
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """The slice that picks these pixels from an axis that begins at 0."""
        return slice(self.start, self.stop)

    def moved(self, by: int) -> Span:
        """Return the span ``by`` pixels further."""
        return Span(self.start + by, self.stop + by)

    def grown(self, by: int) -> Span:
        """Return the span with ``by`` more pixels on both sides; with a negative number it shrinks."""
        return Span(self.start - by, self.stop + by)

    def grow(self, by: int, limit: int) -> Span:
        """Return the span with ``by`` more pixels on both sides, within ``0 <= i < limit``."""
        return self.grown(by).intersection(Span(0, limit))

    def middle(self, most: int) -> Span:
        """Return at most so many pixels, from the middle."""
        side = min(self.size, most)
        start = self.start + (self.size - side) // 2
        return Span(start, start + side)

    def intersection(self, other: Span) -> Span:
        """Return what both cover; its size is 0 or negative where they are apart."""
        return Span(max(self.start, other.start), min(self.stop, other.stop))

    def hull(self, other: Span) -> Span:
        """Return the shortest span that covers both."""
        return Span(min(self.start, other.start), max(self.stop, other.stop))

    def pieces(self, step: int) -> list[Span]:
        """Cut the span into pieces of ``step`` pixels; the last one takes what is left."""
        return [Span(start, min(self.stop, start + step)) for start in range(self.start, self.stop, step)]


class Box(NamedTuple):
    """A rectangle of pixels: its rows and its columns."""

    rows: Span
    cols: Span

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """Return all pixels of an image whose last two dimensions are height and width."""
        return cls(Span(0, shape[-2]), Span(0, shape[-1]))

    @classmethod
    def at(cls, corner: Sequence[int], shape: Sequence[int]) -> Box:
        """Return the box of a height and width whose first pixel is ``corner`` (row, column)."""
        return cls(*(Span(start, start + size) for start, size in zip(corner, shape, strict=True)))

    @property
    def shape(self) -> tuple[int, int]:
        """The height and the width."""
        return self.rows.size, self.cols.size

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.rows.size * self.cols.size

    @property
    def corner(self) -> tuple[int, int]:
        """The row and the column of the first pixel."""
        return self.rows.start, self.cols.start

    @property
    def empty(self) -> bool:
        """Whether there is no pixel in it."""
        return min(self.shape) <= 0

    def moved(self, rows: int, cols: int) -> Box:
        """Return the box so many rows and columns further."""
        return Box(self.rows.moved(rows), self.cols.moved(cols))

    def relative_to(self, outer: Box) -> Box:
        """Return the same pixels, counted from the first pixel of ``outer``."""
        return self.moved(-outer.rows.start, -outer.cols.start)

    def grown(self, by: int) -> Box:
        """Return the box with ``by`` more pixels on all sides; with a negative number it shrinks."""
        return Box(self.rows.grown(by), self.cols.grown(by))

    def grow(self, by: int, shape: Sequence[int]) -> Box:
        """Return the box with ``by`` more pixels on all sides, within an image of ``shape``."""
        return Box(self.rows.grow(by, shape[0]), self.cols.grow(by, shape[1]))

    def middle(self, most: int) -> Box:
        """Return at most so many pixels a side, from the middle."""
        return Box(self.rows.middle(most), self.cols.middle(most))

    def intersection(self, other: Box) -> Box:
        """Return what both cover; a side is 0 or negative where they are apart."""
        return Box(self.rows.intersection(other.rows), self.cols.intersection(other.cols))

    def hull(self, other: Box) -> Box:
        """Return the smallest box that covers both."""
        return Box(self.rows.hull(other.rows), self.cols.hull(other.cols))

    def meets(self, other: Box) -> bool:
        """Return whether both share a pixel."""
        return not self.intersection(other).empty

    def inside(self, other: Box) -> bool:
        """Return whether ``other`` covers all of it."""
        return self.intersection(other) == self

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Return the slices that cut this box out of an array that covers ``outer``."""
        inner = self.relative_to(outer)
        return inner.rows.slice, inner.cols.slice

    def cut(self, planes: _Planes, outer: Box) -> _Planes:
        """Cut this box out of an array whose last two dimensions cover ``outer``; NumPy and torch give a view."""
        found: _Planes = planes[(..., *self.within(outer))]
        return found

    def pieces(self, rows: int, cols: int) -> Iterator[Box]:
        """Cut the box into pieces of so many rows and columns, row by row; the last ones take what is left."""
        return (Box(r, c) for r in self.rows.pieces(rows) for c in self.cols.pieces(cols))


def trim(planes: _Planes, by: int) -> _Planes:
    """Cut ``by`` pixels off all sides of an array's last two dimensions; NumPy and torch give a view."""
    whole = Box.whole(planes.shape)
    return whole.grown(-by).cut(planes, whole)
