"""Back-projection: the product, degraded through the sensor's MTF, gives back the measured MS."""

from __future__ import annotations

import torch
from torch import Tensor

from clippan_cli.fusion.method import Method, Tile
from clippan_cli.physics.sampling import Sampling


def back_project(hrms: Tensor, tile: Tile, steps: int) -> Tensor:
    """Repeat ``out ← out + U(m - D(out))``.

    Args:
        hrms: The fused image, ``(C, H, W)``; overwritten.
        tile: The tile that was fused.
        steps: The number of repetitions.
    """
    for _ in range(steps):
        hrms += tile.operators.up(residual(hrms, tile))
    return hrms


def residual(hrms: Tensor, tile: Tile) -> Tensor:
    """Return what the degraded product lacks of the measured MS: ``(C, h, w)``, 0 where nothing was measured."""
    missing = tile.ms.values - tile.operators.down(hrms, tile.valid)
    return torch.where(tile.measured, missing, 0)


def back_projection_halo(sampling: Sampling, steps: int) -> int:
    """Return how many PAN pixels further ``steps`` back-projections look."""
    return steps * (sampling.up_reach + sampling.down_reach)


def total_halo(method: Method, sampling: Sampling, consistency: int) -> int:
    """Return how many PAN pixels a tile must look beyond itself."""
    return method.halo(sampling) + back_projection_halo(sampling, consistency) + 2
