"""λ-PNN (Ciotola et al. 2023)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clippan_cli.networks.network import Context, Network, Residual, conv, start_at_zero
from clippan_cli.networks.surroundings import mean_around, top_around

_LOCAL = 32


class LambdaPnn(Network):
    """Runs residual blocks between two gates of channels and of places.

    Args:
        bands: The number of MS bands.
        width: The number of channels.
        pooling: What the channel gates look at: ``"global"``, the whole image as in the paper, or ``"local"``, 65 × 65
            pixels around each, which tiles agree on.
    """

    title: ClassVar[str] = "Unsupervised deep learning-based pansharpening with jointly enhanced … (2023)"
    planes_per_channel: ClassVar[int] = 14

    def __init__(self, bands: int, width: int = 64, pooling: str = "local") -> None:
        super().__init__(bands)
        if pooling not in ("local", "global"):
            raise ValueError(f"pooling is local or global, got {pooling!r}")
        self._local = pooling == "local"
        self.head = nn.Sequential(conv(bands + 1, width), nn.ReLU(), conv(width, width), nn.ReLU())
        self.first_gate = _Gate(width, self._local)
        self.blocks = nn.Sequential(Residual(width, nn.GELU), Residual(width, nn.GELU))
        self.second_gate = _Gate(width, self._local)
        self.tail = start_at_zero(conv(width, bands, 5))

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says."""
        x = self.head(torch.cat([ms_up, pan], 1))
        x = x + self.first_gate(x)
        x = self.blocks(x)
        x = x + self.second_gate(x)
        out: Tensor = self.tail(x)
        return out

    def receptive_field(self, bands: int) -> int | None:
        """Add up 2 + 4 + 2 pixels of convolutions, and of each gate 3 and its pooling."""
        return 2 + 4 + 2 + 2 * (3 + _LOCAL) if self._local else None


class _Gate(nn.Module):
    """Gates first the channels, then the places: convolutional block attention (Woo et al. 2018)."""

    def __init__(self, width: int, local: bool) -> None:
        super().__init__()
        self._local = local
        self.channels = nn.Sequential(nn.Conv2d(width, width // 4, 1), nn.ReLU(), nn.Conv2d(width // 4, width, 1))
        self.places = conv(2, 1, 7)

    def forward(self, x: Tensor) -> Tensor:
        mean, top = self._pooled(x)
        x = x * torch.sigmoid(self.channels(mean) + self.channels(top))
        summary = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        out: Tensor = x * torch.sigmoid(self.places(summary))
        return out

    def _pooled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self._local:
            return x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return mean_around(x, _LOCAL), top_around(x, _LOCAL)
