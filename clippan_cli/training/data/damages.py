"""Fusions spoilt as fusions fail, by known amounts, in units of physics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.physics.simulation import soften
from clippan_cli.training.data.draw import Draw

_CLEAR = 0.25


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """An image to spoil, and what it was made of.

    Args:
        image: ``(C, H, W)``, the fused image.
        ms_up: ``(C, H, W)``, the interpolated MS.
        pan: ``(H, W)``, PAN.
        deviation: ``(C, 1, 1)``, the standard deviation of each band.
        ratio: The PAN pixels along an MS pixel.
    """

    image: Tensor
    ms_up: Tensor
    pan: Tensor
    deviation: Tensor
    ratio: float

    @property
    def detail(self) -> Tensor:
        """What the image has beyond MS."""
        return self.image - self.ms_up


@dataclass(frozen=True)
class Damage:
    """What was done to an image.

    Args:
        way: The name of the way, one of :data:`WAYS`.
        amount: How much of it was done, in the unit of the way.
        share: The same as a share of the most that is done.
    """

    way: str
    amount: float
    share: float

    @property
    def clear(self) -> bool:
        """Whether anybody would see it."""
        return self.share > _CLEAR


def spoil(fusion: Fusion, draw: Draw) -> tuple[Tensor, Damage]:
    """Spoil a fusion in a random way, by a random amount: ``(C, H, W)``."""
    way = list(WAYS)[draw.below(len(WAYS))]
    least, most, apply = WAYS[way]
    amount = draw.between(least, most)
    return apply(fusion, amount, draw), Damage(way, amount, amount / most)


def _blur(fusion: Fusion, sigma: float, draw: Draw) -> Tensor:
    return _soften(fusion.image, sigma)


def _lack_details(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    return fusion.ms_up + (1 - share) * fusion.detail


def _sharpen_too_much(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    return fusion.image + share * (fusion.image - _soften(fusion.image, draw.uniform(0.7, fusion.ratio / 2)))


def _add_pan(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    detail = fusion.pan - _soften(fusion.pan[None], fusion.ratio / 2)[0]
    return fusion.image + share * detail * (fusion.deviation / fusion.pan.std())


def _change_colours(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    return fusion.image * (share * _signs(fusion, draw)).exp()


def _add_haze(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    return fusion.image + share * fusion.deviation * _signs(fusion, draw)


def _move_details(fusion: Fusion, pixels: float, draw: Draw) -> Tensor:
    return fusion.ms_up + _move(fusion.detail, _direction(pixels * fusion.ratio, draw))


def _move_bands(fusion: Fusion, pixels: float, draw: Draw) -> Tensor:
    return torch.cat([_move(band[None], _direction(pixels * fusion.ratio, draw)) for band in fusion.image])


def _add_noise(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    noise = draw.normal(*fusion.image.shape).to(fusion.image)
    return fusion.image + share * fusion.deviation * noise


def _ring(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    ripple = _soften(fusion.image, 0.25 * fusion.ratio) - _soften(fusion.image, 0.6 * fusion.ratio)
    return fusion.image + share * (ripple - _soften(ripple, 0.6 * fusion.ratio))


def _alias(fusion: Fusion, pixels: float, draw: Draw) -> Tensor:
    step = round(pixels)
    return F.interpolate(fusion.image[None, :, ::step, ::step], fusion.image.shape[-2:], mode="nearest")[0]


def _lose_colours(fusion: Fusion, share: float, draw: Draw) -> Tensor:
    grey, level = fusion.detail.mean(0, keepdim=True), fusion.ms_up.mean(0, keepdim=True)
    own = (fusion.ms_up / level.clamp(min=1e-3)).clamp(0, 4)
    return fusion.ms_up + (1 - share) * fusion.detail + share * grey * own


_Apply = Callable[[Fusion, float, Draw], Tensor]

WAYS: dict[str, tuple[float, float, _Apply]] = {
    "blur": (0.35, 2.5, _blur),
    "details lack": (0.1, 0.9, _lack_details),
    "over-sharpened": (0.08, 1.5, _sharpen_too_much),
    "PAN": (0.08, 1.2, _add_pan),
    "colours": (0.02, 0.4, _change_colours),
    "haze": (0.05, 0.8, _add_haze),
    "details move": (0.05, 1.2, _move_details),
    "bands move": (0.05, 1.0, _move_bands),
    "noise": (0.02, 0.5, _add_noise),
    "ringing": (0.1, 1.2, _ring),
    "blocks": (1.6, 5.4, _alias),
    "grey": (0.1, 0.9, _lose_colours),
}
"""The ways to spoil a fusion: the least and the most of each, and what does it.

Blur is in PAN pixels (σ), movements are in MS pixels, blocks in PAN pixels; all else is a share: of details, of what
sharpening adds, of PAN's contrast, of colours, of a band's contrast.
"""


def _soften(x: Tensor, sigma: float) -> Tensor:
    return soften(x, torch.full((len(x),), sigma).to(x))


def _signs(fusion: Fusion, draw: Draw) -> Tensor:
    """Return 1 or -1 for each band, ``(C, 1, 1)``."""
    return torch.where(draw.rand(len(fusion.image), 1, 1) < 0.5, -1.0, 1.0).to(fusion.image)


def _direction(length: float, draw: Draw) -> tuple[float, float]:
    angle = draw.uniform(0, 2 * math.pi)
    return length * math.sin(angle), length * math.cos(angle)


def _move(x: Tensor, by: tuple[float, float]) -> Tensor:
    """Move ``(C, H, W)`` by so many rows and columns; what leaves on one side comes back on the other."""
    rows, cols = (torch.fft.fftfreq(size, device=x.device) for size in x.shape[-2:])
    turn = torch.exp(-2j * math.pi * (rows[:, None] * by[0] + cols * by[1]))
    moved: Tensor = torch.fft.ifft2(torch.fft.fft2(x) * turn).real
    return moved
