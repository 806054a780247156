"""Parts of networks that look at a whole image in their papers, and at windows of it where tiles must agree."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.networks.network import conv, start_at_zero

SLOPE = 0.2
"""The slope of the leaky ReLUs below zero."""


def scope_is_local(scope: str) -> bool:
    """Return whether ``"window"`` was asked for, not ``"image"``.

    Raises:
        ValueError: It is neither.
    """
    if scope not in ("window", "image"):
        raise ValueError(f"scope is window or image, got {scope!r}")
    return scope == "window"


class Regions:
    """Says what belongs together: the whole image, or each window by itself; row by row its pixels become tokens.

    Args:
        shape: ``(B, C, H, W)``; with windows, H and W are multiples of their side.
        window: The side of a window; None for the whole image.
    """

    def __init__(self, shape: torch.Size, window: int | None) -> None:
        self._batch, self._height, self._width = shape[0], shape[2], shape[3]
        self._rows, self._cols = (window, window) if window else (self._height, self._width)

    def tokens(self, image: Tensor) -> Tensor:
        """Turn ``(B, C, H, W)`` into ``(B · windows, pixels, C)``."""
        cells = image.reshape(
            self._batch, -1, self._height // self._rows, self._rows, self._width // self._cols, self._cols
        )
        return cells.permute(0, 2, 4, 3, 5, 1).reshape(-1, self._rows * self._cols, image.shape[1])

    def image(self, tokens: Tensor) -> Tensor:
        """Undo :meth:`tokens`."""
        down, right = self._height // self._rows, self._width // self._cols
        cells = tokens.reshape(self._batch, down, right, self._rows, self._cols, -1)
        return cells.permute(0, 5, 1, 3, 2, 4).reshape(self._batch, -1, self._height, self._width)

    def split(self, image: Tensor) -> Tensor:
        """Turn ``(B, C, H, W)`` into ``(B · windows, C, rows, cols)``."""
        tokens = self.tokens(image)
        return tokens.mT.reshape(*tokens.mT.shape[:2], self._rows, self._cols)

    def join(self, parts: Tensor) -> Tensor:
        """Undo :meth:`split`."""
        return self.image(parts.flatten(2).mT)

    def mean(self, image: Tensor) -> Tensor:
        """Spread the mean of the image, or of each window, over it: ``(B, C, H, W)`` to the same."""
        tokens = self.tokens(image)
        return self.image(tokens.mean(1, keepdim=True).expand_as(tokens))


class HalfNormed(nn.Module):
    """Runs two convolutions; half of the channels between them are normalised over the image (not so in windows)."""

    def __init__(self, width: int, local: bool) -> None:
        super().__init__()
        self._local, self._half = local, width // 2
        self.first, self.second, self.skip = conv(width, width), conv(width, width), nn.Conv2d(width, width, 1)
        self.scale = nn.Parameter(torch.ones(self._half, 1, 1))
        self.shift = nn.Parameter(torch.zeros(self._half, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(B, C, H, W)`` into the same shape."""
        normed, rest = self.first(x).tensor_split((self._half,), 1)
        normed = normed if self._local else F.instance_norm(normed)
        between = F.leaky_relu(torch.cat([normed * self.scale + self.shift, rest], 1), SLOPE)
        out: Tensor = F.leaky_relu(self.second(between), SLOPE) + self.skip(x)
        return out


class Refine(nn.Module):
    """Refines in two residual steps, gated by the mean of their features.

    Args:
        width: The number of channels.
        bands: The number of channels of the result.
        gates: The number of gates: 1 if both steps share one, or 2.
    """

    def __init__(self, width: int, bands: int, gates: int) -> None:
        super().__init__()
        self.head = conv(width, width)
        self.steps = nn.ModuleList(nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width)) for _ in range(2))
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width // 4, 1), nn.ReLU(), nn.Conv2d(width // 4, width, 1))
            for _ in range(gates)
        )
        self.tail = start_at_zero(conv(width, bands))

    def forward(self, x: Tensor, regions: Regions) -> Tensor:
        """Turn ``(B, C, H, W)`` into ``(B, bands, H, W)``."""
        x = self.head(x)
        for index, step in enumerate(self.steps):
            features = step(x)
            gate = self.gates[index % len(self.gates)]
            x = x + torch.sigmoid(gate(regions.mean(features))) * features
        out: Tensor = self.tail(x)
        return out
