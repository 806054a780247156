"""What lies around each pixel, in a number of steps that grows with the logarithm of the distance."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_around(x: Tensor, radius: int) -> Tensor:
    """Mean over the ``2 · radius + 1`` squared pixels around each that lie inside the image.

    Args:
        x: ``(B, C, H, W)``.
        radius: Pixels to each side.
    """
    return _square(x, radius, torch.add, 0.0) / _square(torch.ones_like(x[:1, :1]), radius, torch.add, 0.0)


def top_around(x: Tensor, radius: int) -> Tensor:
    """Highest value of the same pixels: ``(B, C, H, W)``."""
    return _square(x, radius, torch.maximum, -torch.inf)


def _square(x: Tensor, radius: int, joined: Callable[[Tensor, Tensor], Tensor], beyond: float) -> Tensor:
    for dim, edges in ((2, (0, 0, radius, radius)), (3, (radius, radius))):
        x = _line(F.pad(x, edges, value=beyond), 2 * radius + 1, x.shape[dim], dim, joined)
    return x


def _line(x: Tensor, length: int, size: int, dim: int, joined: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Join the ``length`` pixels from each on: runs of 1, 2, 4, … pixels, of which the length is made up."""
    total, start, run = None, 0, 1
    while True:
        if length & run:
            part = x.narrow(dim, start, size)
            total = part if total is None else joined(total, part)
            start += run
        if 2 * run > length:
            assert total is not None
            return total
        rest = x.shape[dim] - run
        x = joined(x.narrow(dim, 0, rest), x.narrow(dim, run, rest))
        run *= 2
