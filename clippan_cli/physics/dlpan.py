"""The exact filters of the DLPan benchmark, for results that can be compared with published tables."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_INTERP23 = (0.5, 0.305334091185, -0.072698593239, 0.021809577942, -0.005192756653, 0.000807762146, -0.000060081482)


def dlpan_kernel(ratio: int, gain: float, taps: int = 41) -> Tensor:
    """The MTF kernel of DLPan 1.0: Kaiser-windowed frequency sampling, not renormalised.

    Returns:
        ``(taps, taps)`` kernel in float64.
    """
    half = (taps - 1) / 2
    sigma = math.sqrt((half / ratio) ** 2 / (-2.0 * math.log(gain)))
    axis = torch.arange(taps, dtype=torch.float64) - half
    response = torch.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * sigma**2))
    kernel = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(response))).real
    windowed: Tensor = kernel * _rotated_kaiser(taps, 0.5)
    return windowed


def _rotated_kaiser(taps: int, beta: float) -> Tensor:
    """A Kaiser window swept around its centre (Huang's method)."""
    position = torch.linspace(-1, 1, taps, dtype=torch.float64)
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    radius = torch.hypot(position[:, None], position[None, :])
    index = (radius.clamp(max=1) + 1) / 2 * (taps - 1)
    low = index.floor().long().clamp(max=taps - 2)
    value = window[low] + (window[low + 1] - window[low]) * (index - low)
    return torch.where(radius <= 1, value, 0.0)


def dlpan_degrade(x: Tensor, ratio: int, gains: tuple[float, ...]) -> Tensor:
    """Filter each band with its DLPan kernel and decimate at ``ratio // 2``.

    Args:
        x: ``(C, H, W)`` image.
        ratio: Integer ratio.
        gains: MTF gain of each band at the MS Nyquist frequency.

    Returns:
        ``(C, H / ratio, W / ratio)``.
    """
    return dlpan_filter(x, ratio, gains)[:, ratio // 2 :: ratio, ratio // 2 :: ratio]


def dlpan_filter(x: Tensor, ratio: int, gains: tuple[float, ...]) -> Tensor:
    """Filter each band with its DLPan kernel, edges replicated: ``(C, H, W)`` to the same."""
    kernels = torch.stack([dlpan_kernel(ratio, gain) for gain in gains]).to(x)
    reach = kernels.shape[-1] // 2
    padded = F.pad(x[None], (reach,) * 4, mode="replicate")
    return F.conv2d(padded, kernels[:, None], groups=len(gains))[0]


def interp23(x: Tensor, ratio: int) -> Tensor:
    """DLPan's 23-tap interpolation, circular at the edges: ``(C, h, w)`` to ``(C, h·ratio, w·ratio)``.

    Raises:
        ValueError: ``ratio`` is not a power of two.
    """
    if ratio < 1 or ratio & (ratio - 1):
        raise ValueError(f"interp23 needs a power of two, got ratio {ratio}")
    first = True
    for _ in range(int(math.log2(ratio))):
        for dim in (-2, -1):
            x = _double(x, dim, offset=1 if first else 0)
        first = False
    return x


def _double(x: Tensor, dim: int, offset: int) -> Tensor:
    """Double one axis: insert zeros beside the samples at ``offset`` and filter."""
    sparse = torch.stack(
        (x, torch.zeros_like(x)) if offset == 0 else (torch.zeros_like(x), x), dim=-1 if dim == -1 else dim
    )
    sparse = sparse.flatten(-2) if dim == -1 else sparse.flatten(dim - 1, dim)
    out = sparse * (2 * _INTERP23[0])
    for index, tap in enumerate(_INTERP23[1:]):
        lag = 2 * index + 1
        out = out + 2 * tap * (sparse.roll(lag, dim) + sparse.roll(-lag, dim))
    return out
