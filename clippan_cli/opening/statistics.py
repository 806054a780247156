"""Moments of a scene, in one streaming pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.pipeline import Clock, Pipeline
from clippan_cli.errors import InputError
from clippan_cli.fusion.method import Tile
from clippan_cli.fusion.moments import Moments, feature_names, merge, tile_moments
from clippan_cli.opening.survey import Survey, common_box
from clippan_cli.opening.window import Window, read_window
from clippan_cli.physics.operators import OCTAVE_REACH
from clippan_cli.physics.sampling import CUBIC_REACH
from clippan_cli.scene.pair import Pair

_LEAST_PIXELS = 64

_WHOLE = 0.999


def gather(
    pair: Pair,
    known: Survey,
    features: Sequence[str],
    *,
    side: int,
    workers: int,
    device: torch.device,
    clock: Clock,
    progress: Callable[[int], None],
    cores: Sequence[Box] | None = None,
) -> Moments:
    """Moments of a scene, in one streaming pass.

    Args:
        pair: The scene.
        known: Its survey.
        features: What the method asks for.
        side: PAN pixels along a block.
        workers: Threads.
        device: Where to compute.
        clock: Where times are booked.
        progress: Called with the MS pixels done.
        cores: The MS windows to count; None for the whole common ground.

    Raises:
        InputError: Too few valid pixels.
    """
    common = common_box(pair)
    sampling = known.sampling
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
        return read_window(pair, ms_box, sampling.pan_box(ms_box, reach, pair.pan.grid.shape))

    def compute(core: Box, window: Window) -> Moments:
        tile = window.tile(sampling, known.scale, device)
        usable = _usable(tile, known.saturation)
        return tile_moments(features, tile.ms, tile.pan, usable, tile.operators, core=core, pan_valid=tile.pan_valid)

    def collect(core: Box, moments: Moments) -> None:
        parts.append(moments)
        progress(core.shape[0] * core.shape[1])

    step = [max(16, int(side / ratio)) for ratio in sampling.ratio]
    areas = [common] if cores is None else cores
    jobs = (Box(r, c) for area in areas for r in _cut(area.rows, step[0]) for c in _cut(area.cols, step[1]))
    Pipeline(read, compute, collect, workers, clock).run(jobs)
    total = merge(parts)
    pixels = sum(area.shape[0] * area.shape[1] for area in areas)
    if features and total.count < min(_LEAST_PIXELS, pixels // 4):
        raise InputError(
            f"only {total.count} MS pixels are valid together with PAN: too few to fit a method",
            "check the nodata values (--src-nodata), or use --method exp",
        )
    return total


def _usable(tile: Tile, saturation: tuple[float, float]) -> Tensor:
    """``(h, w)``, True where MS and all PAN pixels under its MTF are valid and not saturated."""
    usable = tile.operators.covered & (tile.ms < saturation[0]).all(0)
    if tile.ms_valid is not None:
        usable = usable & tile.ms_valid.all(0)
    if tile.pan_valid is not None or math.isfinite(saturation[1]):
        sound = tile.pan < saturation[1]
        sound = sound if tile.pan_valid is None else sound & tile.pan_valid
        if not bool(sound.all()):
            usable = usable & (tile.operators.weight(sound[None]) > _WHOLE).all(0)
    return usable


def no_moments(bands: int) -> Moments:
    """For methods that ask for nothing."""
    return Moments(feature_names((), bands), np.zeros((1, 1)))


def _cut(span: Span, step: int) -> list[Span]:
    return [Span(start, min(span.stop, start + step)) for start in range(span.start, span.stop, step)]
