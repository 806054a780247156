"""Wald's protocol: a pair one scale down, whose truth is the measured MS."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.sampling import Sampling


@dataclass(frozen=True)
class Reduced:
    """Holds a pair at reduced resolution.

    Args:
        ms: The measured MS through its own MTF, decimated, ``(C, h, w)``.
        pan: PAN as its sensor would see it at the measured MS's resolution, ``(H, W)``.
        truth: The measured MS, ``(C, H, W)``.
        sampling: The place of ``ms`` on ``pan``.
    """

    ms: Tensor
    pan: Tensor
    truth: Tensor
    sampling: Sampling


def reduce(ms: Tensor, pan: Tensor, sampling: Sampling, slip: tuple[float, float] = (0.0, 0.0)) -> Reduced:
    """Degrade a pair through the sensor's MTF at its true phase.

    Args:
        ms: The measured MS, ``(C, h, w)``, all valid.
        pan: PAN, ``(H, W)``, all valid.
        sampling: The place of ``ms`` on ``pan``, registration included.
        slip: A shift (row, col) in reduced MS pixels that the result keeps silent about, to study misregistration.
    """
    height, width = ms.shape[1:]
    whole = Box.whole(ms.shape)
    finer = Operators(sampling, Box.whole(pan.shape), whole, dtype=ms.dtype)
    nested = ((sampling.ratio[0] - 1) / 2, (sampling.ratio[1] - 1) / 2)
    stated = Sampling.uniform(sampling.ratio, nested, sampling.gains, sampling.pan_gain)
    small = Box.whole((int(height / sampling.ratio[0]), int(width / sampling.ratio[1])))
    true = stated.shifted((slip,) * len(sampling.gains))
    degraded = Operators(true, whole, small, dtype=ms.dtype).down(ms)
    return Reduced(degraded, finer.pan_simulated(pan)[0], ms, stated)
