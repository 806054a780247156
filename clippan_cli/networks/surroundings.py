"""What lies around each pixel, within the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.physics.sliding import Join, slide, split_at_power


def mean_around(x: Tensor, radius: int) -> Tensor:
    """Return the mean over the ``2 · radius + 1`` squared pixels around each that lie inside the image.

    Args:
        x: ``(B, C, H, W)``.
        radius: The number of pixels to each side.
    """
    return _square(x, radius, torch.add, 0.0) / _square(torch.ones_like(x[:1, :1]), radius, torch.add, 0.0)


def top_around(x: Tensor, radius: int) -> Tensor:
    """Return the highest value of the same pixels: ``(B, C, H, W)``."""
    return _square(x, radius, torch.maximum, -torch.inf)


def _square(x: Tensor, radius: int, join: Join, beyond: float) -> Tensor:
    """Join the pixels around each, where all beyond the edges have one value."""
    for dim, edges in ((2, (0, 0, radius, radius)), (3, (radius, radius))):
        # The models that ship were trained on sums rounded in this order.
        x = slide(F.pad(x, edges, value=beyond), dim, 2 * radius + 1, join, split_at_power)
    return x
