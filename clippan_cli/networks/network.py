"""The contract of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """MS, interpolated to PAN's grid, and PAN become an HRMS image.

    A network predicts what is missing in the interpolated MS. Its last layer begins at zero, so that an untrained one
    is plain interpolation.

    Args:
        bands: MS bands; networks that take any number ignore it.
    """

    title: ClassVar[str]
    """The paper."""

    any_bands: ClassVar[bool] = False
    """Whether one set of weights serves any number of bands."""

    multiple: ClassVar[int] = 1
    """PAN pixels of which height, width and a tile's origin must be a multiple."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, ms_up: Tensor, pan: Tensor) -> Tensor:
        """Fuse.

        Args:
            ms_up: ``(B, C, H, W)`` in scene units.
            pan: ``(B, 1, H, W)`` in scene units.

        Returns:
            ``(B, C, H, W)``.
        """
        return ms_up + self.detail(ms_up, pan)

    @abstractmethod
    def detail(self, ms_up: Tensor, pan: Tensor) -> Tensor:
        """What is added to ``ms_up``: ``(B, C, H, W)``."""

    @abstractmethod
    def receptive_field(self, bands: int) -> int | None:
        """PAN pixels that an output pixel looks beyond itself; None where it looks at the whole image."""

    @property
    def tile_safe(self) -> bool:
        """Whether tiles with a halo give what the whole image gives."""
        return self.receptive_field(self.bands) is not None


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """A last layer that begins at zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv(inputs: int, outputs: int, size: int = 3, **more: Any) -> nn.Conv2d:
    """A convolution that keeps the size; edges are reflected, so that they look like ground."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="reflect", **more)


class Residual(nn.Module):
    """Two 3 × 3 convolutions with an activation between them, added to their input."""

    def __init__(self, width: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(width, width), activation(), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        out: Tensor = x + self.layers(x)
        return out
