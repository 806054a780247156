"""Component substitution: Brovey, GSA, and the band-dependent BDSD-PC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from torch import Tensor

from clippan_cli.fusion.method import Classical, Fitted, Method, Statistics, Tile
from clippan_cli.fusion.moments import Moments

_MAX_RATIO = 5.0
_RIDGE = 1e-9
_ROUNDING = 1e-6


class Exp(Method):
    """Interpolates and does no more: the anchor of every comparison."""

    name = "exp"

    def fit(self, statistics: Statistics) -> Fitted:
        """Fit nothing."""
        return _Exp()


class _Exp(Classical):
    def fuse(self, tile: Tile) -> Tensor:
        return tile.ms_up


class Brovey(Method):
    """Multiplies by PAN over intensity, whose non-negative weights are fitted to PAN at MS's resolution."""

    name = "brovey"
    features = ("ms", "pan_low")

    def fit(self, statistics: Statistics) -> Fitted:
        """Fit the weights and the offset."""
        weights, offset = intensity_weights(statistics.moments, lowest=0.0)
        floor = 0.01 * float(statistics.moments.mean("pan_low").mean())
        values = {"weights": weights.tolist(), "offset": [offset]}
        return _Brovey(values=values, weights=weights, offset=offset, floor=floor)


@dataclass(frozen=True, kw_only=True)
class _Brovey(Classical):
    weights: NDArray[np.float64]
    offset: float
    floor: float

    def fuse(self, tile: Tile) -> Tensor:
        intensity = _combine(self.weights, tile.ms_up, self.offset).clamp_(min=self.floor)
        return tile.ms_up.mul_(torch.div(tile.pan.values, intensity, out=intensity).clamp_(0, _MAX_RATIO))


class Gsa(Method):
    """Does adaptive Gram-Schmidt (Aiazzi et al. 2007)."""

    name = "gsa"
    features = ("ms", "pan_low")

    def fit(self, statistics: Statistics) -> Fitted:
        """Fit the intensity and each band's gain on it."""
        moments = statistics.moments
        weights, offset = intensity_weights(moments, lowest=-np.inf)
        covariance = moments.covariance("ms", "ms")
        gains = covariance @ weights / max(float(weights @ covariance @ weights), 1e-30)
        values = {"weights": weights.tolist(), "offset": [offset], "gains": gains.tolist()}
        return _Gsa(values=values, weights=weights, offset=offset, gains=gains)


@dataclass(frozen=True, kw_only=True)
class _Gsa(Classical):
    weights: NDArray[np.float64]
    offset: float
    gains: NDArray[np.float64]

    def fuse(self, tile: Tile) -> Tensor:
        detail = tile.pan.values - _combine(self.weights, tile.ms_up, self.offset)
        return torch.addcmul(tile.ms_up, per_band(self.gains, tile.ms_up), detail)


class BdsdPc(Method):
    """Injects band-dependent detail with physical constraints (Vivone 2019), fitted on the whole scene."""

    name = "bdsd-pc"
    features = ("ms", "ms_low", "pan_simulated")

    def fit(self, statistics: Statistics) -> Fitted:
        """Fit by bounded least squares one scale down: PAN's coefficient is not negative, the bands' not positive."""
        moments = statistics.moments
        bands = len(moments.mean("ms"))
        low, pan = moments.product("ms_low", "ms_low"), moments.product("ms_low", "pan_simulated")
        gram = np.block([[low, pan], [pan.T, moments.product("pan_simulated", "pan_simulated")]])
        known = np.concatenate([moments.product("ms_low", "ms"), moments.product("pan_simulated", "ms")])
        itself = np.concatenate([low, pan.T])
        target = known - itself
        bounds = (np.r_[np.full(bands, -np.inf), 0.0], np.r_[np.zeros(bands), np.inf])
        gamma = np.stack([bounded_least_squares(gram, target[:, k], bounds) for k in range(bands)])
        values = {f"gamma {k + 1}": row.tolist() for k, row in enumerate(gamma)}
        return _BdsdPc(values=values, gamma=gamma)


@dataclass(frozen=True, kw_only=True)
class _BdsdPc(Classical):
    gamma: NDArray[np.float64]

    def fuse(self, tile: Tile) -> Tensor:
        gamma = torch.as_tensor(self.gamma).to(tile.ms_up)
        mixed: Tensor = torch.tensordot(gamma[:, :-1], tile.ms_up, 1)
        return mixed.add_(tile.ms_up).addcmul_(gamma[:, -1, None, None], tile.pan.values)


def intensity_weights(moments: Moments, lowest: float) -> tuple[NDArray[np.float64], float]:
    """Return weights (not below ``lowest``) and offset of the MS combination that comes closest to degraded PAN."""
    target = moments.covariance("ms", "pan_low").mean(1)
    bands = len(target)
    bounds = (np.full(bands, lowest), np.full(bands, np.inf))
    gram = moments.covariance("ms", "ms") + np.diag(rounding(moments.mean("ms")))
    weights = bounded_least_squares(gram, target, bounds)
    return weights, float(moments.mean("pan_low").mean() - weights @ moments.mean("ms"))


def bounded_least_squares(
    gram: NDArray[np.float64], target: NDArray[np.float64], bounds: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Minimise ``xᵀ·gram·x / 2 - target·x`` within bounds."""
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-30))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    roots = np.sqrt(np.maximum(values, _RIDGE * max(values[-1], _RIDGE)))
    matrix = roots[:, None] * vectors.T
    right = (vectors.T @ (target / scale)) / roots
    result = lsq_linear(matrix, right, (bounds[0] * scale, bounds[1] * scale), method="bvls", tol=1e-12)
    solution: NDArray[np.float64] = result.x / scale
    return solution


def rounding(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance that 32-bit floats round into a constant of that mean: added, it keeps fits from noise."""
    return np.asarray((_ROUNDING * mean) ** 2 + 1e-30)


def per_band(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """Return one number a band as ``(C, 1, 1)``."""
    return torch.as_tensor(values).to(like)[:, None, None]


def _combine(weights: NDArray[np.float64], bands: Tensor, offset: float) -> Tensor:
    combined: Tensor = torch.tensordot(torch.as_tensor(weights).to(bands), bands, 1)
    return combined.add_(offset)
