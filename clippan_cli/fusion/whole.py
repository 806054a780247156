"""A small scene fused in memory, without tiles: for protocols at reduced resolution, and to check the engine."""

from __future__ import annotations

from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.method import Method, Statistics, Tile
from clippan_cli.fusion.moments import tile_moments
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.sampling import Sampling


def fuse_whole(method: Method, ms: Tensor, pan: Tensor, sampling: Sampling, consistency: int) -> Tensor:
    """Fit and fuse at once; all pixels must be valid.

    Args:
        method: The method, not fitted yet.
        ms: MS, ``(C, h, w)``.
        pan: PAN, ``(H, W)``.
        sampling: The place of ``ms`` on ``pan``.
        consistency: The number of back-projections at the end.

    Returns:
        HRMS, ``(C, H, W)``.
    """
    pan_box = Box.whole(pan.shape)
    ms_box = Box.whole(ms.shape)
    operators = Operators(sampling, pan_box, ms_box, device=ms.device, dtype=ms.dtype)
    window = Window(Pixels(ms), Pixels(pan), ms_box, pan_box)
    moments = tile_moments(method.features, ms, window.pan, operators.covered, operators, core=ms_box)
    fitted = method.fit(Statistics(sampling, moments, (window,)))
    tile = Tile(window.ms, window.pan, operators)
    return back_project(fitted.fuse(tile), tile, consistency)
