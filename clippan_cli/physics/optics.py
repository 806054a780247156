"""The optics of a scene, measured from its pixels and combined with what is stated of them.

What a pair shows is how soft its bands are beside PAN: the gain at which PAN, degraded, explains them best. That is the
gain of the bands' optics, if the bands of a perfect product were as sharp as PAN. They are so nearly only, and what is
stated is nearly true only: each counts by its error (after the semiblind estimates of Vivone et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from clippan_cli.physics.details import Details
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.sampling import Sampling

STATED_ERROR = 0.25
"""The standard error of the logarithm of a stated gain."""

BAND_ERROR = 0.1
"""The standard error of the logarithm of how far a band's stated gain departs from that of all."""

SOFTNESS_ERROR = 0.1
"""How far the softness of bands beside PAN departs from what is expected, as the logarithm of a gain."""

_FALLS = np.linspace(0.2, 3.9, 11)
_FINE = np.linspace(_FALLS[0], _FALLS[-1], 741)
_GRID = tuple(np.exp(-_FALLS).tolist())
_MIDDLE = (0.3,)
_EDGE = 5
_LEAST_PIXELS = 100
_ALIKE = 30
_MODEL = 2e-3
_FLOOR, _UNLIKE = 0.04, 0.3
_BAND_FLOOR, _BAND_UNLIKE = 0.05, 0.6
_GAINS = (0.02, 0.9)

_Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Optics:
    """Holds what the pixels of a pair show of its optics.

    Args:
        gain: The gain at which degraded PAN explains all bands together best.
        error: The standard error of the logarithm of ``gain``, for bands as sharp as PAN.
        bands: The gain at which it explains each band alone best.
        band_errors: The standard errors of their logarithms, which grow with what PAN does not explain of a band.
        shift: The shift (row, col) by which MS would still have to move, in MS pixels.
        unexplained: The share of PAN's detail that no combination of the bands explains.
        pixels: The number of MS pixels that were compared.
    """

    gain: float
    error: float
    bands: tuple[float, ...]
    band_errors: tuple[float, ...]
    shift: tuple[float, float]
    unexplained: float
    pixels: int

    def total_error(self, sampling: Sampling) -> float:
        """Return the standard error of the logarithm of ``gain``, for bands that may be softer or sharper than PAN."""
        return math.hypot(self.error, SOFTNESS_ERROR)

    def contradicts(self, sampling: Sampling) -> bool:
        """Tell whether what is stated is off by more than twice what both errors explain."""
        apart = expect_gain(math.log(self.gain), sampling) - sampling.log_gain
        return abs(apart) > 2 * math.hypot(self.total_error(sampling), STATED_ERROR)

    def describe(self, sampling: Sampling) -> str:
        """Return the gain and its error in words."""
        return f"{self.gain:.2f} ± {self.gain * self.total_error(sampling):.2f}"


def measure_optics(samples: Sequence[Window], sampling: Sampling, workers: int = 1) -> Optics | None:
    """Measure the MTF gain at which PAN, degraded, explains the bands best; None where too few pixels tell.

    Args:
        samples: Windows spread over the scene.
        sampling: The place of MS on PAN, registration included; its gains play no part.
        workers: The number of windows worked on at once.
    """
    parts = [Details(sample, sampling, _EDGE) for sample in samples]
    pixels, bands = sum(part.pixels for part in parts), len(sampling.gains)
    if pixels < _LEAST_PIXELS:
        return None

    def sums(planes: Callable[[Details], Tensor]) -> _Array:
        with ThreadPoolExecutor(workers) as pool:
            products = list(pool.map(lambda part: _products(part, planes(part)), parts))
        return sum(products[1:], products[0])

    ms, slopes = list(range(bands)), [bands + 1, bands + 2]
    table = sums(lambda part: part.pan_slopes(_MIDDLE))
    if not (table.diagonal() > 0).all():
        return None
    table = _with_mixture(table, ms, [bands], slopes, pixels)
    _, row, col = _regress(table, len(table) - 1, [bands, *slopes])
    shift = _rounded(row), _rounded(col)
    pan = list(range(bands, bands + len(_FALLS)))
    table = _with_mixture(sums(lambda part: part.pan(_GRID, shift)), ms, pan, [], pixels)
    fall, spread, left = _best([_unexplained(table, len(table) - 1, [k]) for k in pan], pixels)
    alone = [_best([_unexplained(table, band, [k]) for k in pan], pixels) for band in ms]
    apart = [spread**2 + _BAND_FLOOR**2 + _BAND_UNLIKE**2 * left / (1 - left) for _, spread, left in alone]
    return Optics(
        gain=_rounded(math.exp(-fall)),
        error=_rounded(math.sqrt(spread**2 + _FLOOR**2 + _UNLIKE**2 * left / (1 - left))),
        bands=tuple(_rounded(math.exp(-fall)) for fall, _, _ in alone),
        band_errors=tuple(_rounded(math.sqrt(square)) for square in apart),
        shift=shift,
        unexplained=_rounded(left),
        pixels=pixels,
    )


