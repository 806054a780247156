"""The contract of a fusion method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.moments import Moments
from clippan_cli.physics.operators import LEAST_WEIGHT, Operators, fill_invalid
from clippan_cli.physics.pixels import EVERYWHERE, Pixels, Validity, Window
from clippan_cli.physics.sampling import Sampling


@dataclass(frozen=True)
class Statistics:
    """Holds what is known of a whole scene before its first tile is fused.

    Args:
        sampling: The place of the MS bands on PAN's grid, registration included.
        moments: First and second moments of the features that the method asks for, over the valid pixels.
        samples: Windows spread over the scene, in scene units.
    """

    sampling: Sampling
    moments: Moments
    samples: tuple[Window, ...] = ()


@dataclass
class Tile:
    """Holds what a method sees of a scene.

    Args:
        ms: MS in scene units, ``(C, h, w)``, continued into invalid pixels.
        pan: PAN in scene units, ``(H, W)``, 0 where invalid.
        operators: The operators between the two windows.
        wanted: The part of PAN's window that is used; a method may leave the rest as it likes. None for all.
    """

    ms: Pixels
    pan: Pixels
    operators: Operators
    wanted: Box | None = None

    @cached_property
    def ms_up(self) -> Tensor:
        """MS on PAN's grid: ``(C, H, W)``; the method may change it, for nobody else reads it."""
        return self.operators.up(self.ms.values)

    @cached_property
    def pan_low(self) -> Tensor:
        """PAN without what each MS band cannot resolve: ``(C, H, W)``."""
        return self.operators.low_pass(self.pan.values, self.pan.valid)

    @cached_property
    def valid(self) -> Validity:
        """Whether each output pixel has data: ``(1 or C, H, W)``."""
        if self.ms.valid.everywhere and self.pan.valid.everywhere and self.operators.encloses_footprint:
            return EVERYWHERE
        mask = self.ms.valid.mask
        mask = self.ms.valid.of(self.ms.values)[:1] if mask is None else mask
        return Validity(self.operators.footprint(mask)) & self.pan.valid

    @cached_property
    def measured(self) -> Tensor:
        """Whether each MS pixel is valid and sees enough of the output to be compared with it: ``(1 or C, h, w)``."""
        known = Validity(self.operators.covered[None]) & self.ms.valid
        enough = self.valid.changed(lambda mask: self.operators.weight(mask) > LEAST_WEIGHT)
        return (known & enough).of(self.ms.values)


def make_tile(window: Window, sampling: Sampling, device: torch.device, wanted: Box | None = None) -> Tile:
    """Make a window ready for a method: MS is continued into its gaps as far as upsampling can see.

    Args:
        window: MS and PAN in scene units.
        sampling: The place of MS on PAN.
        device: The device that computes.
        wanted: The part of PAN's window that is used; None for all.
    """
    ms, pan = window.ms.to(device), window.pan.to(device)
    values = ms.values
    if ms.valid.mask is not None:
        values = fill_invalid(values, ms.valid.of(values), 3 + sampling.largest_shift)
    operators = Operators(sampling, window.pan_box, window.ms_box, device=device, dtype=values.dtype)
    return Tile(Pixels(values, ms.valid), pan, operators, wanted)


class Fitted(ABC):
    """Fuses the tiles of a scene that it knows."""

    @abstractmethod
    def fuse(self, tile: Tile) -> Tensor:
        """Fuse one tile: ``(C, H, W)`` in scene units, the caller's to change."""

    @property
    def parameters(self) -> dict[str, list[float]]:
        """The fitted numbers for the record; keys say what they are."""
        return {}


class Method(ABC):
    """Makes HRMS of MS and PAN, once it knows the scene.

    ``features`` names what :class:`Moments` must hold when :meth:`fit` is called.
    """

    name: str
    features: tuple[str, ...] = ()

    @abstractmethod
    def fit(self, statistics: Statistics) -> Fitted:
        """Fit to the statistics of a whole scene."""

    def halo(self, sampling: Sampling) -> int:
        """Return how many PAN pixels an output pixel looks beyond itself: at least the reach of the upsampling."""
        return sampling.up_reach

    def planes(self, sampling: Sampling) -> int:
        """Return how many images of a tile's size, of 32-bit floats, fusing one holds at its peak."""
        return 7 * (len(sampling.gains) + 1)


@dataclass(frozen=True, kw_only=True)
class Classical(Fitted):
    """Fuses by a formula with a few fitted numbers.

    Args:
        values: The fitted numbers by their names.
    """

    values: dict[str, list[float]] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, list[float]]:
        """The fitted numbers."""
        return self.values
