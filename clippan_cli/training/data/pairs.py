"""MS and PAN as networks take them, with their truth or without, and as losses and supervisors look at them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from clippan_cli.networks.network import Context
from clippan_cli.physics.operators import Operators


@dataclass(frozen=True)
class Pairs:
    """MS and PAN as a network takes them.

    Args:
        ms: ``(B, C, h, w)``.
        pan: ``(B, 1, H, W)``.
        ms_up: ``(B, C, H, W)``, MS interpolated to PAN's grid.
        context: What is known of the scenes, as a network may ask for it.
        operators: The operators between MS and PAN, for all bands of all samples at once.
    """

    ms: Tensor
    pan: Tensor
    ms_up: Tensor
    context: Context
    operators: Operators


@dataclass(frozen=True, kw_only=True)
class Stretched(Pairs):
    """Pairs, and what makes images of them that can be looked at.

    Args:
        low: ``(B, C + 1)``, what is dark in MS and in PAN.
        high: ``(B, C + 1)``, what is bright in MS and in PAN.
        mixture: ``(B, C + 1)``, non-negative weights of the MS bands in PAN, and a constant.
    """

    low: Tensor
    high: Tensor
    mixture: Tensor

    def bands(self, x: Tensor) -> Tensor:
        """Stretch bands ``(B, C, H, W)`` so that 0 and 1 are their dark and their bright end."""
        return self._stretch(x, slice(0, -1))

    def pans(self, x: Tensor) -> Tensor:
        """Stretch PAN ``(B, 1, H, W)`` so that 0 and 1 are its dark and its bright end."""
        return self._stretch(x, slice(-1, None))

    def _stretch(self, x: Tensor, which: slice) -> Tensor:
        low, high = (end[:, which, None, None] for end in (self.low, self.high))
        return (x - low) / (high - low)


@dataclass(frozen=True, kw_only=True)
class Batch(Pairs):
    """Pairs and their truth.

    Args:
        truth: ``(B, C, H, W)``, what a network should make of them.
    """

    truth: Tensor
