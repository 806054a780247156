"""The optics of a scene, measured from its pixels and combined with what is stated of them.

What a pair shows is how soft its bands are beside PAN: the gain at which PAN, degraded, explains them best. That is the
gain of the bands' optics, if the bands of a perfect product were as sharp as PAN. They are so nearly only, and what is
stated is nearly true only: each counts by its error (after the semiblind estimates of Vivone et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from clippan_cli.physics.details import Details
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.sampling import Sampling

STATED_ERROR = 0.25
"""The standard error of the logarithm of a stated gain."""

SOFTNESS_ERROR = 0.2
"""How far the softness of bands beside PAN departs from what is expected, in PAN pixels²."""

_FALLS = np.linspace(0.2, 3.9, 13)
_FINE = np.linspace(_FALLS[0], _FALLS[-1], 741)
_MIDDLE = 0.3
_STEP = 0.25
_EDGE = 5
_LEAST_PIXELS = 100
_ALIKE = 30
_FLOOR, _UNLIKE = 0.04, 0.3
_BAND_SPREAD, _BAND_FLOOR, _BAND_UNLIKE = 0.1, 0.05, 0.6

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Optics:
    """Holds what the pixels of a pair show of its optics.

    Args:
        gain: The gain at which degraded PAN explains all bands together best.
        error: The standard error of the logarithm of ``gain``, for bands as sharp as PAN.
        bands: The same gain for each band, drawn to that of all by how little PAN explains it.
        shift: The shift (row, col) by which MS would still have to move, in MS pixels.
        unexplained: The share of PAN's detail that no combination of the bands explains.
        pixels: The number of MS pixels that were compared.
    """

    gain: float
    error: float
    bands: tuple[float, ...]
    shift: tuple[float, float]
    unexplained: float
    pixels: int


def measure_optics(samples: Sequence[Window], sampling: Sampling, workers: int = 1) -> Optics | None:
    """Measure the MTF gain at which PAN, degraded, explains the bands best; None where too few pixels tell.

    Args:
        samples: Windows spread over the scene.
        sampling: The place of MS on PAN, registration included; its gains play no part.
        workers: The number of windows worked on at once.
    """
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(lambda sample: _products(sample, sampling), samples))
    pixels = sum(count for _, count in parts)
    if pixels < _LEAST_PIXELS:
        return None
    table = sum((product for product, _ in parts), np.zeros_like(parts[0][0]))
    bands = len(sampling.gains)
    ms, slopes = list(range(bands)), [bands + len(_FALLS), bands + len(_FALLS) + 1]
    pan = range(bands, bands + len(_FALLS))
    if not (table.diagonal() > 0).all():
        return None
    fall, spread, left = _best([_unexplained(table, k, [*ms, *slopes]) for k in pan], pixels)
    error = math.sqrt(spread**2 + _FLOOR**2 + _UNLIKE**2 * left / (1 - left))
    alone = [_best([_unexplained(table, band, [k, *slopes]) for k in pan], pixels) for band in ms]
    nearest = bands + int(np.abs(_FALLS - fall).argmin())
    row, col = _regress(table, nearest, [*ms, *slopes])[-2:]
    return Optics(
        gain=math.exp(-fall),
        error=error,
        bands=tuple(math.exp(-fall - change) for change in _changes(alone)),
        shift=(-float(row), -float(col)),
        unexplained=left,
        pixels=pixels,
    )


def believe(sampling: Sampling, seen: Optics | None) -> Sampling:
    """Combine what is stated with what was measured, each with the weight that its error leaves it.

    A gain that was measured is that of optics and softness together. What the pixels contradict is believed less.

    Returns:
        The sampling, with the gains of the optics and the softness of a perfect product beside PAN.
    """
    expected = expected_softness(sampling)
    if seen is None:
        return replace(sampling, softness=expected)
    area = sampling.ratio[0] * sampling.ratio[1]
    stated = sum(map(math.log, sampling.gains)) / len(sampling.gains)
    gain = combine(stated, math.log(seen.gain), seen.error, expected, area)
    softness = (gain - math.log(seen.gain)) * area / math.pi**2
    gains = tuple(math.exp(gain) * band / seen.gain for band in seen.bands)
    return replace(sampling, gains=tuple(min(max(g, 0.02), 0.9) for g in gains), softness=softness)


def believe_pixels(sampling: Sampling, seen: Optics | None) -> Sampling:
    """Return a sampling whose gains are those that the pixels show, as if bands and PAN were one sharpness."""
    return sampling if seen is None else replace(sampling, gains=seen.bands)


def combine(stated: float, seen: float, error: float, expected: float, area: float) -> float:
    """Return the logarithm of the gain of the optics.

    Args:
        stated: The logarithm of the stated gain.
        seen: The logarithm of the gain that was measured.
        error: Its standard error.
        expected: The expected softness of bands beside PAN, in PAN pixels².
        area: The number of PAN pixels in an MS pixel.
    """
    unit = math.pi**2 / area
    free = seen + expected * unit
    own = error**2 + (SOFTNESS_ERROR * unit) ** 2
    other = STATED_ERROR**2 + (0.5 * (stated - free)) ** 2
    return (free / own + stated / other) / (1 / own + 1 / other)


def expected_softness(sampling: Sampling) -> float:
    """Return how much softer than PAN bands are if each has its stated gain at its own resolution, in PAN pixels²."""
    gains = sum(map(math.log, sampling.gains)) / len(sampling.gains)
    return (math.log(sampling.pan_gain) - gains) / math.pi**2


def _products(sample: Window, sampling: Sampling) -> tuple[_Array, int]:
    """Return the sums of products of the details of all bands, of PAN at each gain, and of PAN's slopes."""
    details = Details(sample, sampling, _EDGE)
    pan = details.pan(tuple(np.exp(-_FALLS).tolist()))
    steps = ((_STEP, 0.0), (-_STEP, 0.0), (0.0, _STEP), (0.0, -_STEP))
    down, up, right, left = (details.pan((_MIDDLE,), step) for step in steps)
    known = details.chosen(torch.cat([details.ms, pan, (down - up) / (2 * _STEP), (right - left) / (2 * _STEP)]))
    return (known @ known.T).numpy(), details.pixels


