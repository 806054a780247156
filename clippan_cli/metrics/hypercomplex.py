"""Q2n: the quality of all bands at once, each pixel taken as one hypercomplex number."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from clippan_cli.metrics.blocks import BLOCK, Blocks


def q2n(fused: Tensor, truth: Tensor, block: int = BLOCK) -> Tensor:
    """Hypercomplex quality index (Garzelli and Nencini 2009), the mean over distinct blocks; 1 is perfect.

    DLPan rounds both images to whole numbers first; here they are taken as they are, so that the index does not depend
    on the unit. On digital numbers the two agree to the fifth digit.

    Args:
        fused: ``(C, H, W)``.
        truth: ``(C, H, W)``.
        block: Side of a block in pixels; what lies beyond the last whole one is left out.
    """
    return q2n_map(fused, truth, block).mean()


def q2n_map(fused: Tensor, truth: Tensor, block: int = BLOCK) -> Tensor:
    """Q2n of each whole block: ``(rows, cols)``.

    Both images are normalised by the mean and the deviation of each band of ``truth``; mean, variance and covariance of
    the hypercomplex numbers then follow from those of the bands, since their product is bilinear.

    Args:
        fused: ``(C, H, W)``.
        truth: ``(C, H, W)``.
        block: Side of a block in pixels.
    """
    ours, known = Blocks(fused, block), Blocks(truth, block)
    bands = len(known)
    signs = _conjugation(bands).to(truth)
    known_zero = known.mean == 0
    spread = torch.where(known_zero, 1.0, known.variance.sqrt().clamp(min=torch.finfo(truth.dtype).eps))
    origin = torch.where(known_zero, 0.0, known.mean)
    first = torch.where(known_zero, known.mean, 0.0) + 1
    second = signs * ((ours.mean - origin) / spread + 1)
    product = _product_table(bands)
    covariance = [torch.zeros_like(spread[0]) for _ in range(len(product[0][0]))]
    for a in range(bands):
        for b in range(bands):
            part = known.covariance(a, ours, b) / (spread[a] * spread[b]) * signs[b, 0, 0]
            component, sign = _target(product, a, b)
            covariance[component] = covariance[component] + sign * part
    variance = ((known.variance + ours.variance) / spread**2).sum(0)
    # Bands up to the next power of two are empty: after the normalisation they are 1.
    empty = len(covariance) - bands
    square_first, square_second = (first**2).sum(0) + empty, (second**2).sum(0) + empty
    means = 2 * (square_first * square_second).sqrt() / (square_first + square_second)
    flat = variance == 0
    modulus = _norm(torch.stack(covariance))
    contrast = torch.where(flat, 1.0, 2 * modulus / torch.where(flat, 1.0, variance))
    return contrast * means


def hypercomplex_product(u: Tensor, v: Tensor) -> Tensor:
    """Cayley-Dickson product along the first dimension, of 1, 2, 4, 8 … components."""
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
    """The sign that conjugation gives each component: ``(C, 1, 1)``."""
    return torch.tensor([1.0, *[-1.0] * (bands - 1)])[:, None, None]


@lru_cache
def _product_table(bands: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The products of the unit components with one another, each a signed unit."""
    size = 2 ** math.ceil(math.log2(bands))
    units = torch.eye(size)
    return tuple(
        tuple(tuple(int(value) for value in hypercomplex_product(units[a], units[b])) for b in range(size))
        for a in range(size)
    )


def _target(table: tuple[tuple[tuple[int, ...], ...], ...], a: int, b: int) -> tuple[int, int]:
    """The component that the product of units ``a`` and ``b`` is, and its sign."""
    return next((component, sign) for component, sign in enumerate(table[a][b]) if sign)


def _norm(x: Tensor) -> Tensor:
    """Length along the first dimension; its gradient is finite at 0."""
    square = (x**2).sum(0)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())
