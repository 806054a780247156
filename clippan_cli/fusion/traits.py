"""What a scene tells about itself: how bright, how varied, and how alike each band and PAN are, scale by scale.

A band that is sharper or softer than PAN shows it at the MS scale already: the slope of its finest octave on PAN's
differs from that of the octave below. What a network injects depends on it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from clippan_cli.fusion.moments import Moments
from clippan_cli.networks.network import Context

FEATURES = ("ms", "pan_low", "ms_top", "pan_top", "ms_mid", "pan_mid", "curve_top")
"""Moments that :func:`from_moments` needs."""

_LEAST_SLOPE = 0.1
_SURE_SOFTNESS, _MOST_SOFTNESS = 0.5, 0.8
_TINY = 1e-12


class Traits(NamedTuple):
    """Of each band, over a scene.

    Args:
        mean: ``(B, C)`` in scene units.
        deviation: ``(B, C)`` in scene units.
        pan_mean: ``(B, 1)``, of PAN at MS's resolution.
        pan_deviation: ``(B, 1)``, likewise.
        values: ``(B, C, TRAITS)``: correlation of band and PAN as a whole, in the finest octave and in the one below;
            change of the slope on PAN and change of the band's own contrast against PAN's from the lower to the finest
            octave (logarithms: negative where the band is soft); PAN's own such change; the MTF gain; contrast of band
            and of PAN; how much softer than PAN the band is (half the
            difference of their squared blurs, in PAN pixels²).
    """

    mean: Tensor
    deviation: Tensor
    pan_mean: Tensor
    pan_deviation: Tensor
    values: Tensor


def from_moments(moments: Moments, gains: tuple[float, ...]) -> Traits:
    """From the moments of a whole scene, those of :data:`FEATURES` among them: B is 1."""
    table = torch.as_tensor(moments.only(FEATURES).sums)
    mean, product = [], []
    for band in range(len(gains)):
        at = torch.tensor([band + 1 + len(gains) * i for i in range(len(FEATURES))])
        mean.append(table[0, at] / table[0, 0])
        product.append(table[at][:, at] / table[0, 0])
    return describe(torch.stack(mean)[None], torch.stack(product)[None], torch.tensor([gains]))


def as_context(traits: Traits, pan_low: Tensor, ratio: float) -> Context:
    """As networks take it.

    Args:
        traits: Of the scene.
        pan_low: ``(B, 1, H, W)``, PAN without what the MS bands cannot resolve.
        ratio: PAN pixels in an MS pixel.
    """
    mean, deviation, pan_mean, pan_deviation, values = (value.to(pan_low) for value in traits)
    return Context(pan_low, mean, deviation, pan_mean, pan_deviation, values, ratio)


def from_pixels(features: Tensor, gains: Tensor) -> Traits:
    """From pixels.

    Args:
        features: ``(B, C, 7, h, w)``: what :data:`FEATURES` names.
        gains: ``(B, C)`` MTF gains.
    """
    # In 32 bits the products of small contrasts underflow.
    flat = features.flatten(3).double()
    return describe(flat.mean(3), flat @ flat.mT / flat.shape[3], gains)


def describe(mean: Tensor, product: Tensor, gains: Tensor) -> Traits:
    """From means ``(B, C, 7)`` and mean products ``(B, C, 7, 8)`` of the features, and MTF gains ``(B, C)``."""
    covariance = product - mean[..., :, None] * mean[..., None, :]
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0)
    # What 32-bit floats round is no detail.
    variance = variance + (2e-7 * mean[..., [0, 1, 0, 1, 0, 1, 1]]) ** 2 + _TINY**2
    deviation = variance.sqrt()

    def correlation(first: int) -> Tensor:
        value: Tensor = covariance[..., first, first + 1] / (deviation[..., first] * deviation[..., first + 1])
        return value.clamp(-1, 1)

    contrast = deviation.log()
    own = (contrast[..., 2] - contrast[..., 4]) - (contrast[..., 3] - contrast[..., 5])
    whole, top, mid = correlation(0), correlation(2), correlation(4)
    slope = own + top.abs().clamp(min=0.1).log() - mid.abs().clamp(min=0.1).log()
    softness = _softness(covariance)
    # No ground is so much softer than PAN: then the stated MTF is wrong, and the product shall be as sharp as PAN.
    believed = ((_MOST_SOFTNESS - softness) / (_MOST_SOFTNESS - _SURE_SOFTNESS)).clamp(0, 1)
    coefficient = [(contrast[..., i] - mean[..., i].abs().clamp(min=_TINY).log()) for i in (0, 1)]
    values = [
        whole,
        top,
        mid,
        15 * slope.clamp(-0.2, 0.2) * believed,
        10 * own.clamp(-0.3, 0.3) * believed,
        (contrast[..., 3] - contrast[..., 5]).clamp(-2, 2),
        gains.to(mean).clamp(min=0.01).log() - math.log(0.3),
        coefficient[0].clamp(-4, 2) / 2,
        coefficient[1].clamp(-4, 2) / 2,
        5 * softness.clamp(-0.5, 0.5) * believed,
    ]
    return Traits(
        mean[..., 0],
        deviation[..., 0],
        mean[..., 1].mean(-1, keepdim=True),
        deviation[..., 1].mean(-1, keepdim=True),
        torch.stack(values, -1),
    )


def _softness(covariance: Tensor) -> Tensor:
    """The band's finest octave regressed on PAN's and on that of PAN's curvature, both as the band would see them.

    A softer band is PAN plus a multiple of its curvature (the heat equation). The curvature is taken at PAN's
    resolution, so that what the MS grid aliases tells as well.
    """
    band, fine, curve = 2, 3, 6
    ff, fc, cc = covariance[..., fine, fine], covariance[..., fine, curve], covariance[..., curve, curve]
    bf, bc = covariance[..., band, fine], covariance[..., band, curve]
    slope, bend = bf * cc - bc * fc, bc * ff - bf * fc
    least = (_LEAST_SLOPE * cc) ** 2 * ff * covariance[..., band, band]
    return bend * slope / (slope * slope + least + _TINY**4)
