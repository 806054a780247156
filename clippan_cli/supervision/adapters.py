"""Small layers behind a frozen CLIP that teach it what MS, PAN and HRMS are (CLIPPan, stage I)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TYPES = ("ms", "pan", "hrms")

_BOTTLENECK = 4
_BLENDS = {"image": 0.2, "text": 0.5}


class Adapter(nn.Module):
    """``f`` to ``normalise((1 - blend)·f + blend·W₂ relu(W₁ f))``; the last layer has no activation.

    Args:
        width: Length of a vector; with 512 it has 131,072 weights.
        blend: Share of what the layers make.
    """

    def __init__(self, width: int, blend: float) -> None:
        super().__init__()
        self.layers = _bottleneck(width, width)
        self._blend = blend

    def forward(self, features: Tensor) -> Tensor:
        """``(B, D)`` to ``(B, D)`` of length 1."""
        return F.normalize((1 - self._blend) * features + self._blend * self.layers(features), dim=-1)


class FusionAdapter(nn.Module):
    """What the features of HRMS should be, from those of MS and PAN (IFA and TFA).

    Args:
        width: Length of a vector; with 512 it has 393,216 weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = _bottleneck(2 * width, width)

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        """Two of ``(B, D)`` to one ``(B, D)`` of length 1."""
        return F.normalize(self.layers(torch.cat([ms, pan], -1)), dim=-1)


class Adapters(nn.Module):
    """Six adapters, an image's and a text's for each type, and the two of fusion.

    Args:
        width: Length of a vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image = nn.ModuleDict({kind: Adapter(width, _BLENDS["image"]) for kind in TYPES})
        self.text = nn.ModuleDict({kind: Adapter(width, _BLENDS["text"]) for kind in TYPES})
        self.fuse_images = FusionAdapter(width)
        self.fuse_texts = FusionAdapter(width)


def _bottleneck(inputs: int, outputs: int) -> nn.Sequential:
    """Both layers have ``inputs / 4`` between them."""
    middle = inputs // _BOTTLENECK
    return nn.Sequential(nn.Linear(inputs, middle, bias=False), nn.ReLU(), nn.Linear(middle, outputs, bias=False))
