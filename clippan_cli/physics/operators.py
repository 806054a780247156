"""Upsampling and MTF degradation of one window, for every band at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.physics.banded import Banded, separable
from clippan_cli.physics.kernels import degradation, upsampling, upsampling_adjoint
from clippan_cli.physics.pixels import EVERYWHERE, Validity
from clippan_cli.physics.sampling import Sampling

LEAST_WEIGHT = 0.25
"""The share of its MTF that an MS pixel must have on valid pixels to be seen at all."""

OCTAVE_REACH = 7
"""The pixels that :func:`octaves` looks to each side."""

_OCTAVES = (0.8, 1.6)
_FILL_PASSES = 3
_WHOLE = 0.999

_Key = TypeVar("_Key")


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Holds all that determines the matrix of one axis."""

    kind: Callable[..., Banded]
    ratio: float
    phase: float
    gain: float | None
    pan: Span
    ms: Span
    device: str
    dtype: torch.dtype


@lru_cache(maxsize=1024)
def _build(axis: _Axis) -> Banded:
    gain = () if axis.gain is None else (axis.gain,)
    # The cache serves those who want gradients too, whoever comes first.
    with torch.inference_mode(mode=False):
        return axis.kind(axis.ratio, axis.phase, *gain, axis.pan, axis.ms, device=axis.device, dtype=axis.dtype)


