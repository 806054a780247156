"""What is asked of a fusion at full resolution, where there is no truth (CLIPPan, stage II)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.base.geometry import trim
from clippan_cli.metrics.local import d_rho, local_correlation
from clippan_cli.metrics.qnr import d_lambda, d_lambda_k, d_s, qnr
from clippan_cli.metrics.reference import ergas, ssim
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.pairs import Stretched

DEGRADATIONS = ("mtf", "bicubic")
"""The ways to bring the fused image down to MS: by the sensor's MTF at the true phase, or as the paper does."""

INDICES = ("hqnr", "d_rho", "r_ergas")
"""The indices that :func:`judge` finds."""

_EDGE = 4
"""The number of MS pixels at the border of a tile that look beyond it."""

_LEAST = 1e-12

_FLOOR = 1e-6
"""The variance of what counts as flat, where 0 to 1 is the contrast of the scene."""


def spectral_loss(out: Tensor, tiles: Stretched, degradation: str = "mtf") -> Tensor:
    """Return L_spec (eq. 9): the fused image at MS's resolution against MS, MSE + 1 - SSIM, both stretched to 0 … 1.

    Args:
        out: ``(B, C, H, W)``, the fused images.
        tiles: The tiles that they were made of.
        degradation: One of :data:`DEGRADATIONS`; bicubic takes no notice of the phase, as in the paper.
    """
    if degradation == "mtf":
        seen = tiles.operators.down(out.flatten(0, 1)).view_as(tiles.ms)
    else:
        seen = F.interpolate(out, tiles.ms.shape[-2:], mode="bicubic", antialias=True)
    return _compare(tiles.bands(trim(seen, _EDGE)), tiles.bands(trim(tiles.ms, _EDGE)))


def spatial_loss(out: Tensor, tiles: Stretched) -> Tensor:
    """Return L_spat (eq. 10): the bands, mixed as φ says, against PAN.

    φ is non-negative, fitted to the scene at MS's resolution, and frozen: what is learned with the net learns to be
    blind.

    Args:
        out: ``(B, C, H, W)``, the fused images.
        tiles: The tiles that they were made of.
    """
    weights = tiles.mixture
    mixed = torch.einsum("bc,bchw->bhw", weights[:, :-1], out)[:, None] + weights[:, -1, None, None, None]
    return _compare(tiles.pans(mixed), tiles.pans(tiles.pan))


def quality_loss(out: Tensor, tiles: Stretched) -> Tensor:
    """Return L_QNR (eq. 11), with the sign that makes it a loss: 1 - (1 - D_λ)(1 - D_s).

    Args:
        out: ``(B, C, H, W)``, the fused images.
        tiles: The tiles that they were made of.
    """
    losses = []
    for one, ms_up, pan, low in zip(out, tiles.ms_up, tiles.pan, tiles.context.pan_low, strict=True):
        spectral = d_lambda(one, ms_up) if len(one) > 1 else one.sum() * 0
        losses.append(1 - qnr(spectral, d_s(one, ms_up, pan[0], low)))
    return torch.stack(losses).mean()


def structural_loss(out: Tensor, tiles: Stretched) -> Tensor:
    """Return λ-PNN's: 1 - local correlation with PAN, where it is more than at the lower scale, over a wider window.

    A band that does not follow PAN there (NIR over water) is not asked to follow it here.

    Args:
        out: ``(B, C, H, W)``, the fused images.
        tiles: The tiles that they were made of.
    """
    reach, wide = math.ceil(tiles.context.ratio / 2), math.ceil(2 * tiles.context.ratio)
    losses = []
    images = tiles.bands(out), tiles.bands(tiles.ms_up), tiles.pans(tiles.pan), tiles.pans(tiles.context.pan_low)
    for one, ms_up, pan, low in zip(*images, strict=True):
        apart = 1 - trim(local_correlation(one, pan[0], reach, floor=_FLOOR), wide - reach)
        allowed = 1 - local_correlation(ms_up, low[0], wide, floor=_FLOOR)
        losses.append(torch.where(apart > allowed, apart, 0).mean())
    return torch.stack(losses).mean()


def imitation_loss(out: Tensor, taught: Tensor, tiles: Stretched) -> Tensor:
    """Return the mean absolute difference from a teacher's image, both stretched."""
    return (tiles.bands(out) - tiles.bands(taught)).abs().mean()


def language_loss(out: Tensor, supervisor: Supervisor, tiles: Stretched) -> Tensor:
    """Return L_d (eq. 6 to 8), the mean over images, which a supervisor looks at stretched."""
    return supervisor.directional(tiles.bands(out), tiles.bands(tiles.ms_up), tiles.pans(tiles.pan)).mean()


def anchor_loss(out: Tensor, start: Tensor, tiles: Stretched) -> Tensor:
    """Return the mean squared difference from what the network made as it began, both stretched."""
    return (tiles.bands(out) - tiles.bands(start)).square().mean()


def free_of_pan_gain(loss: Callable[[Tensor], Tensor], out: Tensor, tiles: Stretched) -> Tensor:
    """Return a loss whose gradient asks for no more and no less of PAN's detail as a whole.

    How much of PAN a band takes is known from MS; a supervisor that sees images alone would only want more of it.

    Args:
        loss: The loss of images ``(B, C, H, W)``.
        out: ``(B, C, H, W)``, the fused images.
        tiles: The tiles that they were made of.
    """
    image = out.detach().requires_grad_()
    value = loss(image)
    if not value.requires_grad:
        return value
    (gradient,) = torch.autograd.grad(value, image)
    if not out.requires_grad:
        return value.detach()
    free = without_gain(gradient, tiles.pan - tiles.context.pan_low)
    return value.detach() + (free * (out - image.detach())).sum()


def without_gain(planes: Tensor, detail: Tensor) -> Tensor:
    """Take out of each plane ``(B, C, H, W)`` what is a constant times a detail ``(B, 1, H, W)``."""
    gain = (planes * detail).sum((2, 3), keepdim=True) / detail.square().sum((2, 3), keepdim=True).clamp(min=_LEAST)
    return planes - gain * detail


def judge(out: Tensor, tiles: Stretched) -> dict[str, float]:
    """Measure HQNR, D_ρ and R-ERGAS of one tile: ``out`` is ``(1, C, H, W)``."""
    ms, pan, ms_up = tiles.ms[0], tiles.pan[0, 0], tiles.ms_up[0]
    seen = tiles.operators.down(out[0])
    spectral = d_lambda_k(tiles.operators.up(seen), ms_up)
    spatial = d_s(out[0], ms_up, pan, tiles.operators.low_pass(pan))
    return {
        "hqnr": float(qnr(spectral, spatial)),
        "d_rho": float(d_rho(out[0], pan)),
        "r_ergas": float(ergas(trim(seen, _EDGE), trim(ms, _EDGE), tiles.context.ratio)),
    }


def _compare(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().mean() + 1 - ssim(x.flatten(0, 1), y.flatten(0, 1), 1.0)
