"""Where MS samples lie on PAN's grid, and the operators that follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box, Span

TRUNCATION = 4.0
"""The number of standard deviations at which the MTF Gaussian ends."""

CUBIC_REACH = 2
"""The MS pixels that the cubic looks to each side."""


def mtf_sigma(ratio: float, gain: float) -> float:
    """Return the deviation (PAN pixels) of the Gaussian whose response at the MS Nyquist frequency is ``gain``."""
    return ratio * math.sqrt(-2.0 * math.log(gain)) / math.pi


@dataclass(frozen=True)
class Sampling:
    """Says how the MS bands sample the scene that PAN sees.

    Args:
        ratio: The number of PAN pixels in an MS pixel, ``(row, col)``.
        phases: Each band's centre of MS pixel (0, 0) in PAN pixels, ``(row, col)``.
        gains: Each band's MTF gain at the MS Nyquist frequency.
        pan_gain: PAN's MTF gain at its own Nyquist frequency.
        nominal: The phase that the georeference states; footprints follow it, whatever was measured.
        softness: How much softer than PAN the bands of a perfect product are: half the variance, in PAN pixels², of the
            Gaussian that makes PAN as soft; negative where they are sharper. None where nothing was measured.
    """

    ratio: tuple[float, float]
    phases: tuple[tuple[float, float], ...]
    gains: tuple[float, ...]
    pan_gain: float
    nominal: tuple[float, float]
    softness: float | None = field(default=None, kw_only=True)

    @classmethod
    def uniform(
        cls,
        ratio: tuple[float, float],
        phase: tuple[float, float],
        gains: tuple[float, ...],
        pan_gain: float = 0.15,
    ) -> Sampling:
        """Return a sampling whose bands all have one phase."""
        return cls(ratio, (phase,) * len(gains), gains, pan_gain, phase)

    def shifted(self, shifts: tuple[tuple[float, float], ...]) -> Sampling:
        """Return it with each band's phase moved by a shift, ``(row, col)`` in MS pixels."""
        phases = tuple(
            (phase[0] + self.ratio[0] * shift[0], phase[1] + self.ratio[1] * shift[1])
            for phase, shift in zip(self.phases, shifts, strict=True)
        )
        return replace(self, phases=phases)

    def pick(self, bands: Sequence[int]) -> Sampling:
        """Return the sampling of some bands only, counted from 0."""
        return replace(self, phases=tuple(self.phases[k] for k in bands), gains=tuple(self.gains[k] for k in bands))

    def within(self, ms_box: Box, pan_box: Box) -> Sampling:
        """Return the same sampling, counted from the corners of two windows."""
        moves = [self.ratio[i] * ms_box[i].start - pan_box[i].start for i in (0, 1)]
        phases = tuple((row + moves[0], col + moves[1]) for row, col in self.phases)
        return replace(self, phases=phases, nominal=(self.nominal[0] + moves[0], self.nominal[1] + moves[1]))

    @property
    def log_gain(self) -> float:
        """The mean logarithm of the bands' gains."""
        return sum(map(math.log, self.gains)) / len(self.gains)

    @property
    def expected_softness(self) -> float:
        """The softness beside PAN, in PAN pixels², of bands that have their gains at PAN's own resolution."""
        return (math.log(self.pan_gain) - self.log_gain) / math.pi**2

    @property
    def told_softness(self) -> float:
        """The softness that was measured, or else the one to be expected."""
        return self.expected_softness if self.softness is None else self.softness

    @property
    def centre(self) -> tuple[float, float]:
        """The bands' mean phase: where the MS image as a whole lies."""
        rows, cols = zip(*self.phases, strict=True)
        return sum(rows) / len(rows), sum(cols) / len(cols)

    @property
    def common(self) -> Sampling:
        """The sampling of one band that stands for all."""
        gain = sum(self.gains) / len(self.gains)
        return replace(Sampling.uniform(self.ratio, self.centre, (gain,), self.pan_gain), softness=self.softness)

    @property
    def up_reach(self) -> int:
        """The PAN pixels that upsampling looks beyond an output pixel."""
        return math.ceil(CUBIC_REACH * max(self.ratio))

    @property
    def down_reach(self) -> int:
        """The PAN pixels that the MTF looks beyond the centre of an MS pixel."""
        return math.ceil(TRUNCATION * mtf_sigma(max(self.ratio), min(*self.gains, self.pan_gain, 0.99)))

    @property
    def largest_shift(self) -> int:
        """The MS pixels by which any band departs from the nominal phase, rounded up."""
        return max(
            math.ceil(abs(phase[axis] - self.nominal[axis]) / self.ratio[axis])
            for phase in self.phases
            for axis in (0, 1)
        )

    def ms_box(self, pan_box: Box, ms_shape: tuple[int, int]) -> Box:
        """Return the MS pixels that upsampling into ``pan_box`` reads, inside an MS image of ``ms_shape``."""
        return Box(*(self._ms_span(axis, pan_box[axis], ms_shape[axis]) for axis in (0, 1)))

    def _ms_span(self, axis: int, span: Span, limit: int) -> Span:
        phases = [phase[axis] for phase in (*self.phases, self.nominal)]
        first = math.floor((span.start - max(phases)) / self.ratio[axis]) - CUBIC_REACH
        last = math.ceil((span.stop - 1 - min(phases)) / self.ratio[axis]) + CUBIC_REACH
        start = min(max(first, 0), limit - 1)
        return Span(start, max(start + 1, min(last + 1, limit)))

    def pan_box(self, ms_box: Box, reach: int, pan_shape: tuple[int, int]) -> Box:
        """Return the PAN pixels within ``reach`` of the centres of ``ms_box``, inside a PAN image of ``pan_shape``."""
        return Box(*(self._pan_span(axis, ms_box[axis], reach, pan_shape[axis]) for axis in (0, 1)))

    def _pan_span(self, axis: int, span: Span, reach: int, limit: int) -> Span:
        phases = [phase[axis] for phase in (*self.phases, self.nominal)]
        first = math.floor(min(phases) + self.ratio[axis] * span.start) - reach
        last = math.ceil(max(phases) + self.ratio[axis] * (span.stop - 1)) + reach
        start = min(max(first, 0), limit - 1)
        return Span(start, max(start + 1, min(last + 1, limit)))

    def centred(self, axis: int, span: Span, limit: int) -> Span:
        """Return the MS pixels of one axis, of ``limit``, whose centres lie in a span of PAN pixels, if any."""
        first = math.ceil((span.start - 0.5 - self.nominal[axis]) / self.ratio[axis])
        last = math.floor((span.stop - 0.5 - self.nominal[axis]) / self.ratio[axis])
        return Span(max(0, first), min(limit, last + 1))

    def nearest(self, axis: int, span: Span) -> NDArray[np.int64]:
        """Return the MS pixel in whose footprint each PAN pixel of ``span`` lies (it may be outside the image)."""
        position = (np.arange(span.start, span.stop) - self.nominal[axis]) / self.ratio[axis]
        index: NDArray[np.int64] = np.floor(position + 0.5).astype(np.int64)
        return index