class Operators:
    """Applies the linear operators between an MS window and a PAN window of one scene.

    Bands that share phase and gain share their matrices, and PAN is degraded once for all of them.

    Args:
        sampling: The ratio, phases and gains of the scene.
        pan_box: The window on PAN's grid, of height H and width W.
        ms_box: The window on MS's grid, of height h and width w.
    """

    def __init__(
        self,
        sampling: Sampling,
        pan_box: Box,
        ms_box: Box,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.sampling, self.pan_box, self.ms_box = sampling, pan_box, ms_box
        self._device, self._dtype = str(device), dtype

    def up(self, ms: Tensor) -> Tensor:
        """Interpolate ``(C, h, w)`` to ``(C, H, W)``, each band at its own phase."""
        return self._by_band(self.sampling.phases, ms, lambda phase, x: self._apply(upsampling, phase, None, x))

    def up_adjoint(self, pan: Tensor) -> Tensor:
        """Apply the transpose of :meth:`up` to ``(H, W)``, once for each band's phase: ``(C, h, w)``."""
        return self._by_band(
            self.sampling.phases, pan[None], lambda phase, x: self._apply(upsampling_adjoint, phase, None, x)
        )

    def down(self, hrms: Tensor, valid: Validity = EVERYWHERE) -> Tensor:
        """Degrade ``(C, H, W)`` to ``(C, h, w)`` through each band's MTF.

        Args:
            hrms: The image on PAN's grid.
            valid: The validity of the image, ``(1 or C, H, W)``; the MTF is normalised over the valid pixels.
        """
        keys = list(zip(self.sampling.phases, self.sampling.gains, strict=True))
        if valid.mask is None:
            return self._by_band(keys, hrms, self._degrade)
        weight = self.weight(valid.mask)
        total = self._by_band(keys, valid.keep(hrms), self._degrade)
        return torch.where(weight > LEAST_WEIGHT, total / weight.clamp(min=LEAST_WEIGHT), 0)

    def weight(self, valid: Tensor) -> Tensor:
        """Return the share of each MS pixel's MTF that falls on valid pixels: ``(1 or C, H, W)`` to ``(C, h, w)``."""
        keys = list(zip(self.sampling.phases, self.sampling.gains, strict=True))
        return self._by_band(keys, valid.to(self._dtype).expand(len(keys), -1, -1), self._degrade)

    def sees_only(self, valid: Tensor) -> Tensor:
        """Tell which MS pixels lie on PAN and see valid pixels only: ``(1 or C, H, W)`` to ``(C, h, w)``."""
        return (self.weight(valid) > _WHOLE) & self.covered

    def pan_down(self, pan: Tensor, valid: Validity = EVERYWHERE) -> Tensor:
        """Degrade PAN ``(H, W)`` through each band's MTF at its phase: ``(C, h, w)``."""
        bands = len(self.sampling.gains)
        return self.down(pan.expand(bands, -1, -1), valid[None])

    def pan_simulated(self, pan: Tensor) -> Tensor:
        """Return PAN ``(H, W)`` as its own sensor would see it at MS's resolution (Wald): ``(1, h, w)``."""
        return self._apply(degradation, self.sampling.centre, self.sampling.pan_gain, pan[None])

    def pan_down_filled(self, pan: Tensor, valid: Validity) -> Tensor:
        """Return :meth:`pan_down`, continued into MS pixels that see no valid PAN."""
        low = self.pan_down(pan, valid)
        if valid.mask is None:
            return low
        return fill_invalid(low, self.weight(valid.mask[None]) > LEAST_WEIGHT, _FILL_PASSES)

    def low_pass(self, pan: Tensor, valid: Validity = EVERYWHERE) -> Tensor:
        """Remove from PAN ``(H, W)`` what the MS bands cannot resolve: ``(C, H, W)``."""
        return self.up(self.pan_down_filled(pan, valid))

    @cached_property
    def covered(self) -> Tensor:
        """Whether the centre of each MS pixel lies on the PAN window: ``(h, w)``."""
        sides = []
        for axis in (0, 1):
            centre = self.sampling.centre[axis] + self.sampling.ratio[axis] * np.arange(*self.ms_box[axis])
            sides.append((centre >= self.pan_box[axis].start - 0.5) & (centre <= self.pan_box[axis].stop - 0.5))
        return torch.as_tensor(sides[0][:, None] & sides[1][None, :], device=self._device)

    @property
    def encloses_footprint(self) -> bool:
        """Whether every PAN pixel of the window lies in an MS pixel of the window."""
        for axis in (0, 1):
            index = self.sampling.nearest(axis, self.pan_box[axis])
            if index[0] < self.ms_box[axis].start or index[-1] >= self.ms_box[axis].stop:
                return False
        return True

    def footprint(self, ms_valid: Tensor) -> Tensor:
        """Give each PAN pixel the validity of the MS pixel it lies in: ``(C, h, w)`` to ``(C, H, W)``.

        PAN pixels outside ``ms_box`` are invalid.
        """
        picks, inside = [], []
        for axis in (0, 1):
            index = self.sampling.nearest(axis, self.pan_box[axis]) - self.ms_box[axis].start
            inside.append(torch.as_tensor((index >= 0) & (index < self.ms_box[axis].size), device=ms_valid.device))
            picks.append(torch.as_tensor(index.clip(0, self.ms_box[axis].size - 1), device=ms_valid.device))
        return ms_valid[:, picks[0]][:, :, picks[1]] & inside[0][:, None] & inside[1][None, :]

    def _degrade(self, key: tuple[tuple[float, float], float], x: Tensor) -> Tensor:
        return self._apply(degradation, key[0], key[1], x)

    def _apply(self, kind: Callable[..., Banded], phase: tuple[float, float], gain: float | None, x: Tensor) -> Tensor:
        rows, cols = (
            _build(
                _Axis(
                    kind=kind,
                    ratio=self.sampling.ratio[axis],
                    phase=phase[axis],
                    gain=gain,
                    pan=self.pan_box[axis],
                    ms=self.ms_box[axis],
                    device=self._device,
                    dtype=self._dtype,
                )
            )
            for axis in (0, 1)
        )
        return separable(rows, cols, x)

    @staticmethod
    def _by_band(keys: tuple[_Key, ...] | list[_Key], x: Tensor, apply: Callable[[_Key, Tensor], Tensor]) -> Tensor:
        """Apply a function to the bands of each key together; an input that all bands share is computed once a key."""
        shared = x.shape[0] == 1 or x.stride(0) == 0
        groups = list(dict.fromkeys(keys))
        if len(groups) == 1:
            return apply(keys[0], x[:1]).expand(len(keys), -1, -1) if shared else apply(keys[0], x)
        members = [[band for band, key in enumerate(keys) if key == group] for group in groups]
        parts = [
            apply(group, x[:1]).expand(len(bands), -1, -1) if shared else apply(group, x[bands])
            for group, bands in zip(groups, members, strict=True)
        ]
        order = torch.tensor([band for bands in members for band in bands], device=x.device)
        return torch.cat(parts)[torch.argsort(order)]


def blur(x: Tensor, sampling: Sampling, box: Box, valid: Validity = EVERYWHERE) -> Tensor:
    """Blur an image by the MTF, as if its pixels were as fine as PAN's are to MS, without decimation.

    Args:
        x: The image, ``(C, H, W)``.
        sampling: The ratio and the gains; the phases do not matter.
        box: The pixels of its grid that ``x`` covers.
        valid: The validity of ``x``, ``(1 or C, H, W)``; the MTF is normalised over the valid pixels.
    """
    # A Gaussian of gain G at ratio r has the width of one of gain G**(r*r) at ratio 1.
    square = sampling.ratio[0] * sampling.ratio[1]
    gains = tuple(gain**square for gain in sampling.gains)
    same = Sampling.uniform((1.0, 1.0), (0.0, 0.0), gains)
    return Operators(same, box, box, device=x.device, dtype=x.dtype).down(x, valid)


def octaves(x: Tensor, box: Box, valid: Validity = EVERYWHERE) -> tuple[Tensor, Tensor]:
    """Return the finest octave of ``(N, h, w)`` and the one below it, from valid pixels ``(1, h, w)`` only."""
    fine = _gaussian(x, _OCTAVES[0], box, valid)
    return x - fine, fine - _gaussian(x, _OCTAVES[1], box, valid)


def _gaussian(x: Tensor, sigma: float, box: Box, valid: Validity = EVERYWHERE) -> Tensor:
    gain = math.exp(-0.5 * (math.pi * sigma) ** 2)
    same = Sampling.uniform((1.0, 1.0), (0.0, 0.0), (gain,) * x.shape[0])
    return Operators(same, box, box, device=x.device, dtype=x.dtype).down(x, valid)


def fill_invalid(ms: Tensor, valid: Tensor, passes: int) -> Tensor:
    """Continue the valid pixels into the invalid ones, one pixel further with each pass.

    Args:
        ms: The image, ``(C, h, w)``.
        valid: Which pixels are valid, ``(C, h, w)``.
        passes: The number of pixels to go.

    Returns:
        The image, ``(C, h, w)``; valid pixels are unchanged, what lies too far away is 0.
    """
    known = valid.to(ms.dtype)
    out = torch.where(valid, ms, 0)
    for _ in range(passes):
        count = F.avg_pool2d(known[None], 3, 1, 1)[0]
        mean = F.avg_pool2d(out[None], 3, 1, 1)[0] / count.clamp(min=1e-6)
        reached = (count > 0) & (known == 0)
        out = torch.where(reached, mean, out)
        known = torch.where(reached, 1.0, known)
    return out
