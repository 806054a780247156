"""MS and PAN as networks take them, with their truth or without."""

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
class Batch(Pairs):
    """Pairs and their truth.

    Args:
        truth: ``(B, C, H, W)``, what a network should make of them.
    """

    truth: Tensor
