"""An image as a satellite would have seen it: pairs with a truth, each sample and band with optics of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clippan_cli.physics.sampling import TRUNCATION


def soften(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur images by Gaussians.

    Args:
        x: The images, ``(..., H, W)``.
        sigma: The standard deviation in pixels, of both axes ``(...)``, or of rows and columns ``(..., 2)``.
    """
    sigma = sigma if sigma.ndim == x.ndim - 1 else sigma[..., None].expand(*sigma.shape, 2)
    return _sampled(x, sigma.clamp(min=1e-3), (1.0, 1.0), torch.zeros_like(sigma), (x.shape[-2], x.shape[-1]))


def degrade(x: Tensor, ratio: float, phase: Tensor, gain: Tensor, shape: tuple[int, int]) -> Tensor:
    """Blur images by the MTF and decimate them.

    Args:
        x: The images, ``(..., H, W)``.
        ratio: The number of pixels of ``x`` in one of the result.
        phase: The centre of the result's first pixel in pixels of ``x``, ``(..., 2)``.
        gain: The MTF gain at the result's Nyquist frequency, of rows and columns, ``(..., 2)``.
        shape: The height and width of the result.

    Returns:
        The images, ``(..., h, w)``.
    """
    sigma = ratio * (-2 * gain.log()).sqrt() / math.pi
    return _sampled(x, sigma, (ratio, ratio), phase, shape)


def _sampled(x: Tensor, sigma: Tensor, ratio: tuple[float, float], phase: Tensor, shape: tuple[int, int]) -> Tensor:
    rows = _matrix(sigma[..., 0], ratio[0], phase[..., 0], x.shape[-2], shape[0])
    cols = _matrix(sigma[..., 1], ratio[1], phase[..., 1], x.shape[-1], shape[1])
    return rows @ x @ cols.mT


def _matrix(sigma: Tensor, ratio: float, phase: Tensor, fine: int, coarse: int) -> Tensor:
    """Return Gaussians at the centres of the coarse pixels, normalised: ``(..., coarse, fine)``."""
    centre = phase[..., None] + ratio * torch.arange(coarse, device=phase.device)
    offset = (torch.arange(fine, device=phase.device) - centre[..., None]) / sigma[..., None, None]
    weight = torch.where(offset.abs() <= TRUNCATION, (-0.5 * offset**2).exp(), 0)
    return weight / weight.sum(-1, keepdim=True).clamp(min=1e-12)
