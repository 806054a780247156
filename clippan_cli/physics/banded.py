"""Banded matrices: the one mechanism behind every linear operator of the physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BLOCK = 32


@dataclass(frozen=True)
class Banded:
    """Holds a banded matrix as dense blocks of rows.

    Args:
        shape: The number of rows and columns.
        blocks: The matrix as ``(first column, dense block)`` for consecutive groups of rows.
    """

    shape: tuple[int, int]
    blocks: tuple[tuple[int, Tensor], ...]

    @classmethod
    def from_entries(
        cls,
        shape: tuple[int, int],
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
        values: NDArray[np.float64],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Banded:
        """Build the matrix from its entries; entries of one place add up."""
        height, width = shape
        step = _BLOCK if height >= width else max(4, _BLOCK * height // max(width, 1))
        blocks = []
        for top in range(0, height, step):
            inside = (rows >= top) & (rows < top + step)
            i, j, v = rows[inside] - top, cols[inside], values[inside]
            first, last = (int(j.min()), int(j.max()) + 1) if j.size else (0, 1)
            block = np.zeros((min(step, height - top), last - first))
            np.add.at(block, (i, j - first), v)
            blocks.append((first, torch.as_tensor(block).to(device, dtype)))
        return cls(shape, tuple(blocks))

    def along_rows(self, x: Tensor) -> Tensor:
        """Multiply every column: ``(..., cols, W)`` becomes ``(..., rows, W)``."""
        parts = [block @ x[..., first : first + block.shape[1], :] for first, block in self.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -2)

    def along_cols(self, x: Tensor) -> Tensor:
        """Multiply every row: ``(..., H, cols)`` becomes ``(..., H, rows)``."""
        flat = x.reshape(-1, x.shape[-1])
        if x.requires_grad:
            out = torch.cat([flat[:, first : first + block.shape[1]] @ block.T for first, block in self.blocks], 1)
        else:
            # Without a gradient the blocks are written where they belong: joining them costs as much as the products.
            out, at = flat.new_empty(flat.shape[0], self.shape[0]), 0
            for first, block in self.blocks:
                torch.mm(flat[:, first : first + block.shape[1]], block.T, out=out[:, at : at + len(block)])
                at += len(block)
        return out.reshape(*x.shape[:-1], self.shape[0])


def separable(rows: Banded, cols: Banded, x: Tensor) -> Tensor:
    """Apply one matrix to each axis: ``R · x · Cᵀ`` on the last two dimensions."""
    return cols.along_cols(rows.along_rows(x))
