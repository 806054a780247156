"""Q2n: the quality of all bands at once, each pixel taken as one hypercomplex number."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from clippan_cli.metrics.blocks import BLOCK, Blocks
from clippan_cli.metrics.reference import safe_sqrt

_CONSTANT = 0.05


def q2n(fused: Tensor, truth: Tensor, block: int = BLOCK) -> Tensor:
    """Return the hypercomplex quality index (Garzelli and Nencini 2009), a mean over distinct blocks; 1 is perfect.

    DLPan rounds both images to whole numbers first; here they are taken as they are, so that the index does not depend
    on the unit. On digital numbers the two agree to the fifth digit.

    Args:
        fused: The fused image ``(C, H, W)``.
        truth: The true image ``(C, H, W)``.
        block: The side of a block in pixels; what lies beyond the last whole one is left out.

    Raises:
        ValueError: The images are smaller than a block.
    """
    if min(truth.shape[1:]) < block:
        raise ValueError(f"images of {tuple(truth.shape[1:])} are smaller than a block of {block}")
    return q2n_map(fused, truth, block).mean()


def q2n_map(fused: Tensor, truth: Tensor, block: int = BLOCK) -> Tensor:
    """Return Q2n of each whole block: ``(rows, cols)``.

    Args:
        fused: The fused image ``(C, H, W)``.
        truth: The true image ``(C, H, W)``.
        block: The side of a block in pixels.
    """
    return quality_of_all(Blocks(fused, block), Blocks(truth, block))


def quality_of_all(ours: Blocks, known: Blocks) -> Tensor:
    """Return Q2n of all planes together, block by block: ``(rows, cols)``.

    Both images are normalised by the mean and the deviation of each band of the truth; mean, variance and covariance of
    the hypercomplex numbers then follow from those of the bands, since their product is bilinear.

    Args:
        ours: The blocks of the fused image.
        known: The blocks of the truth.
    """
    bands = len(known)
    signs = _conjugation(bands).to(known.mean)
    constant = known.variance == 0
    bright = known.mean.abs().mean(0)
    # A band that is constant in the truth (saturated cloud, still water, a dead band) is measured by a part of the
    # block's mean: by its own deviation, which is none, the least rounding would outweigh all other bands.
    allowed = torch.where(bright > 0, _CONSTANT * bright, 1.0)
    spread = torch.where(constant, allowed**2, known.variance).sqrt()
    moved = (ours.mean - known.mean) / spread + 1
    rows, cols = zip(*product(range(bands), range(bands)), strict=True)
    scale = (signs / spread)[list(cols)] / spread[list(rows)]
    covariance = torch.tensordot(_units(bands).to(known.mean), known.covariances(rows, ours, cols) * scale, 1)
    variance = ((known.variance + ours.variance) / spread**2).sum(0)
    # After the normalisation the truth's mean is 1 in every component, those of empty bands up to 2^n included.
    square_first, square_second = len(covariance), (moved**2).sum(0) + len(covariance) - bands
    means = 2 * (square_first * square_second).sqrt() / (square_first + square_second)
    flat = constant.all(0)
    contrast = torch.where(flat, 1 / (1 + variance), 2 * _norm(covariance) / torch.where(flat, 1.0, variance))
    return contrast * means


def hypercomplex_product(u: Tensor, v: Tensor) -> Tensor:
    """Return the Cayley-Dickson product along the first dimension, of 1, 2, 4, 8 … components."""
    half = u.shape[0] // 2
    if half == 0:
        return u * v
    a, b, c, d = u[:half], u[half:], v[:half], v[half:]
    if half == 1:
        return torch.cat([a * c - b * d, a * d + b * c])
    left = hypercomplex_product(a, c) - hypercomplex_product(_conjugate(d), b)
    right = hypercomplex_product(_conjugate(a), _conjugate(d)) + hypercomplex_product(c, _conjugate(b))
    return torch.cat([left, right])


def _conjugate(u: Tensor) -> Tensor:
    return torch.cat([u[:1], -u[1:]])


def _conjugation(bands: int) -> Tensor:
    """Return the sign that conjugation gives each component: ``(C, 1, 1)``."""
    return torch.tensor([1.0, *[-1.0] * (bands - 1)])[:, None, None]


@lru_cache
def _units(bands: int) -> Tensor:
    """Return the signs with which products of components add up to those of the result: ``(2^n, C·C)``."""
    # The cache serves those who want gradients too, whoever comes first.
    with torch.inference_mode(mode=False):
        units = torch.eye(2 ** math.ceil(math.log2(bands)))
        pairs = product(range(bands), range(bands))
        return torch.stack([hypercomplex_product(units[a], units[b]) for a, b in pairs], 1)


def _norm(x: Tensor) -> Tensor:
    """Return the length along the first dimension."""
    return safe_sqrt((x**2).sum(0))
