"""Pan-Mamba (He et al. 2025): state-space models that exchange what MS and PAN know."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clippan_cli.networks.network import Context, Network, completed, conv
from clippan_cli.networks.regions import HalfNormed, Refine, Regions, scope_is_local
from clippan_cli.networks.selective_scan import Scan

WINDOW = 32
"""The side of a window that is scanned by itself, in PAN pixels."""

_EXPAND = 2


class PanMamba(Network):
    """Scans two streams of tokens: each by itself, then with halves swapped, then MS crossed with PAN.

    Args:
        bands: The number of MS bands.
        width: The number of channels.
        depth: The number of Mamba blocks of each stream.
        crossings: The number of blocks in which PAN's stream joins that of MS.
        scope: What is scanned, normalised and pooled: ``"image"``, all of it as in the paper, or ``"window"``, windows
            of 32 × 32 pixels with no instance normalisation, which tiles agree on.
    """

    title: ClassVar[str] = "Pan-Mamba: effective pan-sharpening with state space model (2025)"
    planes_per_channel: ClassVar[int] = 141
    multiple: ClassVar[int] = WINDOW

    def __init__(self, bands: int, width: int = 32, depth: int = 8, crossings: int = 5, scope: str = "window") -> None:
        super().__init__(bands)
        self._local = scope_is_local(scope)
        self.of_ms, self.of_pan = self._encoder(bands, width), self._encoder(1, width)
        self.tokens_ms, self.tokens_pan = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.alone_ms = nn.ModuleList(_Alone(width) for _ in range(depth))
        self.alone_pan = nn.ModuleList(_Alone(width) for _ in range(depth))
        self.swaps = nn.ModuleList(_Swap(width) for _ in range(2))
        self.fuse_ms, self.fuse_pan = conv(width, width), conv(width, width)
        self.crossings = nn.ModuleList(_Crossing(width) for _ in range(crossings))
        self.refine = Refine(width, bands, gates=1)

    def _encoder(self, inputs: int, width: int) -> nn.Sequential:
        return nn.Sequential(conv(inputs, width), *(HalfNormed(width, self._local) for _ in range(3)))

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says; sizes that are no multiple of 32 are continued by their edges."""
        height, width = ms_up.shape[-2:]
        multiple = WINDOW if self._local else 1
        ms, pan = completed(ms_up, multiple), completed(pan, multiple)
        order = Regions(ms.shape, WINDOW if self._local else None)
        ms, pan = order.tokens(self.tokens_ms(self.of_ms(ms))), order.tokens(self.tokens_pan(self.of_pan(pan)))
        ms, pan = _alone(self.alone_ms, ms), _alone(self.alone_pan, pan)
        for swap in self.swaps:
            ms, pan = swap(ms, pan)
        image_ms, image_pan = order.image(ms), order.image(pan)
        ms = order.tokens(image_ms + self.fuse_ms(image_pan))
        pan = order.tokens(image_pan + self.fuse_pan(image_ms))
        for crossing in self.crossings:
            ms = crossing(ms, pan, order)
        out: Tensor = self.refine(order.image(ms), order)
        return out[..., :height, :width]

    def receptive_field(self, bands: int) -> int | None:
        """Add up convolutions (7 pixels first, 1 after the swaps and each crossing, 6 at the end) and windows of 31."""
        if not self._local:
            return None
        crossings = len(self.crossings)
        return 7 + 1 + crossings + 6 + (3 + crossings) * (WINDOW - 1)


class _Mamba(nn.Module):
    """Scans tokens between two projections."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 2 * _EXPAND * width, bias=False)
        self.scan = Scan(_EXPAND * width)
        self.leave = nn.Linear(_EXPAND * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inside, gate = self.enter(x).chunk(2, -1)
        out: Tensor = self.leave(self.scan(inside, gate))
        return out


class _Alone(nn.Module):
    """Scans one stream by itself, normalised before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.mamba = nn.LayerNorm(width), _Mamba(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mamba(self.norm(x))
        return out


def _alone(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    """Run blocks one after the other, each added to what it was given."""
    for block in blocks:
        x = x + block(x)
    return x


class _Swap(nn.Module):
    """Lets half of the channels of MS and of PAN change places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_ms, self.of_pan = _Alone(width), _Alone(width)

    def forward(self, ms: Tensor, pan: Tensor) -> tuple[Tensor, Tensor]:
        half = ms.shape[-1] // 2
        a, b = self.of_ms.norm(ms), self.of_pan.norm(pan)
        into_ms = torch.cat([b[..., :half], a[..., half:]], -1)
        into_pan = torch.cat([a[..., :half], b[..., half:]], -1)
        return ms + self.of_ms.mamba(into_ms), pan + self.of_pan.mamba(into_pan)


class _Crossing(nn.Module):
    """Adds up a scan of MS and one of PAN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_ms, self.norm_pan = nn.LayerNorm(width), nn.LayerNorm(width)
        self.enter_ms, self.enter_pan = (nn.Linear(width, 2 * _EXPAND * width, bias=False) for _ in range(2))
        self.scan_ms, self.scan_pan = Scan(_EXPAND * width), Scan(_EXPAND * width)
        self.leave = nn.Linear(_EXPAND * width, width, bias=False)
        self.around = conv(width, width, groups=width)

    def forward(self, ms: Tensor, pan: Tensor, order: Regions) -> Tensor:
        both = self.scan_ms(*self.enter_ms(self.norm_ms(ms)).chunk(2, -1)) + self.scan_pan(
            *self.enter_pan(self.norm_pan(pan)).chunk(2, -1)
        )
        ms = ms + self.leave(both)
        return ms + order.tokens(self.around(order.image(ms)))
