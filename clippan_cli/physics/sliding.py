"""Sliding windows: neighbours are joined in steps whose number grows with the logarithm of theirs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Join = Callable[[Tensor, Tensor], Tensor]
Split = Callable[[int], tuple[int, int]]


def halve(length: int) -> tuple[int, int]:
    """Split a window in the middle; an odd one gives its last pixel first."""
    return (length - 1, 1) if length % 2 else (length // 2, length // 2)


def split_at_power(length: int) -> tuple[int, int]:
    """Split off the longest power of two at a window's end; a power of two is halved."""
    power = 1 << (length.bit_length() - 1)
    return (power // 2, power // 2) if power == length else (length - power, power)


def slide(x: Tensor, dim: int, length: int, join: Join = torch.add, split: Split = halve) -> Tensor:
    """Join ``length`` neighbours, from each pixel on, along one dimension.

    Args:
        x: An image of any number of dimensions.
        dim: The dimension, which becomes shorter by ``length - 1``.
        length: The number of pixels in a window.
        join: The function that joins two images pixel by pixel: a sum or a maximum.
        split: The function that cuts a window into the two parts that are joined; only a sum's rounding depends on it.
    """
    if length == 1:
        return x
    first, second = split(length)
    size = x.shape[dim] - length + 1
    whole = slide(x, dim, first, join, split)
    here = whole.narrow(dim, 0, size)
    beyond = whole if second == first else slide(x, dim, second, join, split)
    return join(here, beyond.narrow(dim, first, size))
