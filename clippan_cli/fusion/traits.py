"""What a scene tells about itself: how bright, how varied, and how alike each band and PAN are, scale by scale.

Bands that are sharper or softer than PAN show it at the MS scale already: the slope of their finest octave on PAN's
differs from that of the octave below. What a network injects depends on it. A band alone tells little, since its
spectrum may differ from PAN's as well; but all bands went through the same optics, of which something is stated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.moments import Moments
from clippan_cli.networks.network import Context
from clippan_cli.physics.operators import curvature, octaves
from clippan_cli.physics.sampling import Sampling

FEATURES = ("ms", "pan_low", "ms_top", "pan_top", "ms_mid", "pan_mid", "curve_top")
"""Moments that :func:`from_moments` needs."""

_LEAST_SLOPE = 0.1
_STATED_ERROR, _UNLIKE_ERROR, _ALIASED = 0.2, 0.5, 0.05
_SURE, _UNSURE, _MOST_OPTICS = 0.25, 0.35, 0.1
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
            and of PAN; how much softer than PAN the bands are (half the difference of squared blurs, in PAN pixels²),
            the same for all.
    """

    mean: Tensor
    deviation: Tensor
    pan_mean: Tensor
    pan_deviation: Tensor
    values: Tensor


def stated_softness(sampling: Sampling) -> float:
    """How much softer than PAN the bands are by their stated MTF gains, at one resolution, in PAN pixels²."""
    gains = torch.tensor(sampling.gains)
    return float((math.log(sampling.pan_gain) - gains.log()).mean()) / math.pi**2


def from_moments(moments: Moments, sampling: Sampling) -> Traits:
    """From the moments of a whole scene, those of :data:`FEATURES` among them: B is 1."""
    gains = sampling.gains
    table = torch.as_tensor(moments.only(FEATURES).sums)
    mean, product = [], []
    for band in range(len(gains)):
        at = torch.tensor([band + 1 + len(gains) * i for i in range(len(FEATURES))])
        mean.append(table[0, at] / table[0, 0])
        product.append(table[at][:, at] / table[0, 0])
    moment = torch.stack(mean)[None], torch.stack(product)[None]
    stated = stated_softness(sampling)
    found = _softness(*_spread(*moment), stated, moments.count, _ALIASED)
    return describe(*moment, torch.tensor([gains]), *_told(found, stated, max(sampling.ratio)))


def _told(found: Tensor, stated: float, ratio: float) -> tuple[Tensor, Tensor]:
    """Softness of the product, and how far it is believed that the lower scale shows it.

    What is farther from what is stated than any ground is an error of the stated MTF, seen at the MS scale. Were PAN's
    pixels seen through the same optics, it would be the same in units of those pixels.
    """
    error = found - stated
    believed = ((_UNSURE - error.abs()) / (_UNSURE - _SURE)).clamp(0, 1)
    optics = (error / ratio**2).clamp(-_MOST_OPTICS, _MOST_OPTICS)
    return stated + believed * error + (1 - believed) * optics, believed


def as_context(traits: Traits, pan_low: Tensor, ratio: float) -> Context:
    """As networks take it.

    Args:
        traits: Of the scene.
        pan_low: ``(B, 1, H, W)``, PAN without what the MS bands cannot resolve.
        ratio: PAN pixels in an MS pixel.
    """
    mean, deviation, pan_mean, pan_deviation, values = (value.to(pan_low) for value in traits)
    return Context(pan_low, mean, deviation, pan_mean, pan_deviation, values, ratio)


def from_pixels(features: Tensor, gains: Tensor, softness: Tensor) -> Traits:
    """From pixels of a pair whose softness is known.

    Args:
        features: ``(B, C, 7, h, w)``: what :data:`FEATURES` names.
        gains: ``(B, C)`` MTF gains.
        softness: ``(B,)``, how much softer than PAN the bands are.
    """
    return describe(*_moments(features.flatten(3)), gains, softness, torch.ones_like(softness))


