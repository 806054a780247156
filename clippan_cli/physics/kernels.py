"""The matrices of upsampling and MTF degradation along one axis, at any ratio and phase."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clippan_cli.base.geometry import Span
from clippan_cli.physics.banded import Banded
from clippan_cli.physics.sampling import TRUNCATION, mtf_sigma


def upsampling(ratio: float, phase: float, pan: Span, ms: Span, **kind: Any) -> Banded:
    """Return the cubic (Keys, a = -1/2) interpolation from MS pixels to PAN pixels, edges replicated."""
    return _matrix(_cubic_entries(ratio, phase, pan, ms), (pan.size, ms.size), **kind)


def upsampling_adjoint(ratio: float, phase: float, pan: Span, ms: Span, **kind: Any) -> Banded:
    """Return the transpose of :func:`upsampling`."""
    rows, cols, values = _cubic_entries(ratio, phase, pan, ms)
    return _matrix((cols, rows, values), (ms.size, pan.size), **kind)


def degradation(ratio: float, phase: float, gain: float, pan: Span, ms: Span, **kind: Any) -> Banded:
    """Return the sensor's MTF sampled at the centres of the MS pixels, normalised over the pixels at hand.

    An MS pixel that lies beyond the span sees its nearest end.
    """
    sigma = mtf_sigma(ratio, gain)
    reach = TRUNCATION * sigma
    centre = np.clip(phase + ratio * np.arange(ms.start, ms.stop), pan.start - ratio, pan.stop - 1 + ratio)
    cols = np.ceil(centre - reach).astype(np.int64)[:, None] + np.arange(int(2 * reach) + 2)
    offset = cols - centre[:, None]
    values = np.exp(-0.5 * (offset / sigma) ** 2)
    values[(np.abs(offset) > reach) | (cols < pan.start) | (cols >= pan.stop)] = 0
    total = values.sum(1, keepdims=True)
    values = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    rows = np.broadcast_to(np.arange(ms.size)[:, None], cols.shape)
    kept = values > 0
    return _matrix((rows[kept], cols[kept] - pan.start, values[kept]), (ms.size, pan.size), **kind)


def _cubic_entries(
    ratio: float, phase: float, pan: Span, ms: Span
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    position = (np.arange(pan.start, pan.stop) - phase) / ratio
    cols = np.floor(position).astype(np.int64)[:, None] + np.arange(-1, 3)
    distance = np.abs(position[:, None] - cols)
    values = np.where(
        distance <= 1,
        (1.5 * distance - 2.5) * distance**2 + 1,
        ((2.5 - 0.5 * distance) * distance - 4) * distance + 2,
    )
    rows = np.broadcast_to(np.arange(pan.size)[:, None], cols.shape)
    return rows.ravel(), np.clip(cols, ms.start, ms.stop - 1).ravel() - ms.start, values.ravel()


def _matrix(
    entries: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], shape: tuple[int, int], **kind: Any
) -> Banded:
    return Banded.from_entries(shape, *entries, **kind)
