"""All that must be known of a scene before its statistics: samples, scale, saturation, registration, optics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.values import Register
from clippan_cli.errors import InputError
from clippan_cli.opening.window import read_window
from clippan_cli.physics.optics import Optics, believe, measure_optics
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.registration import SEARCH, Registration, Shift, measure_shift
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.raster import Raster

SAMPLE_SIDE = 128
"""The MS pixels along a sample."""

SMALLEST_SHIFT = 0.05
"""The MS pixels below which a measured shift is taken for noise."""

_BAND_CORRELATION = 0.65
_FARTHEST_BAND = 0.75
_EVERYWHERE = 1 << 30
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Holds what the samples of a scene tell.

    Args:
        samples: Windows spread over the scene, in scene units.
        scale: The DN of one scene unit, a power of two.
        saturation: The values of MS and PAN in scene units at which pixels are saturated; infinite where none are.
        measured: The residual shift; None where it was not measured.
        optics: The optics that the pixels show; None where they were not measured.
        stated: The place of the MS bands once the shift is corrected, and the optics that are stated.
        sampling: The same with the optics that are believed.
        notes: The words that say what shift was measured, and what was done.
    """

    samples: tuple[Window, ...]
    scale: float
    saturation: tuple[float, float]
    measured: Registration | None
    optics: Optics | None
    stated: Sampling
    sampling: Sampling
    notes: tuple[str, ...]

    @property
    def optics_note(self) -> str:
        """The words that say which MTF gains are stated, were measured and are used."""
        told, used = (sum(each.gains) / len(each.gains) for each in (self.stated, self.sampling))
        if self.optics is None:
            return f"MTF gain {told:.2f} as stated"
        return f"MTF gain {self.optics.describe(self.stated)} measured, {told:.2f} stated; {used:.2f} is used"


def survey(pair: Pair, register: Register, workers: int, *, blind: bool = True) -> Survey:
    """Read a few windows; find the scale, the residual shift and the optics.

    Args:
        pair: The scene.
        register: ``"auto"``, ``"off"``, or a shift (row, col) in MS pixels.
        workers: The number of threads.
        blind: Whether to measure the optics, and not to believe the stated ones alone.

    Raises:
        InputError: There is no valid pixel.
    """
    gaps = any(raster.nodata is not None or raster.declares_mask or raster.collar for raster in (pair.ms, pair.pan))
    raw = list(_samples(pair, 5 if gaps else 3)) or list(islice(_samples(pair, _EVERYWHERE), 9))
    if not raw:
        raise InputError(
            "no pixel is valid in both MS and PAN", "check the nodata values (`src_nodata`) and that the files overlap"
        )
    top = max(float(max(window.ms.values.abs().max(), window.pan.values.abs().max())) for window in raw)
    scale = 2.0 ** math.ceil(math.log2(top)) if top > 0 else 1.0
    saturation = tuple(
        _saturation(raster, [part.values for part in parts]) / scale
        for raster, parts in ((pair.ms, [window.ms for window in raw]), (pair.pan, [window.pan for window in raw]))
    )
    samples = tuple(window.divided(scale) for window in raw)
    measured = measure_shift(samples, pair.sampling, workers) if register != "off" else None
    shifts, notes = _decide(measured, register, pair)
    stated = pair.sampling.shifted(shifts)
    optics = measure_optics(samples, stated, workers) if blind else None
    believed = believe(stated, optics)
    return Survey(
        samples=samples,
        scale=scale,
        saturation=(saturation[0], saturation[1]),
        measured=measured,
        optics=optics,
        stated=stated,
        sampling=believed,
        notes=tuple(notes),
    )


