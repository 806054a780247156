"""Multiresolution analysis: MTF-GLP with full-scale regression and with high-pass modulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clippan_cli.fusion.method import Classical, Fitted, Method, Statistics, Tile
from clippan_cli.fusion.moments import Moments
from clippan_cli.fusion.substitution import per_band, rounding
from clippan_cli.physics.sampling import Sampling

_MODULATION = (0.5, 2.0)
_FLOOR = 0.1
_TINY = 1e-12


class _Pyramid(Method):
    def halo(self, sampling: Sampling) -> int:
        """Add up degradation and upsampling, one after the other."""
        return sampling.up_reach + sampling.down_reach


class MtfGlpFs(_Pyramid):
    """Injects a generalised Laplacian pyramid, with gains by full-scale regression (Vivone et al. 2018)."""

    name = "mtf-glp-fs"
    features = ("ms", "pan_low", "lifted", "lifted_one")

    def fit(self, statistics: Statistics) -> Fitted:
        """Fit each band's gain: cov(MS, PAN) / cov(low-passed PAN, PAN), at PAN's resolution."""
        moments = statistics.moments
        low = np.maximum(_upsampled_covariance(moments, "pan_low"), 0) + rounding(moments.mean("pan_low"))
        gains = np.maximum(_upsampled_covariance(moments, "ms") / low, 0)
        return _GlpFs(values={"gains": gains.tolist()}, gains=gains)


@dataclass(frozen=True, kw_only=True)
class _GlpFs(Classical):
    gains: NDArray[np.float64]

    def fuse(self, tile: Tile) -> Tensor:
        gains = per_band(self.gains, tile.ms_up)
        return (tile.pan.values - tile.pan_low).mul_(gains).add_(tile.ms_up)


class MtfGlpHpmR(_Pyramid):
    """Modulates by a generalised Laplacian pyramid of PAN matched to each band by regression (Vivone et al. 2018)."""

    name = "mtf-glp-hpm-r"
    features = ("ms", "pan_low")

    def fit(self, statistics: Statistics) -> Fitted:
        """Regress each band on PAN as the band would see it."""
        moments = statistics.moments
        variance = np.diag(moments.covariance("pan_low", "pan_low")) + rounding(moments.mean("pan_low"))
        gains = np.maximum(np.diag(moments.covariance("ms", "pan_low")) / variance, 0)
        offsets = moments.mean("ms") - gains * moments.mean("pan_low")
        floor = np.maximum(_FLOOR * np.abs(moments.mean("ms")), _TINY)
        values = {"gains": gains.tolist(), "offsets": offsets.tolist()}
        return _GlpHpmR(values=values, gains=gains, offsets=offsets, floor=floor)


@dataclass(frozen=True, kw_only=True)
class _GlpHpmR(Classical):
    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    floor: NDArray[np.float64]

    def fuse(self, tile: Tile) -> Tensor:
        gains = per_band(self.gains, tile.ms_up)
        # The field writes M·(P+c)/(PL+c); this is the same, but has no pole where a band does not follow PAN.
        predicted = (tile.pan_low * gains).add_(per_band(self.offsets, gains))
        modulation = (tile.ms_up / predicted.maximum(per_band(self.floor, gains))).clamp_(*_MODULATION)
        return (tile.pan.values - tile.pan_low).mul_(gains).mul_(modulation).add_(tile.ms_up)


def _upsampled_covariance(moments: Moments, feature: str) -> NDArray[np.float64]:
    """Return the covariance of an upsampled feature with PAN at PAN's resolution, by the adjoint of upsampling."""
    count = moments.mean("lifted_one")
    mean = np.diag(moments.product(feature, "lifted_one")) / count
    mean_pan = moments.mean("lifted") / count
    result: NDArray[np.float64] = np.diag(moments.product(feature, "lifted")) / count - mean * mean_pan
    return result
