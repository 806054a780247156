"""Images made from nothing: opaque shapes of textured materials and their shadows, as ground looks from above."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.training.data.draw import Draw

_SHAPES = 500
_SMALLEST, _LARGEST = 2.5, 90.0
_COVERING = 30
_MATERIALS = 12
_PLANTS = 4
_ELLIPSE, _ROOF, _ROAD = 0, 2, 3


def procedural(bands: int, side: int, draw: Draw) -> Tensor:
    """Make one image.

    Shapes (ellipses, slabs, roofs, roads) are laid over one another, small ones last, so that their sizes follow the
    power law of natural scenes; each is of a material with a spectrum and a texture of its own, some with a gradient,
    and many cast a shadow, all to the same side; then comes shade.

    Args:
        bands: The number of spectral bands.
        side: The height and the width in pixels.
        draw: The source of every random choice.

    Returns:
        ``(bands, side, side)``, positive.
    """
    spectra = _spectra(bands, draw)
    image = spectra[0][:, None, None] * _texture(side, 2.0, 0.2, draw)
    fine = draw.normal(side, side)
    grains = fine, _clump(fine)
    own = draw.normal(bands, side, side)
    sun = draw.uniform(0, 2 * math.pi)
    dark = draw.uniform(0.1, 0.6) * (0.3 * draw.normal(bands)).exp()
    for size in _sizes(draw):
        shape = _draw_shape(float(size), side, draw)
        if shape.kind != _ROAD and draw.chance(0.5):
            length = draw.uniform(0.2, 1.2) * shape.short
            _shadow(image, shape.moved(length * math.sin(sun), length * math.cos(sun)), dark)
        _paint(image, shape, _Material(spectra[draw.below(_MATERIALS)], grains[draw.below(2)], own), draw)
    shade = _texture(side, 2.5, 0.12, draw)
    return (image * shade).clamp(min=1e-3)


def _spectra(bands: int, draw: Draw) -> Tensor:
    """Draw smooth spectra ``(materials, bands)``: neighbouring bands are alike, but for the red edge of plants."""
    walk = draw.normal(_MATERIALS, bands) * draw.uniform(0.08, 0.35)
    level = draw.normal(_MATERIALS, 1) * 0.5
    spectra = 0.25 * (level + walk.cumsum(1) - walk.sum(1, keepdim=True) / 2).exp()
    edge = 1 + draw.below(max(1, bands - 1))
    plants = (draw.order(_MATERIALS) < _PLANTS)[:, None] & (torch.arange(bands) >= edge)
    return torch.where(plants, spectra * (1 + 5 * draw.rand(_MATERIALS, 1)), spectra).clamp(0.02, 2.0)


def _sizes(draw: Draw) -> Tensor:
    """Draw radii of density r⁻³ between the smallest and the largest, the large ones first."""
    share = draw.rand(_SHAPES)
    small, large = _SMALLEST**-2, _LARGEST**-2
    rest = (small + share * (large - small)) ** -0.5
    cover = draw.uniform(20, _LARGEST) * draw.rand(_COVERING).add(0.3)
    return torch.cat([cover, rest]).sort(descending=True).values


@dataclass(frozen=True)
class _Shape:
    """Where something lies: its kind, its angle, its half axes, its middle; angles in radians, lengths in pixels."""

    kind: int
    turn: float
    long: float
    short: float
    middle: tuple[float, float]

    def moved(self, rows: float, cols: float) -> _Shape:
        return replace(self, middle=(self.middle[0] + rows, self.middle[1] + cols))

    def seen(self, side: int) -> tuple[Box, Tensor, Tensor, Tensor] | None:
        """Return a window, the place in the shape along each axis (-1 to 1), the share covered: its edge is 1 px.

        None where no pixel of an image of ``side`` pixels a side shows the shape.
        """
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        reach = [abs(self.long * a) + abs(self.short * b) + 2 for a, b in ((sin, cos), (cos, sin))]
        spans = [Span(int(m - r), int(m + r) + 2) for m, r in zip(self.middle, reach, strict=True)]
        place = Box(*spans).intersection(Box.whole((side, side)))
        if place.empty:
            return None
        y = torch.arange(*place.rows)[:, None] - self.middle[0]
        x = torch.arange(*place.cols)[None, :] - self.middle[1]
        along = (cos * x + sin * y) / self.long
        across = (cos * y - sin * x) / self.short
        round_ = self.kind == _ELLIPSE
        distance = torch.hypot(along, across) if round_ else torch.maximum(along.abs(), across.abs())
        return place, along, across, ((1 - distance) * self.short + 0.5).clamp(0, 1)


@dataclass(frozen=True)
class _Material:
    """What a shape is made of.

    Args:
        spectrum: ``(bands,)``, how bright it is.
        grain: ``(side, side)``, noise that all bands share.
        own: ``(bands, side, side)``, noise of each band alone.
    """

    spectrum: Tensor
    grain: Tensor
    own: Tensor


def _draw_shape(size: float, side: int, draw: Draw) -> _Shape:
    kind, turn = draw.below(3), draw.uniform(0, math.pi)
    kind = _ROAD if draw.below(20) == 0 else kind
    long, short = (side * 0.8, max(0.7, size * 0.08)) if kind == _ROAD else (size, size * draw.uniform(0.35, 1.0))
    row, col = (draw.rand(2) * side).tolist()
    return _Shape(kind, turn, long, short, (row, col))


def _shadow(image: Tensor, shape: _Shape, dark: Tensor) -> None:
    """Darken where a shape's shadow falls; ``dark`` is what is left of the light in each band."""
    if (seen := shape.seen(image.shape[-1])) is not None:
        place, _, _, cover = seen
        place.cut(image, Box.whole(image.shape)).mul_(1 - cover * (1 - dark.clamp(0.05, 0.9)[:, None, None]))


