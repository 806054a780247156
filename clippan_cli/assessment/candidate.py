"""What is judged: a file, or a method whose product is made window by window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.method import Fitted, Tile
from clippan_cli.scene.raster import Raster

Pixels = tuple[Tensor, Tensor | None]
"""``(C, H, W)`` in scene units, and validity ``(1 or C, H, W)``, None where all are valid."""


class Candidate(ABC):
    """An HRMS image to judge.

    Args:
        name: What to call it.
        halo: PAN pixels that it needs beyond the window in which it must be right.
    """

    def __init__(self, name: str, halo: int) -> None:
        self.name, self.halo = name, halo

    @abstractmethod
    def read(self, box: Box) -> Pixels | None:
        """What it needs from disk for a window of PAN's grid, in DN; called by the reader."""

    @abstractmethod
    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """The image in the window of ``tile``."""


class FromFile(Candidate):
    """A file on PAN's grid, or on a part of it.

    Args:
        name: What to call it.
        raster: The file.
        area: Where it lies on PAN's grid.
        bands: The bands to keep, counted from 0; None for all.
    """

    def __init__(self, name: str, raster: Raster, area: Box, bands: Sequence[int] | None = None) -> None:
        super().__init__(name, 0)
        self._raster, self._area = raster, area
        self._bands = slice(None) if bands is None else list(bands)

    def read(self, box: Box) -> Pixels:
        """Read the part of ``box`` that the file covers; the rest is invalid."""
        inner = box.intersection(self._area)
        place = (slice(None), *inner.within(box))
        own = inner.within(self._area)
        pixels, valid = self._raster.read(Box(*(Span(part.start, part.stop) for part in own)))
        pixels = pixels[self._bands]
        valid = valid if valid is None or len(valid) == 1 else valid[self._bands]
        if inner == box:
            return torch.from_numpy(pixels), None if valid is None else torch.from_numpy(valid)
        out = torch.zeros(len(pixels), *box.shape)
        known = torch.zeros(1 if valid is None else len(valid), *box.shape, dtype=torch.bool)
        out[place] = torch.from_numpy(pixels)
        known[place] = True if valid is None else torch.from_numpy(valid)
        return out, known

    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """In scene units."""
        assert loaded is not None
        values, valid = loaded
        device = tile.pan.device
        return values.to(device) / scale, None if valid is None else valid.to(device)


class Interpolated(Candidate):
    """MS interpolated: the anchor that adds nothing.

    Args:
        name: What to call it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, 0)

    def read(self, box: Box) -> None:
        """Nothing."""

    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """The convention's own interpolation."""
        return ms_up, None


class Fused(Candidate):
    """The product of a fitted method, made as ``sharpen`` makes it.

    Args:
        name: What to call it.
        halo: Of the method with its back-projections.
        fitted: The method.
        consistency: Back-projections at the end.
        bands: The MS bands to keep, counted from 0.
    """

    def __init__(self, name: str, halo: int, fitted: Fitted, consistency: int, bands: Sequence[int]) -> None:
        super().__init__(name, halo)
        self._fitted, self._consistency, self._bands = fitted, consistency, list(bands)

    def read(self, box: Box) -> None:
        """Nothing."""

    def pixels(self, tile: Tile, ms_up: Tensor, loaded: Pixels | None, scale: float) -> Pixels:
        """Fuse; each candidate gets a tile of its own, for methods may change what it holds."""
        own = Tile(tile.ms, tile.pan, tile.operators, tile.ms_valid, tile.pan_valid)
        out = back_project(self._fitted.fuse(own), own, self._consistency)
        return (out if self._bands == list(range(len(out))) else out[self._bands]), own.valid
