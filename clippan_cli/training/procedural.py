"""Images made from nothing: opaque shapes of textured materials, as ground looks from above."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.training.draw import Draw

_SHAPES = 500
_SMALLEST, _LARGEST = 2.5, 90.0
_COVERING = 30
_MATERIALS = 12


def procedural(bands: int, side: int, draw: Draw) -> Tensor:
    """One image.

    Shapes (ellipses, roofs, roads) are laid over one another, small ones last, so that their sizes follow the power
    law of natural scenes; each is of a material with a spectrum and a texture of its own, some with a gradient; then
    comes shade.

    Args:
        bands: Spectral bands.
        side: Height and width in pixels.
        draw: All randomness.

    Returns:
        ``(bands, side, side)``, positive.
    """
    spectra = _spectra(bands, draw)
    image = spectra[0][:, None, None] * _texture(side, 2.0, 0.2, draw)
    sizes = _sizes(draw)
    for size in sizes:
        _lay(image, float(size), spectra[draw.below(_MATERIALS)], draw)
    shade = _texture(side, 2.5, 0.12, draw)
    return (image * shade).clamp(min=1e-3)


def _spectra(bands: int, draw: Draw) -> Tensor:
    """Smooth random spectra ``(materials, bands)``: neighbouring bands are alike."""
    walk = draw.normal(_MATERIALS, bands) * draw.uniform(0.08, 0.35)
    level = draw.normal(_MATERIALS, 1) * 0.5
    return (0.25 * (level + walk.cumsum(1) - walk.sum(1, keepdim=True) / 2).exp()).clamp(0.02, 2.0)


def _sizes(draw: Draw) -> Tensor:
    """Radii of density r⁻³ between the smallest and the largest, the large ones first."""
    share = draw.rand(_SHAPES)
    small, large = _SMALLEST**-2, _LARGEST**-2
    rest = (small + share * (large - small)) ** -0.5
    cover = draw.uniform(20, _LARGEST) * draw.rand(_COVERING).add(0.3)
    return torch.cat([cover, rest]).sort(descending=True).values


def _lay(image: Tensor, size: float, spectrum: Tensor, draw: Draw) -> None:
    """Paint one shape, its edge one pixel wide."""
    side = image.shape[-1]
    kind, turn = draw.below(3), draw.uniform(0, math.pi)
    kind = 3 if draw.below(20) == 0 else kind
    aspect = draw.uniform(0.35, 1.0)
    long, short = (size, size * aspect) if kind < 3 else (side * 0.8, max(0.7, size * 0.08))
    middle = draw.rand(2) * side
    reach = math.hypot(long, short) + 2
    window = [(max(0, int(m - reach)), min(side, int(m + reach) + 2)) for m in middle.tolist()]
    if any(stop <= start for start, stop in window):
        return
    y = torch.arange(*window[0])[:, None] - middle[0]
    x = torch.arange(*window[1])[None, :] - middle[1]
    u, v = (math.cos(turn) * x + math.sin(turn) * y) / long, (math.cos(turn) * y - math.sin(turn) * x) / short
    distance = (u * u + v * v).sqrt() if kind == 0 else torch.maximum(u.abs(), v.abs())
    cover = ((1 - distance) * short + 0.5).clamp(0, 1)
    grain = 1 + draw.uniform(0, 0.25) * draw.normal(*cover.shape)
    if size > 8:
        waves = u * draw.uniform(2, 3 * size / 8) + v * draw.uniform(0, 3)
        grain = grain * (1 + draw.uniform(-0.15, 0.15) * (math.pi * waves).sin())
    slope = 1 + draw.uniform(-0.35, 0.35) * v.clamp(-1, 1)
    roof = torch.where(v > 0, draw.uniform(0.6, 1.0), 1.0) if kind == 2 else 1.0
    tint = spectrum * (1 + 0.1 * draw.normal(*spectrum.shape))
    patch = image[:, window[0][0] : window[0][1], window[1][0] : window[1][1]]
    paint = tint.clamp(min=0.01)[:, None, None] * (grain * slope * roof).clamp(min=0.1)
    patch += cover * (paint - patch)


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
