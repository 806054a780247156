"""Randomness of one sample: everything is drawn from one generator, so that a seed and a number make a sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SEEDS = 1 << 63
"""So many a generator takes; what a large seed and a number make may be more."""


class Draw:
    """Numbers from a generator on the CPU.

    Args:
        seed: Of all that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed % _SEEDS)

    def uniform(self, low: float, high: float) -> float:
        """Uniform between the two."""
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def between(self, low: float, high: float) -> float:
        """Uniform in the logarithm."""
        return low * float((high / low) ** self.uniform(0, 1))

    def chance(self, share: float) -> bool:
        """True so often."""
        return float(torch.rand((), generator=self._generator)) < share

    def below(self, count: int) -> int:
        """A whole number from 0 on."""
        return int(torch.randint(count, (), generator=self._generator))

    def pick(self, shares: Sequence[float]) -> int:
        """An index, by its share."""
        return int(torch.multinomial(torch.tensor(shares), 1, generator=self._generator))

    def order(self, count: int) -> Tensor:
        """The numbers below ``count``, shuffled."""
        return torch.randperm(count, generator=self._generator)

    def rand(self, *shape: int) -> Tensor:
        """Uniform between 0 and 1."""
        return torch.rand(shape, generator=self._generator)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.randn(shape, generator=self._generator)
