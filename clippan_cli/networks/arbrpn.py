"""ArbRPN (Chen et al. 2022): one set of weights for any number of bands."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clippan_cli.networks.network import Context, Network, Residual, conv, start_at_zero


class ArbRpn(Network):
    """Runs over the bands, forth and back, several times.

    Args:
        bands: The number of MS bands; any is taken.
        width: The number of channels.
        cycles: How often the bands are run over, forth and back.
        blocks: The number of residual blocks of each step.
    """

    title: ClassVar[str] = "ArbRPN: a bidirectional recurrent network for arbitrary numbers of bands (2022)"
    any_bands: ClassVar[bool] = True

    def __init__(self, bands: int, width: int = 64, cycles: int = 5, blocks: int = 3) -> None:
        super().__init__(bands)
        self._blocks = blocks
        self.of_pan, self.of_band = conv(1, width), conv(1, width)
        self.forth = nn.ModuleList(_Step(width, blocks) for _ in range(cycles))
        self.back = nn.ModuleList(_Step(width, blocks) for _ in range(cycles))
        self.tail = start_at_zero(conv(width, 1))

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says."""
        state = hidden = self.of_pan(pan)
        bands = [self.of_band(band[:, None]) for band in ms_up.unbind(1)]
        for forth, back in zip(self.forth, self.back, strict=True):
            for index in range(len(bands)):
                bands[index] = hidden = forth(torch.cat([bands[index], hidden, state], 1))
            for index in reversed(range(len(bands))):
                bands[index] = hidden = back(torch.cat([bands[index], hidden, state], 1))
        return torch.cat([self.tail(band) for band in bands], 1)

    def planes(self, bands: int, ratio: float) -> int:
        """Count the features of all bands, which are held at once."""
        return bands * super().planes(bands, ratio)

    def receptive_field(self, bands: int) -> int:
        """Return 2 pixels for each residual block of each step, for the state runs through all steps."""
        return 2 + 2 * self._blocks * 2 * bands * len(self.forth)


class _Step(nn.Module):
    """Joins a band, the state and what was seen last."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3 * width, width, 1), *(Residual(width, nn.ReLU) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out
