"""What a scene tells about itself: how bright, how varied, and how alike each band and PAN are, scale by scale.

Bands that are sharper or softer than PAN show it at the MS scale already: the slope of their finest octave on PAN's
differs from that of the octave below. What a network injects depends on it. A band alone tells little, since its
spectrum may differ from PAN's as well; but all bands went through the same optics, of which something is stated.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.moments import Moments
from clippan_cli.networks.network import Context, Trait
from clippan_cli.physics.operators import curvature, octaves
from clippan_cli.physics.pixels import EVERYWHERE, Validity
from clippan_cli.physics.sampling import Sampling


class Feature(IntEnum):
    """What traits are made from, all on MS's grid: places in each dimension of length 7."""

    MS = 0
    PAN_LOW = 1
    MS_TOP = 2
    PAN_TOP = 3
    MS_MID = 4
    PAN_MID = 5
    CURVE_TOP = 6

    @property
    def image(self) -> Feature:
        """The image that the feature was taken from."""
        return Feature.MS if self in (Feature.MS, Feature.MS_TOP, Feature.MS_MID) else Feature.PAN_LOW


FEATURES = tuple(feature.name.lower() for feature in Feature)
"""The moments that :func:`from_moments` needs, by their names in :class:`Moments`."""

_SCALES = (
    (Feature.MS, Feature.PAN_LOW),
    (Feature.MS_TOP, Feature.PAN_TOP),
    (Feature.MS_MID, Feature.PAN_MID),
)
_LEAST_SLOPE = 0.1
_STATED_ERROR, _UNLIKE_ERROR, _ALIASED = 0.2, 0.5, 0.05
_SURE, _UNSURE, _MOST_OPTICS = 0.25, 0.35, 0.1
_TINY = 1e-12


class Traits(NamedTuple):
    """What is known of each band over a scene.

    Args:
        mean: ``(B, C)``, each band's mean in scene units.
        deviation: ``(B, C)``, each band's standard deviation in scene units.
        pan_mean: ``(B, 1)``, the mean of PAN at MS's resolution.
        pan_deviation: ``(B, 1)``, the standard deviation of PAN at MS's resolution.
        values: ``(B, C, 10)``, each :class:`Trait` of each band.
    """

    mean: Tensor
    deviation: Tensor
    pan_mean: Tensor
    pan_deviation: Tensor
    values: Tensor


def stated_softness(sampling: Sampling) -> float:
    """Return how much softer than PAN the bands are by their stated MTF gains, at one resolution, in PAN pixels²."""
    gains = torch.tensor(sampling.gains)
    return float((math.log(sampling.pan_gain) - gains.log()).mean()) / math.pi**2


def from_moments(moments: Moments, sampling: Sampling) -> Traits:
    """Describe a whole scene by its moments, those of :data:`FEATURES` among them; B is 1."""
    gains = sampling.gains
    table = torch.as_tensor(moments.only(FEATURES).sums)
    mean, product = [], []
    for band in range(len(gains)):
        at = torch.tensor([1 + feature * len(gains) + band for feature in Feature])
        mean.append(table[0, at] / table[0, 0])
        product.append(table[at][:, at] / table[0, 0])
    moment = torch.stack(mean)[None], torch.stack(product)[None]
    stated = stated_softness(sampling)
    found = _softness(*_spread(*moment), stated, moments.count, _ALIASED)
    return describe(*moment, torch.tensor([gains]), *_told(found, stated, max(sampling.ratio)))


def _told(found: Tensor, stated: float, ratio: float) -> tuple[Tensor, Tensor]:
    """Return the softness of the product, and how far it is believed that the lower scale shows it.

    What is farther from what is stated than any ground is an error of the stated MTF, seen at the MS scale. Were PAN's
    pixels seen through the same optics, it would be the same in units of those pixels.
    """
    error = found - stated
    believed = ((_UNSURE - error.abs()) / (_UNSURE - _SURE)).clamp(0, 1)
    optics = (error / ratio**2).clamp(-_MOST_OPTICS, _MOST_OPTICS)
    return stated + believed * error + (1 - believed) * optics, believed


def as_context(traits: Traits, pan_low: Tensor, ratio: float) -> Context:
    """Turn traits into what networks take.

    Args:
        traits: The traits of the scene.
        pan_low: ``(B, 1, H, W)``, PAN without what the MS bands cannot resolve.
        ratio: The number of PAN pixels in an MS pixel, along one axis.
    """
    known = Traits(*(value.to(pan_low) for value in traits))
    return Context(
        pan_low=pan_low,
        mean=known.mean,
        deviation=known.deviation,
        pan_mean=known.pan_mean,
        pan_deviation=known.pan_deviation,
        traits=known.values,
        ratio=ratio,
    )


def stack_features(ms: Tensor, pan_low: Tensor, curve: Tensor, box: Box, valid: Validity = EVERYWHERE) -> Tensor:
    """Stack every :class:`Feature` of the pixels of pairs: ``(B, C, 7, h, w)``.

    Args:
        ms: ``(B, C, h, w)``.
        pan_low: ``(B, h, w)``, PAN on MS's grid.
        curve: ``(B, h, w)``, the curvature of PAN on MS's grid.
        box: Where the pixels lie on that grid.
        valid: ``(1, h, w)``, where pixels are valid.
    """
    ms_top, ms_mid = (octave.view_as(ms) for octave in octaves(ms.flatten(0, 1), box, valid))
    pan_top, pan_mid = octaves(pan_low, box, valid)
    curve_top, _ = octaves(curve, box, valid)
    of_bands = {Feature.MS: ms, Feature.MS_TOP: ms_top, Feature.MS_MID: ms_mid}
    of_pan = {
        Feature.PAN_LOW: pan_low,
        Feature.PAN_TOP: pan_top,
        Feature.PAN_MID: pan_mid,
        Feature.CURVE_TOP: curve_top,
    }
    seen = of_bands | {feature: plane[:, None].expand_as(ms) for feature, plane in of_pan.items()}
    return torch.stack([seen[feature] for feature in Feature], 2)


