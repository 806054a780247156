"""Fusion methods just as DLPan 1.0 has them, written for the tests: oracles for published numbers."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import lsq_linear
from torch import Tensor

from clippan_cli.physics.dlpan import dlpan_degrade, dlpan_filter, interp23


class Benchmark:
    """A pair with its interpolated MS.

    Args:
        ms: ``(C, h, w)``.
        pan: ``(H, W)``.
        gains: Of the MS bands.
        pan_gain: Of PAN.
    """

    def __init__(self, ms: Tensor, pan: Tensor, gains: tuple[float, ...], pan_gain: float) -> None:
        self.ms, self.pan, self.gains, self.pan_gain = ms, pan, gains, pan_gain
        self.ratio = pan.shape[0] // ms.shape[1]
        self.ms_up = interp23(ms, self.ratio)

    def fuse(self, name: str) -> Tensor:
        made: Tensor = {
            "exp": self._exp,
            "gsa": self._gsa,
            "bdsd-pc": self._bdsd,
            "glp-fs": self._fs,
            "hpm-r": self._r,
        }[name]()
        return made

    def _exp(self) -> Tensor:
        return self.ms_up

    def _gsa(self) -> Tensor:
        low = _a_trous(self.pan - self.pan.mean(), 2)[self.ratio // 2 :: self.ratio, self.ratio // 2 :: self.ratio]
        centred = self.ms - self.ms.mean((1, 2), keepdim=True)
        table = torch.cat([centred, torch.ones_like(self.ms[:1])]).flatten(1).T
        weights = torch.linalg.lstsq(table, low.flatten()[:, None]).solution[:, 0]
        up = self.ms_up - self.ms_up.mean((1, 2), keepdim=True)
        intensity = torch.tensordot(weights[:-1], up, 1) + weights[-1]
        intensity = intensity - intensity.mean()
        detail = self.pan - self.pan.mean() - intensity
        return torch.stack([m + _cov(intensity, m) / _cov(intensity, intensity) * detail for m in self.ms_up])

    def _bdsd(self) -> Tensor:
        low = dlpan_filter(self.ms, self.ratio, self.gains)
        pan = dlpan_degrade(self.pan[None], self.ratio, (self.pan_gain,))
        table = torch.cat([low, pan]).flatten(1).T.numpy()
        bands = len(self.ms)
        bounds = (np.r_[np.full(bands, -np.inf), 0.0], np.r_[np.zeros(bands), np.inf])
        planes = torch.cat([self.ms_up, self.pan[None]])
        out = []
        for k in range(bands):
            gamma = lsq_linear(table, (self.ms[k] - low[k]).flatten().numpy(), bounds).x
            out.append(self.ms_up[k] + torch.tensordot(torch.from_numpy(gamma), planes, 1))
        return torch.stack(out)

    def _low(self) -> Tensor:
        return interp23(dlpan_degrade(self.pan.expand(len(self.gains), -1, -1), self.ratio, self.gains), self.ratio)

    def _fs(self) -> Tensor:
        return torch.stack(
            [
                m + _cov(m, self.pan) / _cov(low, self.pan) * (self.pan - low)
                for m, low in zip(self.ms_up, self._low(), strict=True)
            ]
        )

    def _r(self) -> Tensor:
        out = []
        for m, low in zip(self.ms_up, self._low(), strict=True):
            offset = m.mean() * _cov(low, low) / _cov(m, low) - self.pan.mean()
            out.append(m * (self.pan + offset) / (low + offset))
        return torch.stack(out)


def _cov(a: Tensor, b: Tensor) -> Tensor:
    return ((a - a.mean()) * (b - b.mean())).mean()


def _a_trous(x: Tensor, levels: int) -> Tensor:
    taps = torch.tensor([1, 4, 6, 4, 1], dtype=x.dtype) / 16
    y = x[None, None]
    for level in range(levels):
        step = 2**level
        y = F.conv2d(F.pad(y, (0, 0, 2 * step, 2 * step), mode="reflect"), taps.view(1, 1, -1, 1), dilation=(step, 1))
        y = F.conv2d(F.pad(y, (2 * step, 2 * step, 0, 0), mode="reflect"), taps.view(1, 1, 1, -1), dilation=(1, step))
    return y[0, 0]
