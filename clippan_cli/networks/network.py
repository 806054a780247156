"""The contract of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)

TRAITS = 10
"""Length of the last dimension of :attr:`Context.traits`."""


class Context(NamedTuple):
    """What is known of a scene besides its pixels; most networks do not ask.

    Args:
        pan_low: ``(B, 1, H, W)``, PAN without what the MS bands cannot resolve.
        mean: ``(B, C)``, each band's mean over the scene.
        deviation: ``(B, C)``, likewise its standard deviation.
        pan_mean: ``(B, 1)``, of PAN at MS's resolution.
        pan_deviation: ``(B, 1)``, likewise.
        traits: ``(B, C, TRAITS)``, how alike band and PAN are, scale by scale; without unit.
        ratio: PAN pixels in an MS pixel.
    """

    pan_low: Tensor
    mean: Tensor
    deviation: Tensor
    pan_mean: Tensor
    pan_deviation: Tensor
    traits: Tensor
    ratio: float


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

    needs_context: ClassVar[bool] = False
    """Whether :meth:`forward` needs a :class:`Context`."""

    multiple: ClassVar[int] = 1
    """PAN pixels of which height, width and a tile's origin must be a multiple."""

    planes_per_channel: ClassVar[int] = 4
    """Images of PAN's size held at the peak for each channel of the widest layer, as measured."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Fuse.

        Args:
            ms_up: ``(B, C, H, W)`` in scene units.
            pan: ``(B, 1, H, W)`` in scene units.
            context: What is known of the scene; those that set ``needs_context`` need it.

        Returns:
            ``(B, C, H, W)``.
        """
        return ms_up + self.detail(ms_up, pan, context)

    @abstractmethod
    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """What is added to ``ms_up``: ``(B, C, H, W)``."""

    @abstractmethod
    def receptive_field(self, bands: int) -> int | None:
        """PAN pixels that an output pixel looks beyond itself; None where it looks at the whole image."""

    def planes(self, bands: int, ratio: float) -> int:
        """Images of PAN's size, of 32-bit floats, that :meth:`forward` holds at its peak."""
        widest = max(layer.out_channels for layer in self.modules() if isinstance(layer, nn.Conv2d))
        return self.planes_per_channel * widest

    def last_weights(self) -> list[nn.Parameter]:
        """Those of the last layer, for tuning that leaves all else frozen."""
        *_, last = (layer for layer in self.modules() if isinstance(layer, nn.Conv2d))
        return list(last.parameters())

    @property
    def tile_safe(self) -> bool:
        """Whether tiles with a halo give what the whole image gives."""
        return self.receptive_field(self.bands) is not None


def zeroed(layer: _Layer) -> _Layer:
    """A last layer that begins at zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def padded(x: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
    """``(B, C, H, W)``, its edges repeated so often to the left, right, top and bottom."""
    return F.pad(x, sides, mode="replicate") if any(sides) else x


def completed(x: Tensor, multiple: int) -> Tensor:
    """``(B, C, H, W)``, continued to the right and bottom until both sides are a multiple."""
    height, width = x.shape[-2:]
    return padded(x, (0, -width % multiple, 0, -height % multiple))


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
