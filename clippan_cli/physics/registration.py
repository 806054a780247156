"""The residual shift between MS and PAN, measured below a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clippan_cli.physics.details import Details
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.sampling import Sampling

SEARCH = 4
"""The MS pixels that are searched to each side."""

_ITERATIONS = 6
_LEAST_CORRELATION = 0.3
_LEAST_PIXELS = 400
_FARTHEST_BAND = 0.75


@dataclass(frozen=True)
class Shift:
    """Holds a measured shift.

    Args:
        row: The rows by which the MS content must move to match PAN, in MS pixels.
        col: The columns by which it must move, in MS pixels.
        spread: The robust standard deviation over the windows, in MS pixels (NaN with one window).
        correlation: The correlation of the details of MS and PAN once aligned.
        windows: The number of windows that voted.
    """

    row: float
    col: float
    spread: float
    correlation: float
    windows: int

    @property
    def size(self) -> float:
        """The length in MS pixels."""
        return float((self.row**2 + self.col**2) ** 0.5)

    @property
    def error(self) -> float:
        """The standard error of the median in MS pixels; 0 with one window, which cannot tell."""
        return 0.0 if math.isnan(self.spread) else 1.25 * self.spread / math.sqrt(self.windows)


@dataclass(frozen=True)
class Registration:
    """Holds the shift of MS as a whole, and of each of its bands; None where nothing could be measured."""

    whole: Shift | None
    bands: tuple[Shift | None, ...]


def measure_shift(samples: Sequence[Window], sampling: Sampling, workers: int = 1) -> Registration:
    """Measure how far the MS content lies from where the georeference puts it.

    Cross-correlation of details finds it coarsely; Gauss-Newton steps on the phase of PAN's degradation refine it, so
    that neither image is resampled.

    Args:
        samples: Windows spread over the scene.
        sampling: The sampling as the georeference states it.
        workers: The number of windows worked on at once.
    """
    windows = [
        window for window in (_Registering(sample, sampling) for sample in samples) if window.pixels >= _LEAST_PIXELS
    ]
    with ThreadPoolExecutor(workers) as pool:
        found = [shifts for shifts in pool.map(_Registering.shifts, windows) if shifts is not None]
    bands = len(sampling.gains)
    single = [[shifts[1 + band] for shifts in found] for band in range(bands)]
    return Registration(
        _vote([shifts[0] for shifts in found]), tuple(_vote([vote for vote in votes if vote]) for votes in single)
    )


_Vote = tuple[float, float, float]


class _Registering:
    """Measures the shift of one sample."""

    def __init__(self, sample: Window, sampling: Sampling) -> None:
        self._details = Details(sample, sampling, SEARCH + 1)
        self._gain = (sum(sampling.gains) / len(sampling.gains),)
        self._chosen = self._details.chosen(self._details.ms)

    @property
    def pixels(self) -> int:
        """The number of MS pixels that count."""
        return self._details.pixels

    def _coarse(self) -> tuple[float, float]:
        """Find the shift in whole MS pixels, by the summed squared cross-correlation of all bands."""
        pan = self._details.pan(self._gain)[0] * self._details.mask
        details = self._details.ms * self._details.mask
        spectrum = torch.fft.rfft2(details) * torch.fft.rfft2(pan).conj()
        norm = details.flatten(1).norm(dim=1) * pan.norm()
        correlation = torch.fft.irfft2(spectrum, s=pan.shape) / norm.clamp(min=1e-12)[:, None, None]
        score = (correlation**2).sum(0).roll((SEARCH, SEARCH), (0, 1))[: 2 * SEARCH + 1, : 2 * SEARCH + 1]
        best = int(score.argmax())
        return float(SEARCH - best // score.shape[1]), float(SEARCH - best % score.shape[1])

    def shifts(self) -> list[_Vote] | None:
        """Return row, column (MS pixels) and correlation of the image as a whole, then of each band.

        It is None where the whole does not settle; a band that does not follow PAN has a correlation of 0.
        """
        row, col = self._coarse()
        for _ in range(_ITERATIONS):
            linear = self._linearise(row, col)
            step, correlation = linear.solve(self._chosen)
            row, col = row + max(-1.0, min(1.0, step[0])), col + max(-1.0, min(1.0, step[1]))
            if max(map(abs, step)) < 0.01:
                break
        if max(map(abs, step)) > 0.1 or max(abs(row), abs(col)) > SEARCH + 1 or correlation < _LEAST_CORRELATION:
            return None
        linear = self._linearise(row, col)
        votes = [(row, col, correlation)]
        for band in self._chosen:
            step, match = linear.follow(band)
            close = max(map(abs, step)) <= _FARTHEST_BAND
            votes.append((row + step[0], col + step[1], match if close else 0.0))
        return votes

    def _linearise(self, row: float, col: float) -> _Linearised:
        """Return PAN's details around a shift: themselves and their slopes."""
        planes = self._details.pan_slopes(self._gain, (row, col))
        return _Linearised(*self._details.chosen(planes))


class _Linearised(NamedTuple):
    """Holds PAN's details at a shift, and their slopes along rows and columns, on the pixels that count."""

    pan: Tensor
    slope_row: Tensor
    slope_col: Tensor

    def solve(self, details: Tensor) -> tuple[tuple[float, float], float]:
        """Take one Gauss-Newton step, to where a combination of ``details`` comes closest to PAN.

        Returns:
            The step (row, col) in MS pixels, and the correlation of PAN with the combination.
        """
        known = torch.cat([details, self.slope_row[None], self.slope_col[None]])
        gram = known @ known.T
        ridge = 1e-9 * gram.diagonal().clamp(min=1e-30).diag()
        solution = torch.linalg.solve(gram + ridge, known @ self.pan)
        fitted = solution[:-2] @ details
        match = float((fitted @ self.pan) / (fitted.norm() * self.pan.norm()).clamp(min=1e-30))
        return (-float(solution[-2]), -float(solution[-1])), match

    def follow(self, detail: Tensor) -> tuple[tuple[float, float], float]:
        """Take the step for one band, regressed on PAN, so that what the band alone shows does not damp it."""
        known = torch.stack(self)
        gain, row, col = torch.linalg.lstsq(known.T, detail[:, None]).solution[:, 0].tolist()
        match = float((self.pan @ detail) / (self.pan.norm() * detail.norm()).clamp(min=1e-30))
        scale = gain if abs(gain) > 1e-12 else 1e-12
        return (row / scale, col / scale), abs(match)


def _vote(votes: Sequence[_Vote]) -> Shift | None:
    """Return the median of the windows, and how far they disagree."""
    if not votes:
        return None
    table = torch.tensor(votes, dtype=torch.float64)
    middle = table.quantile(0.5, dim=0)
    deviation = (table[:, :2] - middle[:2]).abs().quantile(0.5, dim=0).max()
    spread = 1.4826 * float(deviation) if len(votes) > 1 else float("nan")
    return Shift(float(middle[0]), float(middle[1]), spread, float(middle[2]), len(votes))
