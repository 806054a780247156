"""The exact filters of the DLPan benchmark, for results that can be compared with published tables."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_INTERP23 = (0.5, 0.305334091185, -0.072698593239, 0.021809577942, -0.005192756653, 0.000807762146, -0.000060081482)


def dlpan_kernel(ratio: int, gain: float, taps: int = 41) -> Tensor:
    """Return the MTF kernel of DLPan 1.0: Kaiser-windowed frequency sampling, not renormalised.

    Returns:
        The kernel, ``(taps, taps)`` in float64.
    """
    half = (taps - 1) / 2
    sigma = math.sqrt((half / ratio) ** 2 / (-2.0 * math.log(gain)))
    axis = torch.arange(taps, dtype=torch.float64) - half
    response = torch.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * sigma**2))
    kernel = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(response))).real
    windowed: Tensor = kernel * _rotated_kaiser(taps, 0.5)
    return windowed


def _rotated_kaiser(taps: int, beta: float) -> Tensor:
    """Sweep a Kaiser window around its centre (Huang's method)."""
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
        x: The image, ``(C, H, W)``.
        ratio: The ratio, an integer.
        gains: The MTF gain of each band at the MS Nyquist frequency.

    Returns:
        The image, ``(C, H / ratio, W / ratio)``.
    """
    return dlpan_filter(x, ratio, gains)[:, ratio // 2 :: ratio, ratio // 2 :: ratio]


def dlpan_filter(x: Tensor, ratio: int, gains: tuple[float, ...]) -> Tensor:
    """Filter each band with its DLPan kernel, edges replicated: ``(C, H, W)`` to the same."""
    kernels = torch.stack([dlpan_kernel(ratio, gain) for gain in gains]).to(x)
    reach = kernels.shape[-1] // 2
    padded = F.pad(x[None], (reach,) * 4, mode="replicate")[0]
    # By Fourier transform: 41 × 41 taps a pixel are slow, and the padding absorbs the wrap.
    size = padded.shape[1:]
    product = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=size)
    filtered: Tensor = torch.fft.irfft2(product, s=size)[:, 2 * reach :, 2 * reach :].contiguous()
    return filtered


def interp23(x: Tensor, ratio: int) -> Tensor:
    """Interpolate with DLPan's 23 taps, circular at the edges: ``(C, h, w)`` to ``(C, h·ratio, w·ratio)``.

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


def imresize(x: Tensor, ratio: int) -> Tensor:
    """Do MATLAB's ``imresize(x, 1 / ratio)`` (antialiased bicubic, edges mirrored): ``(C, H, W)`` to a smaller size."""
    taps = torch.arange(-2 * ratio, 3 * ratio, dtype=torch.float64)
    weights = _cubic((taps - (ratio - 1) / 2) / ratio)
    weights = (weights / weights.sum()).to(x)
    for dim in (-2, -1):
        size = x.shape[dim]
        head = x.narrow(dim, 0, 2 * ratio).flip(dim)
        tail = x.narrow(dim, size - 2 * ratio, 2 * ratio).flip(dim)
        windows = torch.cat([head, x, tail], dim).unfold(dim, 5 * ratio, ratio)
        x = windows @ weights
    return x


def _cubic(t: Tensor) -> Tensor:
    """Return Keys' cubic with a = -1/2."""
    t = t.abs()
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))
