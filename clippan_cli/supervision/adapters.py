"""Small layers behind a frozen CLIP that teach it what MS, PAN and HRMS are (CLIPPan, stage I)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TYPES = ("ms", "pan", "hrms")

_BOTTLENECK = 4
_BLENDS = {"image": 0.2, "text": 0.5}


class Adapter(nn.Module):
    """Turns ``f`` into ``normalise((1 - blend)·f + blend·W₂ relu(W₁ f))``; the last layer has no activation.

    Args:
        width: The length of a vector; with 512 there are 131,072 weights.
        blend: The share of what the layers make.
    """

    def __init__(self, width: int, blend: float) -> None:
        super().__init__()
        self.layers = _bottleneck(width, width)
        self._blend = blend

    def forward(self, features: Tensor) -> Tensor:
        """Adapt vectors: ``(B, D)`` to ``(B, D)`` of length 1."""
        return F.normalize((1 - self._blend) * features + self._blend * self.layers(features), dim=-1)


class FusionAdapter(nn.Module):
    """Predicts the features of HRMS from those of MS and PAN (IFA and TFA).

    Args:
        width: The length of a vector; with 512 there are 393,216 weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = _bottleneck(2 * width, width)

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        """Fuse vectors: two of ``(B, D)`` to one ``(B, D)`` of length 1."""
        return F.normalize(self.layers(torch.cat([ms, pan], -1)), dim=-1)


class Adapters(nn.Module):
    """Holds six adapters, one for the images and one for the text of each type, and the two of fusion.

    Args:
        width: The length of a vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image = nn.ModuleDict({kind: Adapter(width, _BLENDS["image"]) for kind in TYPES})
        self.text = nn.ModuleDict({kind: Adapter(width, _BLENDS["text"]) for kind in TYPES})
        self.fuse_images = FusionAdapter(width)
        self.fuse_texts = FusionAdapter(width)


def _bottleneck(inputs: int, outputs: int) -> nn.Sequential:
    """Make two layers with ``inputs / 4`` values between them."""
    middle = inputs // _BOTTLENECK
    return nn.Sequential(nn.Linear(inputs, middle, bias=False), nn.ReLU(), nn.Linear(middle, outputs, bias=False))
