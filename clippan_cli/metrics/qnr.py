"""Quality with no reference: the QNR family, in the conventions of DLPan 1.0.

All of it works at PAN's resolution on distinct blocks of 32 pixels. QNR alone says little: plain interpolation has
D_λ = 0 and scores high. Read it beside that of interpolation.
"""

from __future__ import annotations

from itertools import combinations

from torch import Tensor

from clippan_cli.metrics.blocks import BLOCK, Blocks, quality
from clippan_cli.metrics.hypercomplex import q2n


def d_lambda(fused: Tensor, ms_up: Tensor, block: int = BLOCK) -> Tensor:
    """Return the spectral distortion D_λ (Alparone et al. 2008): how far the mutual qualities of bands have changed.

    Args:
        fused: The fused image ``(C, H, W)``.
        ms_up: The interpolated MS ``(C, H, W)``.
        block: The side of a block in pixels.
    """
    return mean_change(between_bands(Blocks(fused, block)), between_bands(Blocks(ms_up, block)))


def d_s(fused: Tensor, ms_up: Tensor, pan: Tensor, pan_low: Tensor, block: int = BLOCK) -> Tensor:
    """Return the spatial distortion D_s (Alparone et al. 2008): how far the qualities of bands with PAN have changed.

    Args:
        fused: The fused image ``(C, H, W)``.
        ms_up: The interpolated MS ``(C, H, W)``.
        pan: The PAN image ``(H, W)``.
        pan_low: The PAN image without what MS cannot resolve, ``(1 or C, H, W)``.
        block: The side of a block in pixels.
    """
    with_pan = against(Blocks(fused, block), Blocks(pan[None], block))
    return mean_change(with_pan, against(Blocks(ms_up, block), Blocks(pan_low, block)))


def d_lambda_k(seen: Tensor, ms: Tensor, block: int = BLOCK) -> Tensor:
    """Return the spectral distortion D_λ^K (Khan et al. 2009): 1 - Q2n of MS and of what the sensor sees of an image.

    In convention a (DLPan) both are at PAN's resolution: ``seen``, filtered but not decimated, and the interpolated MS.
    In convention b (Vivone et al. 2021) both are at MS's resolution: ``seen``, decimated, and MS itself.

    Args:
        seen: The fused image as the sensor would see it, ``(C, H, W)``.
        ms: The MS image ``(C, H, W)``.
        block: The side of a block in pixels.
    """
    return 1 - q2n(seen, ms, block)


def qnr(spectral: Tensor, spatial: Tensor) -> Tensor:
    """Return (1 - D_λ)·(1 - D_s); with D_λ^K in place of D_λ it is HQNR (Aiazzi et al. 2014)."""
    return (1 - spectral) * (1 - spatial)


def between_bands(bands: Blocks) -> Tensor:
    """Return Q of each pair of bands ``(0, 1), (0, 2) … (1, 2) …``, block by block: ``(pairs, rows, cols)``.

    Raises:
        ValueError: There is one band only.
    """
    if len(bands) < 2:
        raise ValueError("a single band has no pair")
    first, second = zip(*combinations(range(len(bands)), 2), strict=True)
    return quality(bands, first, bands, second)


def against(bands: Blocks, pan: Blocks) -> Tensor:
    """Return Q of each band with PAN, or with PAN as that band sees it, block by block: ``(C, rows, cols)``."""
    every = range(len(bands))
    return quality(bands, every, pan, every if len(pan) > 1 else [0] * len(bands))


def mean_change(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean absolute difference of the mean qualities of ``(n, rows, cols)``."""
    return (ours.mean((1, 2)) - theirs.mean((1, 2))).abs().mean()
