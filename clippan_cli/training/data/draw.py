"""Randomness of one sample: everything is drawn from one generator, so that a seed and a number make a sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box

_SEEDS = 1 << 63
"""The number of seeds that a generator takes; what a large seed and a number make may be more."""


class Draw:
    """Draws numbers from a generator on the CPU.

    Args:
        seed: The seed of all that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed % _SEEDS)

    @classmethod
    def of(cls, seed: int, number: int) -> Draw:
        """Return the randomness of one sample of a training with that seed."""
        return cls(seed * 1_000_003 + number)

    def uniform(self, low: float, high: float) -> float:
        """Draw a number, uniform between the two."""
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def between(self, low: float, high: float) -> float:
        """Draw a number whose logarithm is uniform."""
        return low * float((high / low) ** self.uniform(0, 1))

    def chance(self, share: float) -> bool:
        """Draw a truth value that is True in that share of all draws."""
        return float(torch.rand((), generator=self._generator)) < share

    def below(self, count: int) -> int:
        """Draw a whole number from 0 on, below ``count``."""
        return int(torch.randint(count, (), generator=self._generator))

    def pick(self, shares: Sequence[float]) -> int:
        """Draw an index by its share."""
        return int(torch.multinomial(torch.tensor(shares), 1, generator=self._generator))

    def order(self, count: int) -> Tensor:
        """Shuffle the numbers below ``count``."""
        return torch.randperm(count, generator=self._generator)

    def box(self, area: Box, shape: Sequence[int]) -> Box:
        """Draw where a box of that height and width lies within ``area``."""
        corner = [span.start + self.below(span.size - size + 1) for span, size in zip(area, shape, strict=True)]
        return Box.at(corner, shape)

    def rand(self, *shape: int) -> Tensor:
        """Draw numbers, uniform between 0 and 1."""
        return torch.rand(shape, generator=self._generator)

    def normal(self, *shape: int) -> Tensor:
        """Draw numbers from the standard normal distribution."""
        return torch.randn(shape, generator=self._generator)