def _decide(
    measured: Registration | None, register: Register, pair: Pair
) -> tuple[tuple[tuple[float, float], ...], list[str]]:
    """Choose the shift of each band, and say why."""
    bands = pair.ms.count
    none = ((0.0, 0.0),) * bands
    if isinstance(register, tuple):
        return (register,) * bands, [f"shift given: {register[0]:+.2f}, {register[1]:+.2f} MS px (row, col)"]
    if measured is None:
        return none, ["registration is off"]
    whole = measured.whole and _rounded(measured.whole)
    if whole is None:
        return none, ["no shift could be measured (too little common detail); the georeference is trusted"]
    text = f"measured shift {whole.row:+.2f}, {whole.col:+.2f} MS px (row, col), correlation {whole.correlation:.2f}"
    if not math.isnan(whole.spread):
        text += f", spread {whole.spread:.2f} over {whole.windows} windows"
    shifts = tuple(_trusted(band, whole) for band in measured.bands)
    uncertain = whole.spread > max(0.25, whole.size)
    if whole.size < max(SMALLEST_SHIFT, 2 * whole.error) or uncertain:
        whole = Shift(0.0, 0.0, whole.spread, whole.correlation, whole.windows)
        shifts = tuple(_trusted(band, whole) for band in measured.bands)
    if all(shift == (0.0, 0.0) for shift in shifts) or uncertain:
        return none, [text + ("; the windows disagree, not corrected" if uncertain else "; nothing to correct")]
    notes = [text + "; corrected by moving the phase of MS"]
    farthest = max(math.hypot(s[0] - whole.row, s[1] - whole.col) for s in shifts)
    if farthest > 0.1:
        notes.append(f"bands differ by up to {farthest:.2f} MS px; each is placed by itself")
    return shifts, notes


def _rounded(shift: Shift) -> Shift:
    """Round to what can be told apart: sums of threads differ in the last digit, and a resumed run must not."""
    return replace(shift, row=round(shift.row, _DIGITS), col=round(shift.col, _DIGITS))


def _trusted(band: Shift | None, whole: Shift) -> tuple[float, float]:
    """Return a band's own shift where it follows PAN well, else that of the whole image."""
    if band is None or band.correlation < _BAND_CORRELATION:
        return whole.row, whole.col
    apart = math.hypot(band.row - whole.row, band.col - whole.col)
    if not max(SMALLEST_SHIFT, 2 * band.error) <= apart <= _FARTHEST_BAND:
        return whole.row, whole.col
    return round(band.row, _DIGITS), round(band.col, _DIGITS)


def _samples(pair: Pair, most: int) -> Iterator[Window]:
    """Read windows with valid pixels on a regular grid over the common ground, at most so many along a side."""
    common = common_box(pair)
    reach = pair.sampling.down_reach + math.ceil((SEARCH + 1) * max(pair.sampling.ratio))
    for rows in _spread(common.rows, most):
        for cols in _spread(common.cols, most):
            ms_box = Box(rows, cols)
            pan_box = pair.sampling.pan_box(ms_box, reach, pair.pan.grid.shape)
            window = read_window(pair, ms_box, pan_box)
            if window.ms.valid.anywhere and window.pan.valid.anywhere:
                yield window


def _spread(span: Span, most: int) -> list[Span]:
    side = min(SAMPLE_SIDE, span.size)
    count = min(most, -(-span.size // side))
    starts = np.linspace(span.start, span.stop - side, count).round().astype(int)
    return [Span(int(start), int(start) + side) for start in starts]


def common_box(pair: Pair) -> Box:
    """Return the MS pixels whose centres lie on PAN."""
    spans = []
    for axis, (size, whole) in enumerate(zip(pair.ms.grid.shape, pair.pan.grid.box, strict=True)):
        span = pair.sampling.centred(axis, whole, size)
        start = min(span.start, size - 1)
        spans.append(Span(start, max(start + 1, span.stop)))
    return Box(*spans)


def _saturation(raster: Raster, windows: Sequence[Tensor]) -> float:
    """Return the top value, if so many pixels hold just that that it must be a ceiling; else infinity."""
    if not raster.integer:
        return math.inf
    values = torch.cat([window.flatten() for window in windows])
    top = float(values.max())
    at_top, below = float((values == top).double().mean()), float((values == top - 1).double().mean())
    full = math.log2(top + 1).is_integer() if top > 0 else False
    return top if full and at_top > max(1e-4, 3 * below) else math.inf
