"""The house's own network: how much of PAN's detail each band gets, decided on a coarse grid.

One set of weights serves every band of every sensor. All layers work on PAN's grid folded by 2 or 4; there the band and
PAN are measured in units of their own local contrast, so that the network sees structure and never brightness:
``f(a·x) = a·f(x)`` holds exactly. Each band has a light branch of its own; what PAN shows and what the bands have in
common is worked out once for all of them. A few filtered forms of PAN's detail are multiplied with gains that vary
from place to place, and what is left is added pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.networks.network import (
    Context,
    Network,
    Trait,
    completed,
    conv,
    full_precision,
    padded,
    start_at_zero,
)
from clippan_cli.networks.surroundings import mean_around

_FOLDS = (2, 4)
_FOLD_FROM = 3.5
_RADIUS = 3
_REACH = 2
_FLOOR = 0.05
_PLANES = 5
_BASIS = 4
_TINY = 1e-12


class Injector(Network):
    """Predicts gains and residuals from local structure, by one common trunk and a branch for each band.

    Args:
        bands: The number of MS bands, which changes nothing.
        width: The number of channels of a branch, and of the trunk.
        blocks: How often branches and trunk tell one another what they see.
    """

    title: ClassVar[str] = "clippan's own"
    any_bands: ClassVar[bool] = True
    needs_context: ClassVar[bool] = True
    narrow: ClassVar[bool] = True
    multiple: ClassVar[int] = max(_FOLDS)

    def __init__(self, bands: int, width: int = 32, blocks: int = 3) -> None:
        super().__init__(bands)
        self._width = width
        self.band = _conv(_PLANES, width)
        self.pan = nn.ModuleDict({str(fold): _conv(fold * fold + 1, width) for fold in _FOLDS})
        self.traits = nn.Sequential(nn.Linear(len(Trait) + 1, width), nn.ReLU(), nn.Linear(width, 2 * width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.entry = _Mix(width, width)
        self.head = nn.ModuleDict({str(fold): start_at_zero(_Mix(width, fold * fold + 3 * _BASIS)) for fold in _FOLDS})
        filters = {str(fold): conv(1, _BASIS, 5, bias=False) for fold in _FOLDS}
        for layer in filters.values():
            nn.init.dirac_(layer.weight[:1])
        self.basis = nn.ModuleDict(filters)

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says."""
        assert context is not None
        fold = _FOLDS[context.ratio >= _FOLD_FROM]
        height, width = ms_up.shape[2:]
        grown, pan, pan_low = (completed(x, fold) for x in (ms_up, pan, context.pan_low))
        gains, rest = self._coarse(grown, pan, pan_low, context, fold)
        with full_precision(pan):
            basis = F.pixel_unshuffle(self.basis[str(fold)](pan - pan_low), fold)
        basis = basis.view(len(basis), _BASIS, -1, *basis.shape[2:])
        places = zip(_refined(gains, fold), basis.unbind(2), rest.unbind(2), strict=True)
        added = [_sum_of_products(gain, forms, left) for gain, forms, left in places]
        out = F.pixel_shuffle(torch.stack(added, 2).flatten(1, 2), fold)
        return out[..., :height, :width]

    def last_weights(self) -> list[nn.Parameter]:
        """Return those of the heads."""
        return list(self.head.parameters())

    def planes(self, bands: int, ratio: float) -> int:
        """Count features of branches and trunk on the folded grid, and details on PAN's, as measured."""
        fold = _FOLDS[ratio >= _FOLD_FROM]
        return bands * (4 * self._width // fold**2 + 4) + 9 * self._width // fold**2 + 12

    def receptive_field(self, bands: int) -> int:
        """Add up folding, the window of the local contrast, convolutions, and the interpolation of the gains."""
        return max(_FOLDS) * (1 + _RADIUS + 1 + _REACH * len(self.blocks) + 1)

    def _coarse(
        self, ms_up: Tensor, pan: Tensor, pan_low: Tensor, context: Context, fold: int
    ) -> tuple[Tensor, Tensor]:
        """Predict gains ``(B, C, 4, h, w)`` and residuals ``(B, C, fold², h, w)`` in scene units."""
        unit, pan_unit = context.deviation[..., None, None], context.pan_deviation[..., None, None]
        level, pan_level = context.mean[..., None, None], context.pan_mean[..., None, None]
        band = (F.avg_pool2d(ms_up, fold) - level) / unit
        low = (F.avg_pool2d(pan_low, fold) - pan_level) / pan_unit
        fine = F.pixel_unshuffle(pan - pan_low, fold) / pan_unit
        mean, pan_mean = mean_around(band, _RADIUS), mean_around(low, _RADIUS)
        spread = (mean_around(band * band, _RADIUS) - mean * mean).clamp(min=0).add(_FLOOR**2).sqrt()
        pan_spread = (mean_around(low * low, _RADIUS) - pan_mean * pan_mean).clamp(min=0).add(_FLOOR**2).sqrt()
        likeness = (mean_around(band * low, _RADIUS) - mean * pan_mean) / (spread * pan_spread)
        relative = (spread / pan_spread).log()
        colour = _level(mean * unit + level, level) - _level(pan_mean * pan_unit + pan_level, pan_level)
        planes = torch.stack([(band - mean) / spread, likeness, relative, colour, mean.clamp(-3, 3)], 2)
        shared = torch.cat([fine / pan_spread, (low - pan_mean) / pan_spread], 1)
        x = self._features(planes, shared, context, fold)
        out = self.head[str(fold)](x).to(planes).view(*planes.shape[:2], -1, *planes.shape[3:])
        scale = spread * unit
        local = scale / (pan_spread * pan_unit)
        slope = context.traits[..., Trait.CORRELATION, None, None].clamp(min=0) * unit / pan_unit
        matched = (slope * low * pan_unit + level).maximum((0.1 * level).clamp(min=_TINY))
        modulated = slope * ((band * unit + level) / matched).clamp(0.5, 2)
        units = torch.stack([local, likeness * local, modulated], 2)
        parts = out[:, :, : 3 * _BASIS].reshape(*units.shape[:3], _BASIS, *units.shape[3:])
        with full_precision(parts):
            gains = torch.einsum("bcukhw,bcuhw->bckhw", parts, units)
        return gains, out[:, :, 3 * _BASIS :] * scale[:, :, None]

    def _features(self, planes: Tensor, shared: Tensor, context: Context, fold: int) -> Tensor:
        """Return the features of the branches: ``(B · C, F, h, w)``."""
        bands = planes.shape[1]
        ratio = torch.full_like(context.traits[..., :1], context.ratio / fold - 1)
        modulation = self.traits(torch.cat([context.traits, ratio], -1)).flatten(0, 1)[..., None, None]
        offset, factor = modulation.chunk(2, 1)
        trunk: Tensor = self.pan[str(fold)](_channels_last(shared)).relu_()
        x: Tensor = _joined(self.band(_channels_last(planes.flatten(0, 1))), self.entry(trunk))
        x = (x * (1 + factor)).add_(offset).relu_()
        for block in self.blocks:
            x, trunk = block(x, trunk, bands)
        return x


class _Block(nn.Module):
    """Sees each band's surroundings, then what the bands have in common, and tells each band what follows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(width, width, 2 * _REACH + 1, padding=_REACH, groups=width)
        self.gather, self.common, self.tell = _Mix(width, width), _conv(width, width), _Mix(width, 2 * width)
        self.widen, self.narrow = _Mix(width, 2 * width), _Mix(2 * width, width)

    def forward(self, x: Tensor, trunk: Tensor, bands: int) -> tuple[Tensor, Tensor]:
        seen: Tensor = self.look(x)
        trunk = (self.common(trunk) + self.gather(_mean(seen, bands)) + trunk).relu_()
        told: Tensor = self.tell(trunk)
        # One image after the other: what is wide stays in the cache.
        parts = [self._answer(one, told[i // bands]) for i, one in enumerate(torch.split(seen, 1))]
        return torch.cat(parts).add_(x), trunk

    def _answer(self, seen: Tensor, told: Tensor) -> Tensor:
        out: Tensor = self.narrow(self.widen(seen).add_(told).relu_())
        return out


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    """Make a convolution of features relative to their surroundings: beyond the edge they are 0."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class _Mix(nn.Linear):
    """Mixes the channels of each place."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # It dilates nothing, but with one thread torch calls oneDNN only so: two thirds of the time.
        return F.conv2d(x, self.weight[..., None, None], dilation=2 if x.is_cpu else 1)


def _channels_last(x: Tensor) -> Tensor:
    """Lay out pixels as convolutions on a CPU like it best."""
    return x.contiguous(memory_format=torch.channels_last)


def _refined(gains: Tensor, fold: int) -> Iterator[Tensor]:
    """Interpolate gains linearly: ``(B, C, K, h, w)`` at each of the ``fold²`` pixels of a place, row by row.

    Place by place what is in work stays in the cache.
    """
    grown = padded(gains.flatten(1, 2), (1, 1, 1, 1))
    for row in _between(grown.view(*gains.shape[:3], *grown.shape[2:]), fold, 3):
        yield from _between(row, fold, 4)


def _between(x: Tensor, fold: int, dim: int) -> Iterator[Tensor]:
    """Yield the ``fold`` points around each pixel along one dimension, whose ends have a neighbour to spare."""
    before, here, after = (x.narrow(dim, start, x.shape[dim] - 2) for start in range(3))
    for place in range(fold):
        offset = (place + 0.5) / fold - 0.5
        yield torch.lerp(here, after if offset > 0 else before, abs(offset))


def _sum_of_products(gains: Tensor, forms: Tensor, rest: Tensor) -> Tensor:
    """Multiply gains ``(B, C, K, h, w)`` with details ``(B, K, h, w)``, and add the rest: ``(B, C, h, w)``."""
    for gain, form in zip(gains.unbind(2), forms[:, :, None].unbind(1), strict=True):
        rest = torch.addcmul(rest, gain, form)
    return rest


def _joined(x: Tensor, common: Tensor) -> Tensor:
    """Add ``(B, F, h, w)`` to the features of each band: ``(B · C, F, h, w)``."""
    return (x.view(len(common), -1, *x.shape[1:]) + common[:, None]).flatten(0, 1)


def _mean(x: Tensor, bands: int) -> Tensor:
    """Average over the bands of each sample: ``(B · C, F, h, w)`` to ``(B, F, h, w)``."""
    first, *others = x.view(-1, bands, *x.shape[1:]).unbind(1)
    for other in others:
        first = first + other
    return first / bands


def _level(x: Tensor, mean: Tensor) -> Tensor:
    """Compare with the scene's mean, as a logarithm; 0 where the mean is not positive."""
    return torch.where(mean > 0, x / mean.clamp(min=_TINY), 1.0).clamp(0.1, 10).log()
