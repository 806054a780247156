"""Small layers behind a frozen CLIP that teach it what MS, PAN and HRMS are (CLIPPan, stage I)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.supervision.forms import SHARED

TYPES = ("ms", "pan", "hrms")

_BOTTLENECK = 4
_BLEND = 0.2
_BLENDS = {"image": 0.2, "text": 0.5}


class Adapter(nn.Module):
    """Turns ``f`` into ``normalise((1 - blend)·f + blend·W₂ relu(W₁ f))``; the last layer has no activation.

    Args:
        width: The length of a vector; with 512 there are 131,072 weights.
        blend: The share of what the layers make.
        bounded: Whether what the layers make is at most of length 1: then it cannot take the place of ``f``.
    """

    def __init__(self, width: int, blend: float, *, bounded: bool = False) -> None:
        super().__init__()
        self.layers = _bottleneck(width, width)
        self._blend, self._bounded = blend, bounded

    def forward(self, features: Tensor) -> Tensor:
        """Adapt vectors: ``(B, D)`` to ``(B, D)`` of length 1."""
        made = self.layers(features)
        if self._bounded:
            made = made / made.norm(dim=-1, keepdim=True).clamp(min=1)
        return F.normalize((1 - self._blend) * features + self._blend * made, dim=-1)


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
    """Holds the adapters of images and of texts, and the two of fusion.

    With one for each type of image, as in the paper, the adapter says of which type an image is: whatever goes through
    that of MS is MS, noise too. Shared by all images, it can only say what is seen in them.

    Args:
        width: The length of a vector.
        form: One of :data:`~clippan_cli.supervision.forms.ADAPTERS`.
    """

    def __init__(self, width: int, form: str = SHARED) -> None:
        super().__init__()
        self.form = form
        bounded = form == SHARED
        images = (SHARED,) if bounded else TYPES
        blends = {"image": _BLEND, "text": _BLEND} if bounded else _BLENDS
        self.image = nn.ModuleDict({kind: Adapter(width, blends["image"], bounded=bounded) for kind in images})
        self.text = nn.ModuleDict({kind: Adapter(width, blends["text"], bounded=bounded) for kind in TYPES})
        self.fuse_images = FusionAdapter(width)
        self.fuse_texts = FusionAdapter(width)

    def of_image(self, kind: str) -> nn.Module:
        """Return the adapter of images of a type."""
        return self.image[SHARED if self.form == SHARED else kind]


def _bottleneck(inputs: int, outputs: int) -> nn.Sequential:
    """Make two layers with ``inputs / 4`` values between them."""
    middle = inputs // _BOTTLENECK
    return nn.Sequential(nn.Linear(inputs, middle, bias=False), nn.ReLU(), nn.Linear(middle, outputs, bias=False))
