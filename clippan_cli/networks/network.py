"""The contract of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


class Trait(IntEnum):
    """What a network is told of a band: places in the last dimension of :attr:`Context.traits`.

    Weights are bound to the order. Changes between octaves are logarithms of ratios.
    """

    CORRELATION = 0
    """Correlation of band and PAN as a whole."""

    TOP_CORRELATION = 1
    """Their correlation in the finest octave."""

    MID_CORRELATION = 2
    """Their correlation in the octave below it."""

    SLOPE_CHANGE = 3
    """How the slope of the band on PAN changes from the lower to the finest octave: negative where the band is soft."""

    CONTRAST_CHANGE = 4
    """How the band's contrast against PAN's changes from the lower to the finest octave."""

    PAN_CONTRAST_CHANGE = 5
    """How PAN's contrast changes from the lower to the finest octave."""

    MTF_GAIN = 6
    """The stated MTF gain of the band."""

    CONTRAST = 7
    """The band's deviation against its mean."""

    PAN_CONTRAST = 8
    """PAN's deviation against its mean."""

    SOFTNESS = 9
    """How much softer than PAN the bands are, the same for all of a scene."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known of a scene besides its pixels; most networks do not ask.

    Args:
        pan_low: ``(B, 1, H, W)``, PAN without what the MS bands cannot resolve.
        mean: ``(B, C)``, each band's mean over the scene.
        deviation: ``(B, C)``, each band's standard deviation over the scene.
        pan_mean: ``(B, 1)``, the mean of PAN at MS's resolution.
        pan_deviation: ``(B, 1)``, the standard deviation of PAN at MS's resolution.
        traits: ``(B, C, 10)``, each :class:`Trait` of each band; they have no unit.
        ratio: The number of PAN pixels in an MS pixel, along one axis.
    """

    pan_low: Tensor
    mean: Tensor
    deviation: Tensor
    pan_mean: Tensor
    pan_deviation: Tensor
    traits: Tensor
    ratio: float


class Network(nn.Module, ABC):
    """Makes an HRMS image of PAN and of MS interpolated to PAN's grid.

    A network predicts what is missing in the interpolated MS. Its last layer begins at zero, so that an untrained one
    is plain interpolation.

    Args:
        bands: The number of MS bands; networks that take any number ignore it.
    """

    title: ClassVar[str]
    """The title of the paper."""

    any_bands: ClassVar[bool] = False
    """Whether one set of weights serves any number of bands."""

    needs_context: ClassVar[bool] = False
    """Whether :meth:`forward` needs a :class:`Context`."""

    narrow: ClassVar[bool] = False
    """Whether most of it may compute in 16 bits, where the difference does not matter."""

    multiple: ClassVar[int] = 1
    """The number of PAN pixels of which height, width and a tile's origin must be a multiple."""

    planes_per_channel: ClassVar[int] = 4
    """How many images of PAN's size are held at the peak for each channel of the widest layer, as measured."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Fuse MS and PAN.

        Args:
            ms_up: ``(B, C, H, W)`` in scene units.
            pan: ``(B, 1, H, W)`` in scene units.
            context: What is known of the scene; networks that set ``needs_context`` need it.

        Returns:
            ``(B, C, H, W)``.
        """
        return ms_up + self.detail(ms_up, pan, context)

    @abstractmethod
    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what is added to ``ms_up``: ``(B, C, H, W)``."""

    @abstractmethod
    def receptive_field(self, bands: int) -> int | None:
        """Return how many PAN pixels an output pixel looks beyond itself; None where it looks at the whole image."""

    def planes(self, bands: int, ratio: float) -> int:
        """Return how many images of PAN's size, of 32-bit floats, :meth:`forward` holds at its peak."""
        widest = max(layer.out_channels for layer in self.modules() if isinstance(layer, nn.Conv2d))
        return self.planes_per_channel * widest

    def last_weights(self) -> list[nn.Parameter]:
        """Return the weights of the last layer, for tuning that leaves all else frozen."""
        *_, last = (layer for layer in self.modules() if isinstance(layer, nn.Conv2d))
        return list(last.parameters())

    @property
    def tile_safe(self) -> bool:
        """Whether tiles with a halo give what the whole image gives."""
        return self.receptive_field(self.bands) is not None


def full_precision(like: Tensor) -> torch.autocast:
    """Return a context in which nothing is rounded to 16 bits, whatever is said outside; ``like`` tells the device."""
    return torch.autocast(like.device.type, enabled=False)


def start_at_zero(layer: _Layer) -> _Layer:
    """Set a layer's weights to zero, as a last layer begins, and return it."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def padded(x: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
    """Repeat the edges of ``(B, C, H, W)`` so often to the left, right, top and bottom."""
    return F.pad(x, sides, mode="replicate") if any(sides) else x


def completed(x: Tensor, multiple: int) -> Tensor:
    """Continue ``(B, C, H, W)`` to the right and bottom until both sides are a multiple."""
    height, width = x.shape[-2:]
    return padded(x, (0, -width % multiple, 0, -height % multiple))


def conv(inputs: int, outputs: int, size: int = 3, **more: Any) -> nn.Conv2d:
    """Make a convolution that keeps the size; edges are reflected, so that they look like ground."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="reflect", **more)


class Residual(nn.Module):
    """Adds two 3 × 3 convolutions, with an activation between them, to their input."""

    def __init__(self, width: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(width, width), activation(), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(B, C, H, W)`` into the same shape."""
        out: Tensor = x + self.layers(x)
        return out
