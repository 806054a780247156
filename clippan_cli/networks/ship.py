"""SHIP (Zhou et al. 2025), in the small form that serves as teacher in CLIPPan's experiments."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.networks.network import Context, Network, completed, conv
from clippan_cli.networks.regions import HalfNormed, Refine, Regions, scope_is_local

WINDOW = 32
"""The side of a window in which products and attention stay, in PAN pixels."""

_CLAMP = 0.8
_DENSE = 4


class Ship(Network):
    """Lets MS and PAN interact at high order in the Fourier domain, then mixes invertibly.

    The paper does not give the size of the layers inside an interaction; they are chosen so that the sum is that of the
    published configuration.

    Args:
        bands: The number of MS bands.
        width: The number of channels.
        depth: The number of half-normalised blocks of each encoder.
        scope: What a Fourier transform, an attention or a mean spans: ``"image"``, all of it as in the paper, or
            ``"window"``, windows of 32 × 32 pixels with no instance normalisation, which tiles agree on.
    """

    title: ClassVar[str] = "Deep spatial–spectral high-order interaction for pansharpening (2025)"
    planes_per_channel: ClassVar[int] = 28
    multiple: ClassVar[int] = WINDOW

    def __init__(self, bands: int, width: int = 16, depth: int = 4, scope: str = "window") -> None:
        super().__init__(bands)
        self._local, self._depth = scope_is_local(scope), depth
        self.of_ms, self.of_pan = self._encoder(bands, width), self._encoder(1, width)
        self.interactions = nn.ModuleList(_Interaction(width) for _ in range(3))
        self.mixing = _Invertible(3 * width, width)
        self.merge = nn.Conv2d(3 * width, width, 1)
        self.refine = Refine(width, bands, gates=2)

    def _encoder(self, inputs: int, width: int) -> nn.Sequential:
        return nn.Sequential(conv(inputs, width), *(HalfNormed(width, self._local) for _ in range(self._depth)))

    def detail(self, ms_up: Tensor, pan: Tensor, context: Context | None = None) -> Tensor:
        """Predict what :meth:`Network.detail` says; sizes that are no multiple of 32 are continued by their edges."""
        height, width = ms_up.shape[-2:]
        multiple = WINDOW if self._local else 1
        ms, other = completed(ms_up, multiple), completed(pan, multiple)
        regions = Regions(ms.shape, WINDOW if self._local else None)
        ms, other = self.of_ms(ms), self.of_pan(other)
        stages = []
        for interaction in self.interactions:
            ms, other = interaction(ms, other, regions)
            stages.append(ms)
        out: Tensor = self.refine(self.merge(self.mixing(torch.cat(stages, 1))), regions)
        return out[..., :height, :width]

    def receptive_field(self, bands: int) -> int | None:
        """Add up convolutions (encoders, 2 of each interaction, 10 of the mixing, 6 at the end) and windows of 31."""
        if not self._local:
            return None
        count = len(self.interactions)
        return 1 + 2 * self._depth + 2 * count + 2 * (_DENSE + 1) + 6 + (count + 2) * (WINDOW - 1)


class _Interaction(nn.Module):
    """Multiplies MS and PAN as spectra, and by attention between channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.after = conv(width, width, groups=width)
        self.evolve = nn.Sequential(_row(), _row())
        self.of_product = nn.Conv2d(
            width, width, (1, 3), padding=(0, 1), padding_mode="reflect", groups=width, bias=False
        )
        self.merge = nn.Conv2d(2 * width, width, 1)
        self.pan = nn.Sequential(conv(width, width, groups=width), nn.ReLU(), conv(width, width, groups=width))

    def forward(self, ms: Tensor, pan: Tensor, regions: Regions) -> tuple[Tensor, Tensor]:
        v, p = regions.split(ms), regions.split(pan)
        side = v.shape[-2:]
        # Orthonormal, so that the product neither grows nor fades with the size of the region.
        spectrum = torch.fft.rfft2(_wide(v), norm="ortho") * torch.fft.rfft2(_wide(p), norm="ortho")
        z = self._normed(torch.fft.irfft2(spectrum, s=side, norm="ortho"))
        tokens_v, tokens_p = v.flatten(2), p.flatten(2)
        attention = torch.softmax(tokens_v @ tokens_p.mT / tokens_v.shape[2] ** 0.5, -1)
        first = regions.join((attention @ (z * p).flatten(2)).view_as(v))
        first = self.after(first) + ms
        evolved = torch.softmax(self.evolve(attention[:, None])[:, 0], -1)
        product = self.of_product(regions.join(z))
        second = regions.join((evolved @ self._normed(regions.split(product)).flatten(2)).view_as(v))
        return self.merge(torch.cat([first, second], 1)) + ms, self.pan(pan)

    def _normed(self, x: Tensor) -> Tensor:
        """Normalise over the channels."""
        out: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return out


def _wide(x: Tensor) -> Tensor:
    """Widen bfloat16, which the FFT does not know."""
    return x.float() if x.dtype == torch.bfloat16 else x


def _row() -> nn.Conv2d:
    """Make a convolution of 3 along rows."""
    return nn.Conv2d(1, 1, (1, 3), padding=(0, 1))


class _Invertible(nn.Module):
    """Runs a 1 × 1 convolution that begins as a rotation, then an affine coupling of the two halves."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(width, width))
        self.rotation = nn.Parameter(rotation)
        self.f, self.g, self.h = (_Dense(width // 2, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.conv2d(x, self.rotation[..., None, None]).chunk(2, 1)
        first = first + self.f(second)
        scale = _CLAMP * (2 * torch.sigmoid(self.h(first)) - 1)
        return torch.cat([first, second * scale.exp() + self.g(first)], 1)


class _Dense(nn.Module):
    """Runs convolutions that see all that came before."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(width + i * growth, growth) for i in range(_DENSE))
        self.tail = conv(width + _DENSE * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, F.leaky_relu(layer(x), 0.2)], 1)
        out: Tensor = self.tail(x)
        return out
