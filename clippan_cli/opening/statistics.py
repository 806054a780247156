"""Moments of a scene, gathered in one streaming pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.base.pipeline import Clock, Pipeline
from clippan_cli.errors import InputError
from clippan_cli.fusion.method import Tile, make_tile
from clippan_cli.fusion.moments import Moments, feature_names, merge, tile_moments
from clippan_cli.opening.scene import Scene
from clippan_cli.opening.survey import common_box
from clippan_cli.physics.operators import OCTAVE_REACH
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.sampling import CUBIC_REACH

_LEAST_PIXELS = 64


Advance = Callable[[int], None]
"""A function that hears how many MS pixels are done."""


def gather(
    scene: Scene,
    features: Sequence[str],
    *,
    side: int = 1024,
    clock: Clock | None = None,
    progress: Advance = lambda _: None,
    cores: Sequence[Box] | None = None,
) -> Moments:
    """Gather the moments of a scene in one streaming pass.

    Args:
        scene: The scene.
        features: The names of the features that the methods ask for.
        side: The PAN pixels along a block.
        clock: The clock that books the times.
        progress: The function that hears of the MS pixels done.
        cores: The MS windows to count; None for the whole common ground.

    Raises:
        InputError: Too few pixels are valid.
    """
    pair, known, sampling, device = scene.pair, scene.known, scene.sampling, scene.machine.device
    if not features:
        return Moments(feature_names((), pair.ms.count), np.zeros((1, 1)))
    common = common_box(pair)
    # The adjoint folds what lies beyond a window onto its edge, as upsampling does: the edge must not be counted.
    low_halo = CUBIC_REACH + 1
    if "ms_low" in features:
        low_halo = sampling.down_reach + 1
    if "ms_mid" in features:
        low_halo = max(low_halo, OCTAVE_REACH)
    reach = max(sampling.down_reach, sampling.up_reach)
    parts: list[Moments] = []

    def read(core: Box) -> Window:
        ms_box = core.grow(low_halo, pair.ms.grid.shape)
        return scene.read(ms_box, sampling.pan_box(ms_box, reach, pair.pan.grid.shape))

    def compute(core: Box, window: Window) -> Moments:
        tile = make_tile(window.divided(known.scale), sampling, device)
        usable = _usable(tile, known.saturation)
        return tile_moments(features, tile.ms.values, tile.pan, usable, tile.operators, core=core)

    def collect(core: Box, moments: Moments) -> None:
        parts.append(moments)
        progress(core.pixels)

    step = [max(16, int(side / ratio)) for ratio in sampling.ratio]
    areas = [common] if cores is None else cores
    jobs = (core for area in areas for core in area.pieces(*step))
    Pipeline(read, compute, collect, scene.machine.workers, clock or Clock()).run(jobs)
    total = merge(parts)
    pixels = sum(area.pixels for area in areas)
    if total.count < min(_LEAST_PIXELS, pixels // 4):
        raise InputError(
            f"only {total.count} MS pixels are valid together with PAN: too few to fit a method",
            "check the nodata values (`src_nodata`), or use `method=exp`",
        )
    return total


def _usable(tile: Tile, saturation: tuple[float, float]) -> Tensor:
    """Tell where MS and all PAN pixels under its MTF are valid and not saturated: ``(h, w)``."""
    usable = tile.operators.covered & (tile.ms.values < saturation[0]).all(0)
    usable = usable & tile.ms.valid.joint().of(usable)
    if not tile.pan.valid.everywhere or math.isfinite(saturation[1]):
        sound = tile.pan.valid.of(tile.pan.values) & (tile.pan.values < saturation[1])
        if not bool(sound.all()):
            usable = usable & tile.operators.sees_only(sound[None]).all(0)
    return usable
