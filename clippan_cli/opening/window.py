"""The same window of MS and PAN: read, and made ready for a method."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.method import Tile
from clippan_cli.physics.operators import Operators, fill_invalid
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.raster import Raster


class Window(NamedTuple):
    """Pixels as they were read, in DN.

    Args:
        ms: ``(C, h, w)``, 0 where invalid.
        ms_valid: ``(1 or C, h, w)``; None where all are valid.
        pan: ``(H, W)``, 0 where invalid.
        pan_valid: ``(H, W)``; None where all are valid.
        ms_box: Where ``ms`` lies on MS's grid.
        pan_box: Where ``pan`` lies on PAN's grid.
    """

    ms: Tensor
    ms_valid: Tensor | None
    pan: Tensor
    pan_valid: Tensor | None
    ms_box: Box
    pan_box: Box

    def tile(self, sampling: Sampling, scale: float, device: torch.device, wanted: Box | None = None) -> Tile:
        """In scene units of ``scale`` DN, MS continued into its gaps as far as upsampling can see.

        Args:
            sampling: Where MS lies on PAN.
            scale: DN of a scene unit.
            device: Where to compute.
            wanted: The part of the window that is used; None for all.
        """
        ms, ms_valid = self.ms.to(device), None if self.ms_valid is None else self.ms_valid.to(device)
        if ms_valid is not None:
            ms = fill_invalid(ms, ms_valid.expand_as(ms), 3 + sampling.largest_shift)
        return Tile(
            ms / scale,
            self.pan.to(device) / scale,
            Operators(sampling, self.pan_box, self.ms_box, device=device),
            ms_valid,
            None if self.pan_valid is None else self.pan_valid.to(device),
            wanted,
        )


def read_window(pair: Pair, ms_box: Box, pan_box: Box) -> Window:
    """Read both rasters."""
    ms, ms_valid = read_tensors(pair.ms, ms_box)
    pan, pan_valid = read_tensors(pair.pan, pan_box)
    return Window(ms, ms_valid, pan[0], None if pan_valid is None else pan_valid[0], ms_box, pan_box)


def read_tensors(raster: Raster, box: Box) -> tuple[Tensor, Tensor | None]:
    """Read one raster: ``(C, h, w)`` in DN, 0 where invalid; and its validity, None where all are valid."""
    pixels, valid = raster.read(box)
    return torch.from_numpy(pixels), None if valid is None else torch.from_numpy(valid)
