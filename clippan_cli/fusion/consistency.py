"""Back-projection: the product, degraded through the sensor's MTF, gives back the measured MS."""

from __future__ import annotations

import torch
from torch import Tensor

from clippan_cli.fusion.method import Method, Tile
from clippan_cli.physics.sampling import Sampling


def back_project(hrms: Tensor, tile: Tile, steps: int) -> Tensor:
    """``out ← out + U(m - D(out))``, ``steps`` times.

    Args:
        hrms: ``(C, H, W)``; overwritten.
        tile: Where it was fused.
        steps: How often.
    """
    for _ in range(steps):
        hrms += tile.operators.up(residual(hrms, tile))
    return hrms


def residual(hrms: Tensor, tile: Tile) -> Tensor:
    """What the measured MS has and the degraded product has not: ``(C, h, w)``, 0 where nothing was measured."""
    missing = tile.ms.values - tile.operators.down(hrms, tile.valid)
    return torch.where(tile.measured, missing, 0)


def back_projection_halo(sampling: Sampling, steps: int) -> int:
    """PAN pixels that ``steps`` back-projections look further."""
    return steps * (sampling.up_reach + sampling.down_reach)


def total_halo(method: Method, sampling: Sampling, consistency: int) -> int:
    """PAN pixels that a tile must look beyond itself."""
    return method.halo(sampling) + back_projection_halo(sampling, consistency) + 2
