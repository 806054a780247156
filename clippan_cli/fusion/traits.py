"""What a scene tells about itself: how bright, how varied, and how alike each band and PAN are, scale by scale.

Bands that are sharper or softer than PAN, seen through the optics that are believed, show it at the MS scale: the slope
of their finest octave on PAN's differs from that of the octave below. What a network injects depends on it.
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
from clippan_cli.physics.operators import octaves
from clippan_cli.physics.pixels import EVERYWHERE, Validity
from clippan_cli.physics.sampling import Sampling


class Feature(IntEnum):
    """What traits are made from, all on MS's grid: places in each dimension of length 6."""

    MS = 0
    PAN_LOW = 1
    MS_TOP = 2
    PAN_TOP = 3
    MS_MID = 4
    PAN_MID = 5

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


def from_moments(moments: Moments, sampling: Sampling) -> Traits:
    """Describe a whole scene by its moments, those of :data:`FEATURES` among them; B is 1."""
    gains = sampling.gains
    table = torch.as_tensor(moments.only(FEATURES).sums)
    mean, product = [], []
    for band in range(len(gains)):
        at = torch.tensor([1 + feature * len(gains) + band for feature in Feature])
        mean.append(table[0, at] / table[0, 0])
        product.append(table[at][:, at] / table[0, 0])
    softness = torch.tensor([sampling.told_softness])
    return describe(torch.stack(mean)[None], torch.stack(product)[None], torch.tensor([gains]), softness)


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


def stack_features(ms: Tensor, pan_low: Tensor, box: Box, valid: Validity = EVERYWHERE) -> Tensor:
    """Stack every :class:`Feature` of the pixels of pairs: ``(B, C, 6, h, w)``.

    Args:
        ms: ``(B, C, h, w)``.
        pan_low: ``(B, h, w)``, PAN on MS's grid.
        box: Where the pixels lie on that grid.
        valid: ``(1, h, w)``, where pixels are valid.
    """
    ms_top, ms_mid = (octave.view_as(ms) for octave in octaves(ms.flatten(0, 1), box, valid))
    pan_top, pan_mid = octaves(pan_low, box, valid)
    of_bands = {Feature.MS: ms, Feature.MS_TOP: ms_top, Feature.MS_MID: ms_mid}
    of_pan = {
        Feature.PAN_LOW: pan_low,
        Feature.PAN_TOP: pan_top,
        Feature.PAN_MID: pan_mid,
    }
    seen = of_bands | {feature: plane[:, None].expand_as(ms) for feature, plane in of_pan.items()}
    return torch.stack([seen[feature] for feature in Feature], 2)


def from_pixels(features: Tensor, gains: Tensor, softness: Tensor) -> Traits:
    """Describe pairs whose softness is known by their pixels.

    Args:
        features: ``(B, C, 6, h, w)``, as from :func:`stack_features`.
        gains: ``(B, C)``, the MTF gains.
        softness: ``(B,)``, how much softer than PAN the bands are.
    """
    return describe(*_moments(features.flatten(3)), gains, softness)


def _moments(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Return means ``(B, C, 6)`` and mean products ``(B, C, 6, 6)`` of features ``(B, C, 6, N)``."""
    # In 32 bits the products of small contrasts underflow.
    flat = flat.double()
    return flat.mean(3), flat @ flat.mT / flat.shape[3]


def _spread(mean: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """Return covariances ``(B, C, 6, 6)`` and standard deviations ``(B, C, 6)``."""
    covariance = product - mean[..., :, None] * mean[..., None, :]
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0)
    level = mean[..., [feature.image for feature in Feature]]
    # What 32-bit floats round is no detail.
    variance = variance + (2e-7 * level) ** 2 + _TINY**2
    return covariance, variance.sqrt()


def describe(mean: Tensor, product: Tensor, gains: Tensor, softness: Tensor) -> Traits:
    """Work out traits from the moments of the features.

    Args:
        mean: ``(B, C, 6)``, the mean of each :class:`Feature`.
        product: ``(B, C, 6, 6)``, the mean products of each two.
        gains: ``(B, C)``, the MTF gains.
        softness: ``(B,)``, how much softer than PAN the bands are.
    """
    covariance, deviation = _spread(mean, product)
    whole, top, mid = (_correlation(covariance, deviation, *pair) for pair in _SCALES)
    contrast = deviation.log()
    pan_change = contrast[..., Feature.PAN_TOP] - contrast[..., Feature.PAN_MID]
    own = (contrast[..., Feature.MS_TOP] - contrast[..., Feature.MS_MID]) - pan_change
    slope = own + top.abs().clamp(min=0.1).log() - mid.abs().clamp(min=0.1).log()
    relative = contrast - mean.abs().clamp(min=_TINY).log()
    values = {
        Trait.CORRELATION: whole,
        Trait.TOP_CORRELATION: top,
        Trait.MID_CORRELATION: mid,
        Trait.SLOPE_CHANGE: 15 * slope.clamp(-0.2, 0.2),
        Trait.CONTRAST_CHANGE: 10 * own.clamp(-0.3, 0.3),
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