def _regress(table: _Array, target: int, known: list[int]) -> _Array:
    gram = table[np.ix_(known, known)]
    found: _Array = np.linalg.solve(gram + 1e-9 * np.diag(gram.diagonal()), table[known, target])
    return found


def _unexplained(table: _Array, target: int, known: list[int]) -> float:
    """Return the share of a feature that others leave unexplained."""
    share = 1 - float(_regress(table, target, known) @ table[known, target]) / float(table[target, target])
    return min(max(share, 1e-6), 1.0)


def _best(unexplained: list[float], pixels: int) -> tuple[float, float, float]:
    """Return the fall of the gain that leaves least unexplained, its standard error, and what it leaves.

    It is the mean over all falls, each weighed by its likelihood: neighbouring pixels tell the same.
    """
    curve = CubicSpline(_FALLS, np.log(unexplained))(_FINE)
    weight = np.exp(-0.5 * pixels / _ALIKE * (curve - curve.min()))
    weight /= weight.sum()
    fall = float(weight @ _FINE)
    return fall, math.sqrt(float(weight @ (_FINE - fall) ** 2)), min(math.exp(float(weight @ curve)), 0.99)


def _changes(alone: list[tuple[float, float, float]]) -> list[float]:
    """Return how far the fall of each band departs from that of all, as far as its own error lets believe."""
    falls = np.array([fall for fall, _, _ in alone])
    error = np.array([spread**2 + _BAND_FLOOR**2 + _BAND_UNLIKE**2 * left / (1 - left) for _, spread, left in alone])
    middle = float(np.average(falls, weights=1 / error))
    return [float(change) for change in (falls - middle) * _BAND_SPREAD**2 / (_BAND_SPREAD**2 + error)]