def believe(sampling: Sampling, seen: Optics | None) -> Sampling:
    """Combine what is stated with what was measured, each with the weight that its error leaves it.

    A gain that was measured is that of optics and softness together. What the pixels contradict is believed less.

    Returns:
        The sampling, with the gains of the optics and the softness of a perfect product beside PAN.
    """
    if seen is None:
        return sampling
    shown = math.log(seen.gain)
    gain = combine(sampling.log_gain, expect_gain(shown, sampling), seen.error)
    softness = (gain - shown) / softness_unit(sampling.ratio)
    gains = np.exp(gain + _band_changes(sampling, seen)).clip(*_GAINS)
    return replace(sampling, gains=tuple(gains.tolist()), softness=softness)


def expect_gain(shown: float, sampling: Sampling) -> float:
    """Return the logarithm of the gain that was measured, less what the expected softness of the bands is in it."""
    return shown + sampling.expected_softness * softness_unit(sampling.ratio)


def combine(stated: float, seen: float, error: float) -> float:
    """Return the logarithm of the gain of the optics.

    Args:
        stated: The logarithm of the stated gain.
        seen: That of the measured gain, as of :func:`expect_gain`.
        error: The standard error of the measured one.
    """
    own = error**2 + SOFTNESS_ERROR**2
    other = STATED_ERROR**2 + (0.5 * (stated - seen)) ** 2
    return (seen / own + stated / other) / (1 / own + 1 / other)


def softness_unit(ratio: tuple[float, float]) -> float:
    """Return by how much the logarithm of the gain at MS's Nyquist frequency falls with each PAN pixel² of softness."""
    return math.pi**2 / (ratio[0] * ratio[1])


def _rounded(value: float) -> float:
    """Round to what can be told apart: sums of threads differ in the last digit, and a resumed run must not."""
    return round(float(value), 4)


def _products(details: Details, planes: Tensor) -> _Array:
    """Return the sums of products of the details of all bands and of other planes."""
    known = details.chosen(torch.cat([details.ms, planes]))
    result: _Array = (known @ known.T).numpy()
    return result


def _with_mixture(table: _Array, ms: list[int], pan: list[int], slopes: list[int], pixels: int) -> _Array:
    """Add one feature: the mixture of bands that comes closest to PAN.

    The noise of bands would draw PAN, regressed on them, to softer optics; a mixture, regressed on PAN, it does not.
    """
    known = [*ms, *slopes]
    weight = _likelihood(np.array([_unexplained(table, k, known) for k in pan]), pixels)
    mixture = np.zeros(len(table))
    mixture[ms] = weight @ [_regress(table, k, known)[: len(ms)] for k in pan]
    grown = np.vstack([np.eye(len(table)), mixture])
    result: _Array = grown @ table @ grown.T
    return result


def _likelihood(unexplained: _Array, pixels: int) -> _Array:
    """Return how likely each gain is, by what it leaves unexplained."""
    # Neighbouring pixels tell the same, and no lens is quite a Gaussian.
    worse = np.log((unexplained + _MODEL) / (unexplained.min() + _MODEL))
    weight: _Array = np.exp(-0.5 * pixels / _ALIKE * worse)
    weight /= weight.sum()
    return weight


def _regress(table: _Array, target: int, known: list[int]) -> _Array:
    gram = table[np.ix_(known, known)]
    found: _Array = np.linalg.solve(gram + 1e-9 * np.diag(gram.diagonal()), table[known, target])
    return found


def _unexplained(table: _Array, target: int, known: list[int]) -> float:
    """Return the share of a feature that others leave unexplained."""
    share = 1 - float(_regress(table, target, known) @ table[known, target]) / float(table[target, target])
    return min(max(share, 0.0), 1.0)


def _best(unexplained: list[float], pixels: int) -> tuple[float, float, float]:
    """Return the fall of the gain that leaves least unexplained, its standard error, and what it leaves.

    It is the mean over all falls, each weighed by its likelihood.
    """
    curve = CubicSpline(_FALLS, unexplained)(_FINE).clip(min=0)
    weight = _likelihood(curve, pixels)
    fall = float(weight @ _FINE)
    return fall, math.sqrt(float(weight @ (_FINE - fall) ** 2)), min(float(weight @ curve), 0.99)


def _band_changes(sampling: Sampling, seen: Optics) -> _Array:
    """Return how far the logarithm of each band's gain departs from that of all, as stated and as measured: ``(C,)``.

    What is measured of one band alone misleads where its ground is not PAN's: it counts by its error.
    """
    stated, error = np.log(sampling.gains), np.square(seen.band_errors)
    measured = np.log(seen.bands)
    measured = measured - np.average(measured, weights=1 / error)
    changes: _Array = stated - stated.mean()
    changes = changes + (measured - changes) * BAND_ERROR**2 / (BAND_ERROR**2 + error)
    changes -= changes.mean()
    return changes
