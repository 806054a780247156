"""The details of MS and of degraded PAN on MS's grid: what registration and optics are measured from."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.physics.operators import Operators, fill_invalid
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.sampling import Sampling

_SIGMA = 2.0
_REACH = int(3 * _SIGMA)
_STEP = 0.25


class Details:
    """Holds what a wide Gaussian removes from one sample of a scene.

    Args:
        sample: MS and PAN.
        sampling: The place of MS on PAN.
        edge: The MS pixels at the edges that do not count.
    """

    def __init__(self, sample: Window, sampling: Sampling, edge: int) -> None:
        self.sampling = sampling
        self._sample = sample
        operators = Operators(sampling, sample.pan_box, sample.ms_box)
        pan_valid = sample.pan.valid.of(sample.pan.values)
        known = sample.ms.valid.of(sample.ms.values)
        self._valid = known.all(0) & operators.sees_only(pan_valid[None]).all(0)
        self.mask = F.max_pool2d((~self._valid)[None].float(), 2 * _REACH + 1, 1, _REACH)[0] == 0
        self.mask[:edge] = self.mask[-edge:] = False
        self.mask[:, :edge] = self.mask[:, -edge:] = False
        self.ms = self._detail(fill_invalid(sample.ms.values, known, 2))

    @property
    def pixels(self) -> int:
        """The number of MS pixels that count."""
        return int(self.mask.sum())

    def chosen(self, details: Tensor) -> Tensor:
        """Return the pixels that count: ``(C, h, w)`` to ``(C, N)``, in double precision."""
        return details[:, self.mask].double()

    def pan(self, gains: tuple[float, ...], shift: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """Return PAN's details as MS would see them: ``(len(gains), h, w)``.

        Args:
            gains: MTF gains at the MS Nyquist frequency.
            shift: How much further on the content of MS would lie, (row, col) in MS pixels.
        """
        centre, ratio = self.sampling.centre, self.sampling.ratio
        phase = (centre[0] + ratio[0] * shift[0], centre[1] + ratio[1] * shift[1])
        moved = Sampling.uniform(ratio, phase, gains)
        pan = self._sample.pan
        operators = Operators(moved, self._sample.pan_box, self._sample.ms_box)
        return self._detail(operators.pan_down(pan.valid.keep(pan.values)))

    def pan_slopes(self, gain: tuple[float], shift: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """Return PAN's details through one gain, and how they change with the shift: along rows, along columns.

        Args:
            gain: The MTF gain at the MS Nyquist frequency.
            shift: Where the slopes are taken, (row, col) in MS pixels.

        Returns:
            ``(3, h, w)``, the slopes per MS pixel.
        """
        row, col = shift
        down = self.pan(gain, (row + _STEP, col)) - self.pan(gain, (row - _STEP, col))
        right = self.pan(gain, (row, col + _STEP)) - self.pan(gain, (row, col - _STEP))
        return torch.cat([self.pan(gain, shift), down / (2 * _STEP), right / (2 * _STEP)])

    def _detail(self, x: Tensor) -> Tensor:
        known = self._valid.to(x.dtype)[None]
        weight = _blur(known).clamp(min=1e-6)
        return x - _blur(torch.where(self._valid, x, 0)) / weight


@lru_cache
def _taps(dtype: torch.dtype) -> Tensor:
    taps = torch.exp(-0.5 * (torch.arange(-_REACH, _REACH + 1, dtype=dtype) / _SIGMA) ** 2)
    return taps / taps.sum()


def _blur(x: Tensor) -> Tensor:
    """Blur ``(C, h, w)`` by a Gaussian, zero beyond the edges."""
    taps = _taps(x.dtype)
    x = F.conv2d(x[:, None], taps.view(1, 1, -1, 1), padding=(_REACH, 0))
    return F.conv2d(x, taps.view(1, 1, 1, -1), padding=(0, _REACH))[:, 0]