def measured_softness(bands: Tensor, pan: Tensor, valid: Tensor | None, stated: float) -> float:
    """How much softer than PAN the bands of a pair on one grid are.

    Args:
        bands: ``(C, H, W)``.
        pan: ``(H, W)``.
        valid: ``(H, W)``; None where all are valid.
        stated: As from :func:`stated_softness`.
    """
    box, usable = Box.whole(pan.shape), None if valid is None else valid[None]
    top, mid = octaves(bands, box, usable)
    bent = curvature(pan[None], box, usable)
    pans = pan[None], *octaves(pan[None], box, usable), octaves(bent, box, usable)[0]
    low, pan_top, pan_mid, curve_top = (x.expand_as(bands) for x in pans)
    features = torch.stack([bands, low, top, pan_top, mid, pan_mid, curve_top], 1).flatten(2)
    chosen = features if valid is None else features[..., valid.flatten()]
    return float(_softness(*_spread(*_moments(chosen[None])), stated, chosen.shape[-1]))


def _moments(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Means ``(B, C, 7)`` and mean products ``(B, C, 7, 7)`` of features ``(B, C, 7, N)``."""
    # In 32 bits the products of small contrasts underflow.
    flat = flat.double()
    return flat.mean(3), flat @ flat.mT / flat.shape[3]


def _spread(mean: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """Covariances ``(B, C, 7, 7)`` and standard deviations ``(B, C, 7)``."""
    covariance = product - mean[..., :, None] * mean[..., None, :]
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0)
    # What 32-bit floats round is no detail.
    variance = variance + (2e-7 * mean[..., [0, 1, 0, 1, 0, 1, 1]]) ** 2 + _TINY**2
    return covariance, variance.sqrt()


def describe(mean: Tensor, product: Tensor, gains: Tensor, softness: Tensor, believed: Tensor) -> Traits:
    """From the moments of the features.

    Args:
        mean: ``(B, C, 7)``.
        product: ``(B, C, 7, 7)``.
        gains: ``(B, C)`` MTF gains.
        softness: ``(B,)``, how much softer than PAN the bands are.
        believed: ``(B,)``, 1 where the octaves of the MS scale show it, 0 where they show an error of the MTF.
    """
    covariance, deviation = _spread(mean, product)

    def correlation(first: int) -> Tensor:
        value: Tensor = covariance[..., first, first + 1] / (deviation[..., first] * deviation[..., first + 1])
        return value.clamp(-1, 1)

    contrast = deviation.log()
    own = (contrast[..., 2] - contrast[..., 4]) - (contrast[..., 3] - contrast[..., 5])
    whole, top, mid = correlation(0), correlation(2), correlation(4)
    slope = own + top.abs().clamp(min=0.1).log() - mid.abs().clamp(min=0.1).log()
    softness = softness.to(mean)[:, None].expand_as(own)
    believed = believed.to(mean)[:, None]
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
        8 * softness.clamp(-0.5, 0.5),
    ]
    return Traits(
        mean[..., 0],
        deviation[..., 0],
        mean[..., 1].mean(-1, keepdim=True),
        deviation[..., 1].mean(-1, keepdim=True),
        torch.stack(values, -1),
    )


def _softness(covariance: Tensor, deviation: Tensor, stated: float, count: int, aliased: float = 0.0) -> Tensor:
    """What is stated and what the bands tell, each with the weight that its error leaves it: ``(B,)``.

    A softer band is PAN plus a multiple of its curvature (the heat equation): its finest octave is regressed on PAN's
    and on that of PAN's curvature, both as the band would see them. The curvature is taken at PAN's resolution, so that
    what the MS grid aliases tells as well. What a band shows and PAN does not is ground in another light: it misleads
    however many pixels there are. What MS aliases looks sharp: by about ``aliased``, on simulated pairs.
    """
    band, fine, curve = 2, 3, 6
    alike = covariance / (deviation[..., :, None] * deviation[..., None, :])
    bf, bc, fc = alike[..., band, fine], alike[..., band, curve], alike[..., fine, curve]
    unit = deviation[..., fine] / deviation[..., curve]
    slope, bend, apart = bf - bc * fc, bc - bf * fc, (1 - fc * fc).clamp(min=_TINY)
    told = ((slope * bf + bend * bc) / apart).clamp(_TINY, 1 - _TINY)
    least = slope * slope + _LEAST_SLOPE**2
    found = unit * bend * slope / least + aliased
    error = unit**2 * (1 - told) * apart / (count * least) + _UNLIKE_ERROR**2 * (1 - told) / told
    weight, prior = 1 / error, _STATED_ERROR**-2
    return (prior * stated + (weight * found).sum(-1)) / (prior + weight.sum(-1))