def _paint(image: Tensor, shape: _Shape, material: _Material, draw: Draw) -> None:
    """Lay one shape of a material over the image."""
    if (seen := shape.seen(image.shape[-1])) is None:
        return
    place, along, across, cover = seen
    whole, spectrum = Box.whole(image.shape), material.spectrum
    light = 1 + draw.uniform(0, 0.25) * place.cut(material.grain, whole)
    if shape.long > 8 and shape.kind != _ROAD:
        waves = along * draw.uniform(2, 3 * shape.long / 8) + across * draw.uniform(0, 3)
        light = light * (1 + draw.uniform(-0.15, 0.15) * (math.pi * waves).sin())
    light = light * (1 + draw.uniform(-0.35, 0.35) * across.clamp(-1, 1))
    if shape.kind == _ROOF:
        light = torch.where(across > 0, draw.uniform(0.6, 1.0) * light, light)
    tint = (spectrum * (1 + 0.1 * draw.normal(*spectrum.shape))).clamp(min=0.01)[:, None, None]
    paint = tint * light.clamp(min=0.1) * (1 + draw.uniform(0, 0.05) * place.cut(material.own, whole))
    place.cut(image, whole).lerp_(paint, cover.expand_as(paint))


def _clump(noise: Tensor) -> Tensor:
    """Turn noise into noise of unit variance with details of a few pixels."""
    clumps = F.avg_pool2d(noise[None], 3, 1, 1)[0]
    return clumps / clumps.std()


def _texture(side: int, power: float, depth: float, draw: Draw) -> Tensor:
    """Draw ``exp`` of Gaussian noise whose amplitude falls with frequency: ``(1, side, side)``."""
    total = torch.zeros(1, 1, side, side)
    step = 4
    while step < side:
        grid = draw.normal(1, 1, side // step + 2, side // step + 2)
        wave = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
        total += wave * (step / side) ** (power / 4)
        step *= 2
    return (depth * total[0]).exp()
