"""The house's own network: how much of PAN's detail each band gets, decided on a coarse grid.

One set of weights serves every band of every sensor. All layers work on PAN's grid folded by 2 or 4; there the band and
PAN are measured in units of their own local contrast, so that the network sees structure and never brightness:
``f(a·x) = a·f(x)`` holds exactly. At PAN's resolution a few filtered forms of its detail are multiplied with gains that
vary from place to place, and what is left is unfolded from the coarse grid.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.networks.network import TRAITS, Context, Network, conv, zeroed

_FOLDS = (2, 4)
_FOLD_FROM = 3.5
_RADIUS = 3
_FLOOR = 0.05
_PLANES = 5
_BASIS = 4
_TINY = 1e-12


class Injector(Network):
    """Gains and residuals from local structure, weights shared over bands, a mean over the bands in each block.

    Args:
        bands: Ignored.
        width: Channels.
        blocks: Residual blocks.
    """

    title: ClassVar[str] = "clippan's own"
    any_bands: ClassVar[bool] = True
    needs_context: ClassVar[bool] = True
    multiple: ClassVar[int] = max(_FOLDS)

    def __init__(self, bands: int, width: int = 32, blocks: int = 3) -> None:
        super().__init__(bands)
        self._width = width
        self.band = _conv(_PLANES, width)
        self.pan = nn.ModuleDict({str(fold): _conv(fold * fold + 1, width) for fold in _FOLDS})
        self.traits = nn.Sequential(nn.Linear(TRAITS + 1, width), nn.ReLU(), nn.Linear(width, 2 * width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.head = nn.ModuleDict({str(fold): zeroed(_conv(width, fold * fold + 3 * _BASIS)) for fold in _FOLDS})
        filters = {str(fold): conv(1, _BASIS, 5, bias=False) for fold in _FOLDS}
        for layer in filters.values():
            nn.init.dirac_(layer.weight[:1])
        self.basis = nn.ModuleDict(filters)

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """See :meth:`Network.detail`."""
        assert context is not None
        fold = _FOLDS[context.ratio >= _FOLD_FROM]
        height, width = ms_up.shape[2:]
        fit = (0, -width % fold, 0, -height % fold)
        grown, pan, pan_low = (F.pad(x, fit, mode="replicate") for x in (ms_up, pan, context.pan_low))
        gains, rest = self._coarse(grown, pan, pan_low, context, fold)
        basis = self.basis[str(fold)](pan - pan_low)
        gains = F.interpolate(gains.flatten(1, 2), scale_factor=fold, mode="bilinear", align_corners=False)
        detail: Tensor = torch.einsum("bckhw,bkhw->bchw", gains.view(*ms_up.shape[:2], _BASIS, *basis.shape[2:]), basis)
        out = detail + F.pixel_shuffle(rest.flatten(0, 1), fold).view_as(detail)
        return out[..., :height, :width]

    def last_weights(self) -> list[nn.Parameter]:
        """The heads."""
        return list(self.head.parameters())

    def planes(self, bands: int, ratio: float) -> int:
        """Features on the folded grid, gains and details on PAN's."""
        fold = _FOLDS[ratio >= _FOLD_FROM]
        return bands * (3 * self._width // fold**2 + _BASIS + 2) + _BASIS

    def receptive_field(self, bands: int) -> int:
        """Folding, the window of the local contrast, convolutions, and the interpolation of the gains."""
        return max(_FOLDS) * (_RADIUS + 1 + 2 * len(self.blocks) + 1 + 1 + 1)

    def _coarse(
        self, ms_up: Tensor, pan: Tensor, pan_low: Tensor, context: Context, fold: int
    ) -> tuple[Tensor, Tensor]:
        """Gains ``(B, C, h, w)`` and residuals ``(B, C, fold², h, w)`` in scene units."""
        unit, pan_unit = context.deviation[..., None, None], context.pan_deviation[..., None, None]
        level, pan_level = context.mean[..., None, None], context.pan_mean[..., None, None]
        band = (F.avg_pool2d(ms_up, fold) - level) / unit
        low = (F.avg_pool2d(pan_low, fold) - pan_level) / pan_unit
        fine = F.pixel_unshuffle(pan - pan_low, fold) / pan_unit
        mean, pan_mean = _around(band), _around(low)
        spread = (_around(band * band) - mean * mean).clamp(min=0).add(_FLOOR**2).sqrt()
        pan_spread = (_around(low * low) - pan_mean * pan_mean).clamp(min=0).add(_FLOOR**2).sqrt()
        likeness = (_around(band * low) - mean * pan_mean) / (spread * pan_spread)
        relative = (spread / pan_spread).log()
        colour = _level(mean * unit + level, level) - _level(pan_mean * pan_unit + pan_level, pan_level)
        planes = torch.stack([(band - mean) / spread, likeness, relative, colour, mean.clamp(-3, 3)], 2)
        shared = torch.cat([fine / pan_spread, (low - pan_mean) / pan_spread], 1)
        x = self._features(planes, shared, context, fold)
        out = self.head[str(fold)](x).view(*planes.shape[:2], -1, *planes.shape[3:])
        scale = spread * unit
        local = scale / (pan_spread * pan_unit)
        slope = context.traits[..., 0, None, None].clamp(min=0) * unit / pan_unit
        matched = (slope * low * pan_unit + level).maximum((0.1 * level).clamp(min=_TINY))
        modulated = slope * ((band * unit + level) / matched).clamp(0.5, 2)
        units = torch.stack([local, likeness * local, modulated], 2)
        parts = out[:, :, : 3 * _BASIS].reshape(*units.shape[:3], _BASIS, *units.shape[3:])
        gains = torch.einsum("bcukhw,bcuhw->bckhw", parts, units)
        return gains, out[:, :, 3 * _BASIS :] * scale[:, :, None]

    def _features(self, planes: Tensor, shared: Tensor, context: Context, fold: int) -> Tensor:
        batch, bands = planes.shape[:2]
        ratio = torch.full_like(context.traits[..., :1], context.ratio / fold - 1)
        modulation = self.traits(torch.cat([context.traits, ratio], -1)).flatten(0, 1)[..., None, None]
        offset, factor = modulation.chunk(2, 1)
        # On a CPU convolutions are a fifth faster with the channels last.
        x: Tensor = self.band(planes.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        x.view(batch, bands, *x.shape[1:]).add_(self.pan[str(fold)](shared)[:, None])
        x = torch.addcmul(offset, x, 1 + factor).relu_()
        for block in self.blocks:
            x = block(x, bands)
        return x


class _Block(nn.Module):
    """Two convolutions, and what the bands have in common."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width), _conv(width, width)
        self.common = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, bands: int) -> Tensor:
        inside: Tensor = self.first(x)
        inside.view(-1, bands, *x.shape[1:]).add_(self.common(_mean(x, bands))[:, None])
        out: Tensor = self.second(inside.relu_())
        return out.add_(x)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    """Features are relative to their surroundings: beyond the edge they are 0."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _mean(x: Tensor, bands: int) -> Tensor:
    """Over the bands of each sample: ``(B · C, F, h, w)`` to ``(B, F, h, w)``."""
    first, *others = x.view(-1, bands, *x.shape[1:]).unbind(1)
    for other in others:
        first = first + other
    return first / bands


def _around(x: Tensor) -> Tensor:
    """Mean over the pixels around each that lie inside the image."""
    return F.avg_pool2d(x, 2 * _RADIUS + 1, 1, _RADIUS, count_include_pad=False)


def _level(x: Tensor, mean: Tensor) -> Tensor:
    """Brightness beside the scene's mean, as a logarithm; none where the mean is not positive."""
    return torch.where(mean > 0, x / mean.clamp(min=_TINY), 1.0).clamp(0.1, 10).log()
