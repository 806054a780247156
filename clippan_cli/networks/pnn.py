"""PNN (Masi et al. 2016), in its residual form (Scarpa et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clippan_cli.networks.network import Context, Network, conv, start_at_zero


class Pnn(Network):
    """Runs three convolutions of 9, 5 and 5 pixels.

    Args:
        bands: The number of MS bands.
        widths: The numbers of channels after the first and the second layer.
    """

    title: ClassVar[str] = "Pansharpening by convolutional neural networks (2016)"

    def __init__(self, bands: int, widths: tuple[int, int] = (48, 32)) -> None:
        super().__init__(bands)
        self.layers = nn.Sequential(
            conv(bands + 1, widths[0], 9),
            nn.ReLU(),
            conv(widths[0], widths[1], 5),
            nn.ReLU(),
            start_at_zero(conv(widths[1], bands, 5)),
        )

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says."""
        out: Tensor = self.layers(torch.cat([ms_up, pan], 1))
        return out

    def receptive_field(self, bands: int) -> int:
        """Add up 4 + 2 + 2 pixels."""
        return 8
