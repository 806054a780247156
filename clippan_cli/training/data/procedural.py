"""Images made from nothing: opaque shapes of textured materials and their shadows, as ground looks from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.training.data.draw import Draw

_SHAPES = 500
_SMALLEST, _LARGEST = 2.5, 90.0
_COVERING = 30
_MATERIALS = 12
_PLANTS = 4
_ELLIPSE, _ROOF, _ROAD = 0, 2, 3


def procedural(bands: int, side: int, draw: Draw) -> Tensor:
    """One image.

    Shapes (ellipses, slabs, roofs, roads) are laid over one another, small ones last, so that their sizes follow the
    power law of natural scenes; each is of a material with a spectrum and a texture of its own, some with a gradient,
    and many cast a shadow, all to the same side; then comes shade.

    Args:
        bands: Spectral bands.
        side: Height and width in pixels.
        draw: All randomness.

    Returns:
        ``(bands, side, side)``, positive.
    """
    spectra = _spectra(bands, draw)
    image = spectra[0][:, None, None] * _texture(side, 2.0, 0.2, draw)
    fine = draw.normal(side, side)
    grains = fine, _clumped(fine)
    own = draw.normal(bands, side, side)
    sun = draw.uniform(0, 2 * math.pi)
    dark = draw.uniform(0.1, 0.6) * (0.3 * draw.normal(bands)).exp()
    for size in _sizes(draw):
        shape = _shape(float(size), side, draw)
        if shape.kind != _ROAD and draw.chance(0.5):
            length = draw.uniform(0.2, 1.2) * shape.short
            _shadow(image, shape.moved(length * math.sin(sun), length * math.cos(sun)), dark)
        _paint(image, shape, spectra[draw.below(_MATERIALS)], grains[draw.below(2)], own, draw)
    shade = _texture(side, 2.5, 0.12, draw)
    return (image * shade).clamp(min=1e-3)


def _spectra(bands: int, draw: Draw) -> Tensor:
    """Smooth random spectra ``(materials, bands)``: neighbouring bands are alike, but for the red edge of plants."""
    walk = draw.normal(_MATERIALS, bands) * draw.uniform(0.08, 0.35)
    level = draw.normal(_MATERIALS, 1) * 0.5
    spectra = 0.25 * (level + walk.cumsum(1) - walk.sum(1, keepdim=True) / 2).exp()
    edge = 1 + draw.below(max(1, bands - 1))
    plants = (draw.order(_MATERIALS) < _PLANTS)[:, None] & (torch.arange(bands) >= edge)
    return torch.where(plants, spectra * (1 + 5 * draw.rand(_MATERIALS, 1)), spectra).clamp(0.02, 2.0)


def _sizes(draw: Draw) -> Tensor:
    """Radii of density r⁻³ between the smallest and the largest, the large ones first."""
    share = draw.rand(_SHAPES)
    small, large = _SMALLEST**-2, _LARGEST**-2
    rest = (small + share * (large - small)) ** -0.5
    cover = draw.uniform(20, _LARGEST) * draw.rand(_COVERING).add(0.3)
    return torch.cat([cover, rest]).sort(descending=True).values


@dataclass(frozen=True)
class _Shape:
    """Where something lies: its kind, how it is turned, its half axes, its middle."""

    kind: int
    turn: float
    long: float
    short: float
    middle: tuple[float, float]

    def moved(self, rows: float, cols: float) -> _Shape:
        return _Shape(self.kind, self.turn, self.long, self.short, (self.middle[0] + rows, self.middle[1] + cols))

    def seen(self, side: int) -> tuple[tuple[slice, slice], Tensor, Tensor, Tensor] | None:
        """A window, the place in the shape (-1 to 1 on each axis), the share that it covers: its edge is 1 px."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        reach = [abs(self.long * a) + abs(self.short * b) + 2 for a, b in ((sin, cos), (cos, sin))]
        spans = [(max(0, int(m - r)), min(side, int(m + r) + 2)) for m, r in zip(self.middle, reach, strict=True)]
        if any(stop <= start for start, stop in spans):
            return None
        y = torch.arange(*spans[0])[:, None] - self.middle[0]
        x = torch.arange(*spans[1])[None, :] - self.middle[1]
        along = (cos * x + sin * y) / self.long
        across = (cos * y - sin * x) / self.short
        round_ = self.kind == _ELLIPSE
        distance = torch.hypot(along, across) if round_ else torch.maximum(along.abs(), across.abs())
        return (slice(*spans[0]), slice(*spans[1])), along, across, ((1 - distance) * self.short + 0.5).clamp(0, 1)


def _shape(size: float, side: int, draw: Draw) -> _Shape:
    kind, turn = draw.below(3), draw.uniform(0, math.pi)
    kind = _ROAD if draw.below(20) == 0 else kind
    long, short = (side * 0.8, max(0.7, size * 0.08)) if kind == _ROAD else (size, size * draw.uniform(0.35, 1.0))
    row, col = (draw.rand(2) * side).tolist()
    return _Shape(kind, turn, long, short, (row, col))


def _shadow(image: Tensor, shape: _Shape, dark: Tensor) -> None:
    """Darken where a shape's shadow falls; ``dark`` is what is left of the light in each band."""
    if (seen := shape.seen(image.shape[-1])) is not None:
        place, _, _, cover = seen
        image[(slice(None), *place)] *= 1 - cover * (1 - dark.clamp(0.05, 0.9)[:, None, None])


def _paint(image: Tensor, shape: _Shape, spectrum: Tensor, grain: Tensor, own: Tensor, draw: Draw) -> None:
    """Lay one shape of a material; ``grain`` is noise that all bands share, ``own`` that of each."""
    if (seen := shape.seen(image.shape[-1])) is None:
        return
    place, along, across, cover = seen
    light = 1 + draw.uniform(0, 0.25) * grain[place]
    if shape.long > 8 and shape.kind != _ROAD:
        waves = along * draw.uniform(2, 3 * shape.long / 8) + across * draw.uniform(0, 3)
        light = light * (1 + draw.uniform(-0.15, 0.15) * (math.pi * waves).sin())
    light = light * (1 + draw.uniform(-0.35, 0.35) * across.clamp(-1, 1))
    if shape.kind == _ROOF:
        light = torch.where(across > 0, draw.uniform(0.6, 1.0) * light, light)
    tint = (spectrum * (1 + 0.1 * draw.normal(*spectrum.shape))).clamp(min=0.01)[:, None, None]
    paint = tint * light.clamp(min=0.1) * (1 + draw.uniform(0, 0.05) * own[(slice(None), *place)])
    image[(slice(None), *place)].lerp_(paint, cover.expand_as(paint))


def _clumped(noise: Tensor) -> Tensor:
    """Noise of unit variance with details of a few pixels."""
    clumps = F.avg_pool2d(noise[None], 3, 1, 1)[0]
    return clumps / clumps.std()


def _texture(side: int, power: float, depth: float, draw: Draw) -> Tensor:
    """``exp`` of Gaussian noise whose amplitude falls with frequency: ``(1, side, side)``."""
    total = torch.zeros(1, 1, side, side)
    step = 4
    while step < side:
        grid = draw.normal(1, 1, side // step + 2, side // step + 2)
        wave = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
        total += wave * (step / side) ** (power / 4)
        step *= 2
    return (depth * total[0]).exp()
