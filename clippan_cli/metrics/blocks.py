"""Statistics of distinct blocks, and the universal image quality index Q that rests on them."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32
"""Side of a block in pixels, as the field counts."""

_ROUNDING = 8.0


class Blocks:
    """Means, variances and covariances of planes over distinct blocks.

    Rows and columns beyond the last whole block are left out.

    Args:
        x: ``(C, H, W)``.
        side: Side of a block in pixels.
    """

    def __init__(self, x: Tensor, side: int = BLOCK) -> None:
        planes, rows, cols = len(x), x.shape[1] // side, x.shape[2] // side
        cells = x[:, : rows * side, : cols * side].reshape(planes, rows, side, cols, side)
        mean = cells.mean((2, 4), keepdim=True)
        self._centred = cells - mean
        self._pixels = side * side
        self.mean = mean[:, :, 0, :, 0]
        """``(C, rows, cols)`` of blocks."""
        variance = self._mean_of(self._centred**2, (2, 4))
        noise = (_ROUNDING * torch.finfo(x.dtype).eps * self.mean) ** 2
        self.variance = torch.where(variance > noise, variance, 0.0)
        """``(C, rows, cols)``; 0 where a block is constant but for rounding."""

    def __len__(self) -> int:
        return len(self.mean)

    def covariance(self, plane: int, other: Blocks, theirs: int) -> Tensor:
        """Of one plane with one of ``other``: ``(rows, cols)``."""
        known = (self.variance[plane] > 0) & (other.variance[theirs] > 0)
        return torch.where(known, self._mean_of(self._centred[plane] * other._centred[theirs], (1, 3)), 0.0)

    def _mean_of(self, products: Tensor, dims: tuple[int, int]) -> Tensor:
        return products.sum(dims) / (self._pixels - 1)


def quality(first: Blocks, plane: int, second: Blocks, other: int) -> Tensor:
    """Universal image quality index Q (Wang and Bovik 2002) of two planes, block by block: ``(rows, cols)``.

    Two constant blocks of the same value have quality 1, any other undefined one 0.
    """
    mean, their_mean = first.mean[plane], second.mean[other]
    spread = (first.variance[plane] + second.variance[other]) * (mean**2 + their_mean**2)
    product = 4 * first.covariance(plane, second, other) * mean * their_mean
    flat = (first.variance[plane] == 0) & (second.variance[other] == 0)
    same = flat & torch.isclose(mean, their_mean, rtol=1e-5, atol=0.0)
    undefined = spread == 0
    return torch.where(undefined, same.to(mean), product / torch.where(undefined, 1.0, spread))
