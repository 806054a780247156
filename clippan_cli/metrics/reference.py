"""Indices against a known truth: ERGAS, SAM, SCC, PSNR and SSIM (Q2n has a file of its own)."""

from __future__ import annotations

import torch
from torch import Tensor

_SSIM_SIGMA = 1.5
SSIM_REACH = 5
"""The pixels that SSIM looks to each side."""
_K1, _K2 = 0.01, 0.03


def ergas(fused: Tensor, truth: Tensor, ratio: float, valid: Tensor | None = None) -> Tensor:
    """Return the relative dimensionless global error in synthesis (Wald 2000), in percent; 0 is perfect.

    Args:
        fused: The fused image ``(C, H, W)``.
        truth: The true image ``(C, H, W)``; its band means are the reference.
        ratio: The PAN pixels along an MS pixel.
        valid: The mask ``(H, W)``, True where a pixel counts; None for all.
    """
    fused, truth = _flat(fused, valid), _flat(truth, valid)
    return ergas_from(((fused - truth) ** 2).mean(1), truth.mean(1), ratio)


def ergas_from(error: Tensor, mean: Tensor, ratio: float) -> Tensor:
    """Return ERGAS from the mean squared error and the mean truth of each band, both ``(C,)``."""
    return 100 / ratio * safe_sqrt((error / mean**2).mean())


def sam(fused: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean spectral angle in degrees over the pixels whose spectra are not zero; 0 is perfect.

    Args:
        fused: The fused image ``(C, H, W)``.
        truth: The true image ``(C, H, W)``.
        valid: The mask ``(H, W)``, True where a pixel counts; None for all.
    """
    angles, seen = spectral_angles(fused, truth)
    return angles[seen if valid is None else seen & valid].mean()


def spectral_angles(fused: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the angle of each pixel in degrees ``(H, W)``, and where it is defined: neither spectrum is zero."""
    norm, other = (fused**2).sum(0), (truth**2).sum(0)
    seen = (norm > 0) & (other > 0)
    ours = fused / torch.where(seen, norm, 1.0).sqrt()
    # The chord between unit vectors keeps its digits where the cosine, near 1, has lost them.
    square = ((ours - truth / torch.where(seen, other, 1.0).sqrt()) ** 2).sum(0)
    apart = seen & (square > 0)
    half = torch.where(apart, square, 1.0).sqrt() / 2
    return torch.where(apart, torch.rad2deg(2 * torch.asin(half.clamp(max=1 - torch.finfo(half.dtype).eps))), 0.0), seen


def scc(fused: Tensor, truth: Tensor) -> Tensor:
    """Return the spatial correlation (DLPan): the cosine of the Sobel magnitudes of all bands; 1 is perfect.

    Pixels at the image's edge, where the gradient would need a guess, are left out.

    Args:
        fused: The fused image ``(C, H, W)``.
        truth: The true image ``(C, H, W)``.
    """
    ours, theirs = sobel(fused), sobel(truth)
    power = (ours**2).sum() * (theirs**2).sum()
    return (ours * theirs).sum() / torch.where(power > 0, power, 1.0).sqrt()


def sobel(x: Tensor) -> Tensor:
    """Return the gradient's magnitude: ``(C, H, W)`` to ``(C, H - 2, W - 2)``."""
    rows = x[:, 2:] - x[:, :-2]
    cols = x[:, :, 2:] - x[:, :, :-2]
    down = rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    right = cols[:, :-2] + 2 * cols[:, 1:-1] + cols[:, 2:]
    return safe_sqrt(down**2 + right**2)


def safe_sqrt(x: Tensor) -> Tensor:
    """Return the root, with a gradient of 0 instead of infinity at 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).sqrt())


def mpsnr(fused: Tensor, truth: Tensor, peak: float) -> Tensor:
    """Return the mean over the bands of the peak signal-to-noise ratio, in decibels.

    Args:
        fused: The fused image ``(C, H, W)``.
        truth: The true image ``(C, H, W)``.
        peak: The highest value that a pixel can have.
    """
    return mpsnr_from(((fused - truth) ** 2).flatten(1).mean(1), peak)


def mpsnr_from(error: Tensor, peak: float) -> Tensor:
    """Return MPSNR from the mean squared error of each band, ``(C,)``; infinite, and no loss, where there is none."""
    return (10 * torch.log10(peak**2 / error)).mean()


def ssim(fused: Tensor, truth: Tensor, peak: float) -> Tensor:
    """Return the mean structural similarity (Wang et al. 2004); 1 is perfect.

    Args:
        fused: The fused image ``(C, H, W)``.
        truth: The true image ``(C, H, W)``.
        peak: The highest value that a pixel can have.
    """
    return ssim_map(fused, truth, peak).mean()


def ssim_map(fused: Tensor, truth: Tensor, peak: float) -> Tensor:
    """Return the structural similarity in a Gaussian window of 11 × 11: ``(C, H, W)`` to ``(C, H - 10, W - 10)``."""
    mean, other = _gaussian(fused), _gaussian(truth)
    variance, other_variance = _gaussian(fused**2) - mean**2, _gaussian(truth**2) - other**2
    covariance = _gaussian(fused * truth) - mean * other
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    light = (2 * mean * other + c1) / (mean**2 + other**2 + c1)
    return light * (2 * covariance + c2) / (variance + other_variance + c2)


def _gaussian(x: Tensor) -> Tensor:
    """Return the weighted mean around each pixel whose window lies inside the image."""
    taps = torch.exp(-0.5 * (torch.arange(-SSIM_REACH, SSIM_REACH + 1) / _SSIM_SIGMA) ** 2)
    taps = taps / taps.sum()
    for dim in (1, 2):
        size = x.shape[dim] - 2 * SSIM_REACH
        total = x.narrow(dim, 0, size) * float(taps[0])
        for shift, tap in enumerate(taps[1:].tolist(), 1):
            total = total + x.narrow(dim, shift, size) * tap
        x = total
    return x


def _flat(x: Tensor, valid: Tensor | None) -> Tensor:
    return x.flatten(1) if valid is None else x[:, valid]
