"""LFormer (Hou et al. 2024): attention in windows, whose map evolves from stage to stage."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clippan_cli.networks.network import Context, Network, Residual, completed, conv, start_at_zero

_WINDOW = 8
_HEADS = 8


class LFormer(Network):
    """Lets PAN attend to MS within windows, with a high-pass branch beside it.

    The logits are divided by the root of a head's width, which the published code leaves out.

    Args:
        bands: The number of MS bands.
        stages: How often the attention is applied.
        width: The number of channels, a multiple of 8.
    """

    title: ClassVar[str] = "Linearly-evolved transformer for pan-sharpening (2024)"
    planes_per_channel: ClassVar[int] = 27
    multiple: ClassVar[int] = _WINDOW

    def __init__(self, bands: int, stages: int = 3, width: int = 64) -> None:
        super().__init__(bands)
        if width % _HEADS:
            raise ValueError(f"the width is a multiple of {_HEADS}, got {width}")
        self._stages = stages
        self.attention = _Attention(bands, width)
        self.high_pass = _HighPass(bands, width)
        self.first = _Stage(width)
        self.later = nn.ModuleList(_LaterStage(width) for _ in range(stages - 1))
        self.last = _Branch(width)
        self.tail = nn.Sequential(
            Residual(2 * width, nn.ReLU), Residual(2 * width, nn.ReLU), start_at_zero(nn.Conv2d(2 * width, bands, 1))
        )

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says; sizes that are no multiple of 8 are continued by their edges."""
        height, width = ms_up.shape[-2:]
        ms_up, pan = completed(ms_up, _WINDOW), completed(pan, _WINDOW)
        structure = self.high_pass(ms_up, pan)
        attention, x = self.attention(ms_up, pan)
        x = self.first(x, structure)
        for stage in self.later:
            attention, x = stage(attention, x, structure)
        out: Tensor = self.tail(torch.cat([self.last(x, structure), x], 1))
        return out[..., :height, :width]

    def receptive_field(self, bands: int) -> int:
        """Add up a window's 7 pixels and 7 of convolutions, 13 for each further stage, and 8 at the end."""
        return 14 + 13 * (self._stages - 1) + 8


class _Attention(nn.Module):
    """Asks with PAN where MS has keys and values: returns the map of each window, and what it gathers."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.norm_pan, self.norm_ms = _Norm(1), _Norm(bands)
        self.query, self.key, self.value = _Projection(1, width), _Projection(bands, width), _Projection(bands, width)
        self.out = _Projection(width, width)

    def forward(self, ms_up: Tensor, pan: Tensor) -> tuple[Tensor, Tensor]:
        pan, ms = self.norm_pan(pan), self.norm_ms(ms_up)
        query, key, value = _windows(self.query(pan)), _windows(self.key(ms)), _windows(self.value(ms))
        attention = torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, -1)
        return attention, self.out(_joined(attention @ value, ms_up.shape[-2:]))


class _HighPass(nn.Module):
    """Mixes what a Laplacian leaves of MS and of PAN."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.of_ms = nn.Sequential(_laplacian(bands), nn.Conv2d(bands, width, 1))
        self.of_pan = nn.Sequential(_laplacian(1), nn.Conv2d(1, width, 1))
        self.mix = nn.Sequential(nn.Conv2d(2 * width, width, 1), *(Residual(width, nn.ReLU) for _ in range(4)))

    def forward(self, ms_up: Tensor, pan: Tensor) -> Tensor:
        out: Tensor = self.mix(torch.cat([self.of_ms(ms_up), self.of_pan(pan)], 1))
        return out


class _Branch(nn.Module):
    """Joins features with the high-pass structure."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(width, width, 1)
        self.mix = nn.Sequential(nn.Conv2d(2 * width, width, 1), Residual(width, nn.ReLU), Residual(width, nn.ReLU))

    def forward(self, x: Tensor, structure: Tensor) -> Tensor:
        out: Tensor = self.mix(torch.cat([self.enter(x), structure], 1))
        return out


class _Stage(nn.Module):
    """Modulates features by the high-pass structure."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = _Branch(width)
        self.own = nn.Conv2d(width, width, 1)
        self.gate = conv(2 * width, width)

    def forward(self, x: Tensor, structure: Tensor) -> Tensor:
        out: Tensor = x * self.gate(torch.cat([self.own(x), self.branch(x, structure)], 1))
        return out


class _LaterStage(nn.Module):
    """Evolves the attention map by small convolutions over heads and keys, then gathers again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.evolve = nn.Sequential(
            nn.Conv2d(_HEADS, _HEADS, (1, 3), padding=(0, 1), bias=False), nn.Conv2d(_HEADS, _HEADS, 1), nn.ReLU()
        )
        self.value = _Projection(width, width)
        self.stage = _Stage(width)

    def forward(self, attention: Tensor, x: Tensor, structure: Tensor) -> tuple[Tensor, Tensor]:
        attention = torch.softmax(self.evolve(attention), -1)
        x = _joined(attention @ _windows(self.value(x)), x.shape[-2:])
        return attention, self.stage(x, structure)


class _Projection(nn.Sequential):
    """Runs a 1 × 1 convolution, then one of 3 × 3 for each channel by itself."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(nn.Conv2d(inputs, width, 1), conv(width, width, groups=width))


class _Norm(nn.LayerNorm):
    """Normalises over the channels of each pixel; a single one, which that would erase, is scaled only."""

    def forward(self, x: Tensor) -> Tensor:
        last = x.movedim(1, -1)
        out = last * self.weight + self.bias if last.shape[-1] == 1 else super().forward(last)
        return out.movedim(-1, 1)


def _laplacian(channels: int) -> nn.Conv2d:
    """Make a convolution of each channel by itself that begins as a Laplacian."""
    layer = conv(channels, channels, groups=channels)
    kernel = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    layer.weight.data.copy_(kernel.expand(channels, 1, 3, 3))
    return layer


def _windows(x: Tensor) -> Tensor:
    """Cut ``(B, C, H, W)`` into ``(B · windows, heads, pixels, C / heads)``."""
    batch, channels, height, width = x.shape
    cells = x.reshape(batch, _HEADS, channels // _HEADS, height // _WINDOW, _WINDOW, width // _WINDOW, _WINDOW)
    return cells.permute(0, 3, 5, 1, 4, 6, 2).reshape(-1, _HEADS, _WINDOW**2, channels // _HEADS)


def _joined(x: Tensor, shape: tuple[int, int] | torch.Size) -> Tensor:
    """Undo :func:`_windows`."""
    rows, cols = shape[0] // _WINDOW, shape[1] // _WINDOW
    cells = x.reshape(-1, rows, cols, _HEADS, _WINDOW, _WINDOW, x.shape[-1])
    return cells.permute(0, 3, 6, 1, 4, 2, 5).reshape(-1, _HEADS * x.shape[-1], *shape)
