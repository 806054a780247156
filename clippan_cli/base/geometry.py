"""Pixels of a grid as values: spans of one axis, boxes of two, and all their algebra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """Pixels ``start <= i < stop`` of one axis."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.stop - self.start

    def grow(self, by: int, limit: int) -> Span:
        """Extend by ``by`` pixels to both sides, within ``0 <= i < limit``."""
        return Span(max(0, self.start - by), min(limit, self.stop + by))

    def middle(self, most: int) -> Span:
        """At most so many pixels, from the middle."""
        side = min(self.size, most)
        start = self.start + (self.size - side) // 2
        return Span(start, start + side)


class Box(NamedTuple):
    """A rectangle of pixels: its rows and its columns."""

    rows: Span
    cols: Span

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """All pixels of an image whose last two dimensions are height and width."""
        return cls(Span(0, shape[-2]), Span(0, shape[-1]))

    def middle(self, most: int) -> Box:
        """At most so many pixels a side, from the middle."""
        return Box(self.rows.middle(most), self.cols.middle(most))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.size, self.cols.size

    def grow(self, by: int, shape: tuple[int, int]) -> Box:
        """Extend by ``by`` pixels to all sides, within an image of ``shape``."""
        return Box(self.rows.grow(by, shape[0]), self.cols.grow(by, shape[1]))

    def intersection(self, other: Box) -> Box:
        """What both cover; of no or negative size where they are apart."""
        return Box(*(Span(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(self, other, strict=True)))

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Slices that cut this box out of an array that covers ``outer``."""
        return (
            slice(self.rows.start - outer.rows.start, self.rows.stop - outer.rows.start),
            slice(self.cols.start - outer.cols.start, self.cols.stop - outer.cols.start),
        )
