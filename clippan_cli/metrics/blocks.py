"""Statistics of distinct blocks, and the universal image quality index Q that rests on them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 32
"""The side of a block in pixels, as the field counts."""

_ROUNDING = 16.0


class Blocks:
    """Holds means, variances and covariances of planes over distinct blocks.

    Rows and columns beyond the last whole block are left out.

    Args:
        x: The planes ``(C, H, W)``.
        side: The side of a block in pixels.
    """

    def __init__(self, x: Tensor, side: int = BLOCK) -> None:
        planes, rows, cols = len(x), x.shape[1] // side, x.shape[2] // side
        cells = x[:, : rows * side, : cols * side].reshape(planes, rows, side, cols, side)
        self._pixels = side * side
        self.mean = _total(cells) / self._pixels
        """The mean of each block: ``(C, rows, cols)``."""
        self._centred = cells - self.mean[:, :, None, :, None]
        variance = _total(self._centred**2) / (self._pixels - 1)
        noise = (_ROUNDING * torch.finfo(x.dtype).eps * self.mean) ** 2
        self.variance = torch.where(variance > noise, variance, 0.0)
        """The variance of each block ``(C, rows, cols)``; 0 where it is constant but for rounding."""

    def __len__(self) -> int:
        return len(self.mean)

    def covariances(self, planes: Sequence[int], other: Blocks, theirs: Sequence[int]) -> Tensor:
        """Return the covariances of planes with planes of ``other``, pair by pair: ``(pairs, rows, cols)``."""
        products = [_total(self._centred[mine] * other._centred[its]) for mine, its in zip(planes, theirs, strict=True)]
        known = (self.variance[list(planes)] > 0) & (other.variance[list(theirs)] > 0)
        return torch.where(known, torch.stack(products) / (self._pixels - 1), 0.0)


def _total(cells: Tensor) -> Tensor:
    """Sum the pixels of each block: ``(…, rows, side, cols, side)`` to ``(…, rows, cols)``."""
    # Rows first: whole rows are added with vector instructions, the short rest hardly counts.
    return cells.sum(-3).sum(-1)


def quality(first: Blocks, planes: Sequence[int], second: Blocks, others: Sequence[int]) -> Tensor:
    """Return the universal image quality index Q (Wang and Bovik 2002) of pairs of planes, block by block.

    Two constant blocks of the same value have quality 1, any other undefined one 0.

    Args:
        first: The blocks of one image.
        planes: The index of its plane in each pair.
        second: The blocks of the other image.
        others: The index of its plane in each pair.

    Returns:
        Q ``(pairs, rows, cols)``.
    """
    mine, its = list(planes), list(others)
    mean, variance = first.mean[mine], first.variance[mine]
    their_mean, their_variance = second.mean[its], second.variance[its]
    spread = (variance + their_variance) * (mean**2 + their_mean**2)
    product = 4 * first.covariances(mine, second, its) * mean * their_mean
    flat = (variance == 0) & (their_variance == 0)
    same = flat & ((mean - their_mean).abs() <= 1e-5 * mean.abs())
    undefined = spread == 0
    return torch.where(undefined, same.to(mean), product / torch.where(undefined, 1.0, spread))