def from_pixels(features: Tensor, gains: Tensor, softness: Tensor) -> Traits:
    """Describe pairs whose softness is known by their pixels.

    Args:
        features: ``(B, C, 7, h, w)``, as from :func:`stack_features`.
        gains: ``(B, C)``, the MTF gains.
        softness: ``(B,)``, how much softer than PAN the bands are.
    """
    return describe(*_moments(features.flatten(3)), gains, softness, torch.ones_like(softness))


def measured_softness(bands: Tensor, pan: Tensor, valid: Validity, stated: float) -> float:
    """Return how much softer than PAN the bands of a pair on one grid are.

    Args:
        bands: ``(C, H, W)``.
        pan: ``(H, W)``.
        valid: ``(H, W)``, where pixels are valid.
        stated: The softness by the stated gains, as from :func:`stated_softness`.
    """
    box, usable = Box.whole(pan.shape), valid[None]
    features = stack_features(bands[None], pan[None], curvature(pan[None], box, usable), box, usable).flatten(3)
    chosen = features[..., valid.of(pan).flatten()]
    return float(_softness(*_spread(*_moments(chosen)), stated, chosen.shape[-1]))


def _moments(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Return means ``(B, C, 7)`` and mean products ``(B, C, 7, 7)`` of features ``(B, C, 7, N)``."""
    # In 32 bits the products of small contrasts underflow.
    flat = flat.double()
    return flat.mean(3), flat @ flat.mT / flat.shape[3]


def _spread(mean: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """Return covariances ``(B, C, 7, 7)`` and standard deviations ``(B, C, 7)``."""
    covariance = product - mean[..., :, None] * mean[..., None, :]
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0)
    level = mean[..., [feature.image for feature in Feature]]
    # What 32-bit floats round is no detail.
    variance = variance + (2e-7 * level) ** 2 + _TINY**2
    return covariance, variance.sqrt()


def describe(mean: Tensor, product: Tensor, gains: Tensor, softness: Tensor, believed: Tensor) -> Traits:
    """Work out traits from the moments of the features.

    Args:
        mean: ``(B, C, 7)``, the mean of each :class:`Feature`.
        product: ``(B, C, 7, 7)``, the mean products of each two.
        gains: ``(B, C)``, the MTF gains.
        softness: ``(B,)``, how much softer than PAN the bands are.
        believed: ``(B,)``, 1 where the octaves of the MS scale show it, 0 where they show an error of the MTF.
    """
    covariance, deviation = _spread(mean, product)
    whole, top, mid = (_correlation(covariance, deviation, *pair) for pair in _SCALES)
    contrast = deviation.log()
    pan_change = contrast[..., Feature.PAN_TOP] - contrast[..., Feature.PAN_MID]
    own = (contrast[..., Feature.MS_TOP] - contrast[..., Feature.MS_MID]) - pan_change
    slope = own + top.abs().clamp(min=0.1).log() - mid.abs().clamp(min=0.1).log()
    relative = contrast - mean.abs().clamp(min=_TINY).log()
    sure = believed.to(mean)[:, None]
    values = {
        Trait.CORRELATION: whole,
        Trait.TOP_CORRELATION: top,
        Trait.MID_CORRELATION: mid,
        Trait.SLOPE_CHANGE: 15 * slope.clamp(-0.2, 0.2) * sure,
        Trait.CONTRAST_CHANGE: 10 * own.clamp(-0.3, 0.3) * sure,
        Trait.PAN_CONTRAST_CHANGE: pan_change.clamp(-2, 2),
        Trait.MTF_GAIN: gains.to(mean).clamp(min=0.01).log() - math.log(0.3),
        Trait.CONTRAST: relative[..., Feature.MS].clamp(-4, 2) / 2,
        Trait.PAN_CONTRAST: relative[..., Feature.PAN_LOW].clamp(-4, 2) / 2,
        Trait.SOFTNESS: 8 * softness.to(mean)[:, None].expand_as(own).clamp(-0.5, 0.5),
    }
    return Traits(
        mean=mean[..., Feature.MS],
        deviation=deviation[..., Feature.MS],
        pan_mean=mean[..., Feature.PAN_LOW].mean(-1, keepdim=True),
        pan_deviation=deviation[..., Feature.PAN_LOW].mean(-1, keepdim=True),
        values=torch.stack([values[trait] for trait in Trait], -1),
    )


def _correlation(covariance: Tensor, deviation: Tensor, one: Feature, other: Feature) -> Tensor:
    """Correlate two features of each band: ``(B, C)``."""
    return (covariance[..., one, other] / (deviation[..., one] * deviation[..., other])).clamp(-1, 1)


def _softness(covariance: Tensor, deviation: Tensor, stated: float, count: int, aliased: float = 0.0) -> Tensor:
    """Join what is stated and what the bands tell, each with the weight that its error leaves it: ``(B,)``.

    A softer band is PAN plus a multiple of its curvature (the heat equation): its finest octave is regressed on PAN's
    and on that of PAN's curvature, both as the band would see them. The curvature is taken at PAN's resolution, so that
    what the MS grid aliases tells as well. What a band shows and PAN does not is ground in another light: it misleads
    however many pixels there are. What MS aliases looks sharp: by about ``aliased``, on simulated pairs.
    """
    band, fine, curve = Feature.MS_TOP, Feature.PAN_TOP, Feature.CURVE_TOP
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
