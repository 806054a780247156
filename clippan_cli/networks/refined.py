"""The house's own network, refined on one scene: what each band gets is mixed anew, by a few weights for each band."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.networks.injector import Injector
from clippan_cli.networks.network import Context, full_precision

_SOFT, _SOFTER = 0.7, 1.5
_LEVELS = (0.2, 3.0)
_OWN = 3


class Refined(Injector):
    """Adds to each band a mixture of what all bands get, of PAN's detail in three softnesses, and of products.

    The mixture is linear in its weights, so that they follow from a scene by least squares; at 0 nothing is changed.

    Args:
        bands: The number of MS bands.
        width: The number of channels of a branch, and of the trunk.
        blocks: How often branches and trunk tell one another what they see.
    """

    title: ClassVar[str] = "clippan's own, refined on a scene"
    any_bands: ClassVar[bool] = False

    def __init__(self, bands: int, width: int = 32, blocks: int = 3) -> None:
        super().__init__(bands, width, blocks)
        self.mixture = nn.Parameter(torch.zeros(bands, count_forms(bands)))

    @classmethod
    def of(cls, net: Injector, bands: int, **settings: Any) -> Refined:
        """Return a network with the weights of another; where that has no mixture, one that changes nothing yet."""
        made = cls(bands, **settings)
        made.load_state_dict({**made.state_dict(), **net.state_dict()})
        return made

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says."""
        detail, common, own = self.forms(ms_up, pan, context)
        mixture = self.mixture.to(detail)
        shared, alone = mixture[:, :-_OWN], mixture[:, -_OWN:]
        with full_precision(detail):
            mixed = F.conv2d(common, shared[..., None, None])
        for form, weight in zip(own, alone.unbind(1), strict=True):
            mixed = torch.addcmul(mixed, form, weight[:, None, None])
        return detail + mixed

    def forms(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return what the unrefined network adds ``(B, C, H, W)``, and what is mixed.

        Returns:
            The detail; the forms that all bands share, ``(B, 2C + 3, H, W)``; their own ones, ``(B, C, H, W)`` each.
        """
        assert context is not None
        detail = super().detail(ms_up, pan, context)
        fine = pan - context.pan_low
        with full_precision(detail):
            soft = blurred(torch.cat([fine, detail], 1), _SOFT)
            common = torch.cat([detail, fine, soft, blurred(fine, _SOFTER)], 1)
        mean = context.mean[..., None, None]
        level = torch.where(mean > 0, ms_up / mean.clamp(min=1e-12), 1.0).clamp(*_LEVELS) - 1
        return detail, common, [detail * level, fine * level, detail * level.mean(1, keepdim=True)]

    def last_weights(self) -> list[nn.Parameter]:
        """Return those of the mixture."""
        return [self.mixture]

    def planes(self, bands: int, ratio: float) -> int:
        """Count the forms besides."""
        return super().planes(bands, ratio) + 7 * bands + 8

    def receptive_field(self, bands: int) -> int:
        """Add the reach of what is softened."""
        return super().receptive_field(bands) + _reach(_SOFTER)


def count_forms(bands: int) -> int:
    """Return how many forms each band is mixed of."""
    return 2 * bands + 3 + _OWN


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Blur ``(B, C, H, W)`` by a Gaussian whose deviation is given in pixels, edges replicated."""
    taps, reach = _taps(sigma).to(x), _reach(sigma)
    planes = F.pad(x, (reach,) * 4, mode="replicate").flatten(0, 1)[:, None]
    out = F.conv2d(F.conv2d(planes, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))
    return out.view_as(x)


def _reach(sigma: float) -> int:
    return math.ceil(3 * sigma)


@lru_cache
def _taps(sigma: float) -> Tensor:
    with torch.inference_mode(mode=False):
        taps = torch.exp(-0.5 * (torch.arange(-_reach(sigma), _reach(sigma) + 1) / sigma) ** 2)
        return taps / taps.sum()
