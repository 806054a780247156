"""What is judged: a file, or a method whose product is made window by window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.method import Fitted, Tile
from clippan_cli.opening.window import read_pixels
from clippan_cli.physics.pixels import Pixels, Validity
from clippan_cli.scene.raster import Raster


class Candidate(ABC):
    """Gives an HRMS image to judge, window by window.

    Args:
        name: The name to call it by.
        halo: The PAN pixels that it needs beyond the window in which it must be right.
    """

    def __init__(self, name: str, halo: int) -> None:
        self.name, self.halo = name, halo

    @abstractmethod
    def read(self, box: Box) -> Pixels | None:
        """Read what it needs from disk for a window of PAN's grid, in DN; the reader calls it."""

    @abstractmethod
    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """Return the image in the window of ``tile``, in scene units."""


class FromFile(Candidate):
    """Reads a file on PAN's grid, or on a part of it.

    Args:
        name: The name to call it by.
        raster: The file.
        area: The pixels of PAN's grid that it covers.
        bands: The bands to keep, counted from 0; None for all.
    """

    def __init__(self, name: str, raster: Raster, area: Box, bands: Sequence[int] | None = None) -> None:
        super().__init__(name, 0)
        self._raster, self._area = raster, area
        self._bands = list(range(raster.count)) if bands is None else list(bands)

    def read(self, box: Box) -> Pixels:
        """Read the part of ``box`` that the file covers; the rest is invalid."""
        inner = box.intersection(self._area)
        found = read_pixels(self._raster, inner.relative_to(self._area))
        found = Pixels(found.values[self._bands], found.valid.pick(self._bands))
        if inner == box:
            return found
        values = torch.zeros(len(self._bands), *box.shape)
        known = torch.zeros_like(values, dtype=torch.bool)
        inner.cut(values, box)[:] = found.values
        inner.cut(known, box)[:] = found.valid.of(found.values)
        return Pixels(values, Validity(known))

    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """Return what was read, in scene units."""
        assert loaded is not None
        return loaded.to(tile.pan.values.device).divided(scale)


class Interpolated(Candidate):
    """Interpolates MS: it is the anchor that adds nothing.

    Args:
        name: The name to call it by.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, 0)

    def read(self, box: Box) -> None:
        """Read nothing."""

    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """Return the convention's own interpolation."""
        return Pixels(ms_up)


class Fused(Candidate):
    """Makes the product of a fitted method as ``sharpen`` makes it.

    Args:
        name: The name to call it by.
        halo: The halo of the method with its back-projections, in PAN pixels.
        fitted: The method.
        consistency: The number of back-projections at the end.
        bands: The MS bands to keep, counted from 0.
    """

    def __init__(self, name: str, halo: int, fitted: Fitted, consistency: int, bands: Sequence[int]) -> None:
        super().__init__(name, halo)
        self._fitted, self._consistency, self._bands = fitted, consistency, list(bands)

    def read(self, box: Box) -> None:
        """Read nothing."""

    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """Fuse; each candidate gets a tile of its own, for methods may change what it holds."""
        own = Tile(tile.ms, tile.pan, tile.operators)
        out = back_project(self._fitted.fuse(own), own, self._consistency)
        return Pixels(out if self._bands == list(range(len(out))) else out[self._bands], own.valid)
