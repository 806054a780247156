"""Local correlation: whether the fused image has the structure of PAN, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from clippan_cli.physics.sliding import slide

REACH = 2
"""The pixels that the correlation looks to each side: a window of 5 × 5, half an MS pixel at ratio 4."""

_ROUNDING = 8.0


def d_rho(fused: Tensor, pan: Tensor, reach: int = REACH) -> Tensor:
    """Return the spatial distortion D_ρ (Scarpa and Ciotola 2022): 1 - mean local correlation with PAN; 0 is perfect.

    Args:
        fused: The fused image, ``(C, H, W)``.
        pan: The PAN image, ``(H, W)``.
        reach: The pixels that the correlation looks to each side.
    """
    return 1 - local_correlation(fused, pan, reach).mean()


def local_correlation(fused: Tensor, pan: Tensor, reach: int = REACH, every: int = 1, floor: float = 0.0) -> Tensor:
    """Correlate each band with PAN around each pixel.

    Where both are constant it is 1, where only one is, 0.

    Args:
        fused: The fused image, ``(C, H, W)``.
        pan: The PAN image, ``(H, W)``.
        reach: The pixels that the correlation looks to each side.
        every: The step between the pixels of a row or a column that are worked out, from the first on.
        floor: The variance that is added to all: what is fainter than its root counts as constant, without a step.

    Returns:
        The correlations ``(C, H - 2·reach, W - 2·reach)``, or their n-th part, of pixels whose window lies inside the
        image.
    """
    if every > 1:
        return _correlation_of_patches(_patches(fused, reach, every), _patches(pan[None], reach, every), floor)
    # Sums of squares lose digits to the mean: take most of it away first.
    fused = fused - fused.detach().mean((1, 2), keepdim=True)
    pan = (pan - pan.detach().mean())[None]
    mean, mean_pan = box_mean(fused, reach), box_mean(pan, reach)
    variance = _variance(box_mean(fused**2, reach), mean)
    variance_pan = _variance(box_mean(pan**2, reach), mean_pan)
    covariance = torch.addcmul(box_mean(fused * pan, reach), mean, mean_pan, value=-1)
    return _normalised(covariance, variance + floor, variance_pan + floor)


def _correlation_of_patches(fused: Tensor, pan: Tensor, floor: float) -> Tensor:
    """Correlate patches, the pixels around each place: ``(C, h, w, pixels)``."""
    floor = floor * fused.shape[-1]
    (fused, variance), (pan, variance_pan) = _centred(fused), _centred(pan)
    return _normalised((fused * pan).sum(-1), variance + floor, variance_pan + floor)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return patches without their means, and their sums of squares: 0 where a patch is constant but for rounding."""
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    square = (centred**2).sum(-1)
    noise = x.shape[-1] * (2 * torch.finfo(x.dtype).eps * mean[..., 0]) ** 2
    return centred, torch.where(square > noise, square, 0.0)


def _normalised(covariance: Tensor, variance: Tensor, variance_pan: Tensor) -> Tensor:
    """Divide by both deviations: 1 where both are 0, 0 where only one is."""
    power = variance * variance_pan
    defined = power > 0
    both_flat = (variance + variance_pan) == 0
    correlation = covariance / torch.where(defined, power, 1.0).sqrt()
    return torch.where(defined, correlation, both_flat.to(covariance))


def _patches(x: Tensor, reach: int, every: int) -> Tensor:
    """Return the pixels around every n-th one: ``(C, h, w, pixels)``."""
    side = 2 * reach + 1
    return x.unfold(1, side, every).unfold(2, side, every).flatten(3)


def box_mean(x: Tensor, reach: int) -> Tensor:
    """Return the mean over ``2·reach + 1`` pixels along rows and columns, inside the image only.

    Args:
        x: The image, ``(C, H, W)``.
        reach: The number of pixels to each side.

    Returns:
        The means, ``(C, H - 2·reach, W - 2·reach)``.
    """
    side = 2 * reach + 1
    for dim in (1, 2):
        x = slide(x, dim, side)
    return x / side**2


def _variance(square: Tensor, mean: Tensor) -> Tensor:
    """Return the variance by the mean square; it is 0 where it is rounding."""
    variance = torch.addcmul(square, mean, mean, value=-1)
    return torch.where(variance > _ROUNDING * torch.finfo(square.dtype).eps * square, variance, 0.0)
