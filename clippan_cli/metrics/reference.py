"""Indices against a known truth: ERGAS, SAM and Q2n."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def ergas(fused: Tensor, truth: Tensor, ratio: float, valid: Tensor | None = None) -> Tensor:
    """Relative dimensionless global error in synthesis (Wald 2000), in percent; 0 is perfect.

    Args:
        fused: ``(C, H, W)``.
        truth: ``(C, H, W)``; its band means are the reference.
        ratio: PAN pixels in an MS pixel.
        valid: ``(H, W)``, True = counted.
    """
    fused, truth = _flat(fused, valid), _flat(truth, valid)
    error = ((fused - truth) ** 2).mean(1) / truth.mean(1) ** 2
    return 100 / ratio * error.mean().sqrt()


def sam(fused: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean spectral angle in degrees over the pixels whose spectra are not zero; 0 is perfect.

    Args:
        fused: ``(C, H, W)``.
        truth: ``(C, H, W)``.
        valid: ``(H, W)``, True = counted.
    """
    fused, truth = _flat(fused, valid), _flat(truth, valid)
    norms = fused.norm(dim=0) * truth.norm(dim=0)
    seen = norms > 0
    # acos has no gradient at 1; clamping just inside keeps it finite and costs less than 1e-5 degrees.
    edge = 1 - torch.finfo(fused.dtype).eps
    cosine = ((fused * truth).sum(0)[seen] / norms[seen]).clamp(-edge, edge)
    return torch.rad2deg(torch.acos(cosine)).mean()


def q2n(fused: Tensor, truth: Tensor, block: int = 32) -> Tensor:
    """Hypercomplex quality index (Garzelli and Nencini 2009) over distinct blocks; 1 is perfect.

    Give digital numbers: both images are rounded to whole ones, as DLPan does.

    Args:
        fused: ``(C, H, W)``.
        truth: ``(C, H, W)``.
        block: Side of a block in pixels.
    """
    fused, truth = _blocks(_whole(fused), block), _blocks(_whole(truth), block)
    mean = truth.mean(2, keepdim=True)
    spread = truth.std(2, keepdim=True)
    spread = torch.where(spread > 0, spread, torch.finfo(truth.dtype).eps)
    known = mean != 0
    first = torch.where(known, (truth - mean) / spread + 1, truth + 1)
    second = torch.where(known, (fused - mean) / spread + 1, fused + 1)
    return _hypercomplex(first, _conjugate(second)).mean()


def _hypercomplex(first: Tensor, second: Tensor) -> Tensor:
    """|Q| of each block, from ``(components, blocks, pixels)``."""
    pixels = first.shape[2]
    unbias = pixels / (pixels - 1)
    mean_first, mean_second = first.mean(2), second.mean(2)
    covariance = unbias * (_product(first, second).mean(2) - _product(mean_first, mean_second))
    variance = unbias * (
        (first**2).sum(0).mean(1) + (second**2).sum(0).mean(1) - (mean_first**2).sum(0) - (mean_second**2).sum(0)
    )
    norm_first, norm_second = mean_first.norm(dim=0), mean_second.norm(dim=0)
    means = 2 * norm_first * norm_second / (norm_first**2 + norm_second**2)
    flat = variance <= 0
    contrast = torch.where(flat, 1.0, 2 * covariance.norm(dim=0) / torch.where(flat, 1.0, variance))
    quality: Tensor = contrast * means
    return quality


def _product(u: Tensor, v: Tensor) -> Tensor:
    """Cayley-Dickson product along the first dimension."""
    half = u.shape[0] // 2
    if half == 0:
        return u * v
    a, b, c, d = u[:half], u[half:], v[:half], v[half:]
    left = _product(a, c) - _product(_conjugate(d), b)
    right = (
        _product(_conjugate(a), _conjugate(d)) + _product(c, _conjugate(b))
        if half > 1
        else _product(a, d) + _product(c, b)
    )
    return torch.cat([left, right])


def _conjugate(u: Tensor) -> Tensor:
    return torch.cat([u[:1], -u[1:]])


def _whole(x: Tensor) -> Tensor:
    """Round to digital numbers; the gradient passes through."""
    return x + (x.round().clamp(0, 65535) - x).detach()


def _blocks(x: Tensor, block: int) -> Tensor:
    """Cut into blocks, padded by reflection, with zero bands up to a power of two: ``(2^n, blocks, pixels)``."""
    bands, height, width = x.shape
    x = (
        F.pad(x[None], (0, -width % block, 0, -height % block), mode="reflect")[0]
        if height % block or width % block
        else x
    )
    parts = x.unfold(1, block, block).unfold(2, block, block).reshape(bands, -1, block * block)
    components = 2 ** math.ceil(math.log2(bands))
    return F.pad(parts, (0, 0, 0, 0, 0, components - bands))


def _flat(x: Tensor, valid: Tensor | None) -> Tensor:
    return x.flatten(1) if valid is None else x[:, valid]
