"""Local correlation: does the fused image have the structure of PAN, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

REACH = 2
"""Pixels that the correlation looks to each side: a window of 5 × 5, half an MS pixel at ratio 4."""

_ROUNDING = 8.0


def d_rho(fused: Tensor, pan: Tensor, reach: int = REACH) -> Tensor:
    """Spatial distortion D_ρ (Scarpa and Ciotola 2022): 1 - mean local correlation with PAN; 0 is perfect.

    Args:
        fused: ``(C, H, W)``.
        pan: ``(H, W)``.
        reach: Pixels that the correlation looks to each side.
    """
    return 1 - local_correlation(fused, pan, reach).mean()


def local_correlation(fused: Tensor, pan: Tensor, reach: int = REACH) -> Tensor:
    """Correlation of each band with PAN around each pixel.

    Where both are constant it is 1, where only one is, 0.

    Args:
        fused: ``(C, H, W)``.
        pan: ``(H, W)``.
        reach: Pixels to each side.

    Returns:
        ``(C, H - 2·reach, W - 2·reach)``: pixels whose window lies inside the image.
    """
    # Sums of squares lose digits to the mean: take most of it away first.
    fused = fused - fused.detach().mean((1, 2), keepdim=True)
    pan = (pan - pan.detach().mean())[None]
    mean, mean_pan = box_mean(fused, reach), box_mean(pan, reach)
    variance = _variance(box_mean(fused**2, reach), mean)
    variance_pan = _variance(box_mean(pan**2, reach), mean_pan)
    covariance = box_mean(fused * pan, reach) - mean * mean_pan
    flat = (variance == 0) | (variance_pan == 0)
    both = (variance == 0) & (variance_pan == 0)
    scale = torch.where(flat, 1.0, variance * variance_pan).sqrt()
    return torch.where(flat, both.to(fused), (covariance / scale).clamp(-1, 1))


def box_mean(x: Tensor, reach: int) -> Tensor:
    """Mean over ``2·reach + 1`` pixels along rows and columns, inside the image only."""
    side = 2 * reach + 1
    for dim in (1, 2):
        size = x.shape[dim] - 2 * reach
        total = x.narrow(dim, 0, size) + x.narrow(dim, 1, size)
        for shift in range(2, side):
            total = total + x.narrow(dim, shift, size)
        x = total
    return x / side**2


def _variance(square: Tensor, mean: Tensor) -> Tensor:
    """From the mean square; 0 where it is rounding."""
    variance = square - mean**2
    return torch.where(variance > _ROUNDING * torch.finfo(square.dtype).eps * square, variance, 0.0)
