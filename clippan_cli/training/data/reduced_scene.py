"""A scene one scale down, where the measured MS is the truth, and crops of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.listener import Listener
from clippan_cli.errors import InputError
from clippan_cli.fusion.moments import tile_moments
from clippan_cli.fusion.traits import FEATURES, Traits, as_context, from_moments
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.survey import common_box
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.optics import believe, measure_optics
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.wald import Reduced, reduce
from clippan_cli.scene.find import SceneFiles
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.learned_scene import clear_window, open_to_learn
from clippan_cli.training.data.pairs import Batch

LEAST = 16
"""The fewest pixels a side, one scale down, that a scene is learned from."""

_SIDE = 32
_AROUND = 12


@dataclass(frozen=True)
class ReducedScene:
    """A scene one scale down, and what is known of it as a whole.

    Args:
        pair: MS and PAN one scale down, and their truth.
        traits: The scene's, as networks ask for them.
        area: The MS pixels to look at; the others only surround them.
    """

    pair: Reduced
    traits: Traits
    area: Box

    def to(self, device: torch.device) -> ReducedScene:
        """Return it on a device."""
        ms, pan, truth = (x.to(device) for x in (self.pair.ms, self.pair.pan, self.pair.truth))
        pair = replace(self.pair, ms=ms, pan=pan, truth=truth)
        return replace(self, pair=pair, traits=Traits(*(value.to(device) for value in self.traits)))

    def crop(self, draw: Draw) -> Batch:
        """Cut out a random window of the area."""
        return self.batch(draw.box(self.area, [min(_SIDE, size) for size in self.area.shape]))

    def around(self, ms_box: Box) -> Box:
        """Return a window with what lies around it."""
        return ms_box.grown(_AROUND).intersection(Box.whole(self.pair.ms.shape))

    def surround(self, ms_box: Box) -> tuple[Batch, tuple[slice, slice]]:
        """Cut out a window with what lies around it.

        Returns:
            The pair, and where its PAN pixels within the window lie, without the edges of the scene.
        """
        wide = self.around(ms_box)
        edge = math.ceil(2 * max(self.pair.sampling.ratio)) + 2
        fine = Box.whole(self.pair.pan.shape).grown(-edge)
        return self.batch(wide), self.pan_box(ms_box).intersection(fine).within(self.pan_box(wide))

    def pan_box(self, ms_box: Box) -> Box:
        """Return the PAN pixels that a window covers."""
        sampling = self.pair.sampling
        return sampling.pan_box(ms_box, int(max(sampling.ratio) / 2), Box.whole(self.pair.pan.shape).shape)

    def batch(self, ms_box: Box) -> Batch:
        """Cut out one window."""
        pair, sampling = self.pair, self.pair.sampling
        whole, fine = Box.whole(pair.ms.shape), Box.whole(pair.pan.shape)
        pan_box = self.pan_box(ms_box)
        ms, pan, truth = ms_box.cut(pair.ms, whole), pan_box.cut(pair.pan, fine), pan_box.cut(pair.truth, fine)
        operators = Operators(sampling, pan_box, ms_box, device=ms.device)
        low = Operators(sampling.common, pan_box, ms_box, device=ms.device).low_pass(pan)
        context = as_context(self.traits, low[None], max(sampling.ratio))
        return Batch(
            ms=ms[None],
            pan=pan[None, None],
            ms_up=operators.up(ms)[None],
            context=context,
            operators=operators,
            truth=truth[None],
        )


CHANGES = (-0.5, -0.25, 0.0, 0.25, 0.5)
"""How far the logarithms of the true gains are off what is believed, time by time a scene is brought one scale down."""


def reduce_scene(
    files: SceneFiles,
    options: SceneOptions,
    device: torch.device,
    hears: Listener,
    area: Box | None = None,
    *,
    least: int = LEAST,
) -> tuple[ReducedScene, ...]:
    """Bring a scene one scale down several times, through optics that are more or less what is believed.

    Nobody's optics are known exactly: what is learned must serve all that they may be.

    Args:
        files: Where the scene lies.
        options: What is said of the scene.
        device: Where its pixels go.
        hears: Hears how large the scene is.
        area: The MS pixels to look at; None for all.
        least: The fewest pixels a side, one scale down.

    Returns:
        The scene, or the area and what it takes around it, once for each of :data:`CHANGES`; once only where what is
        stated of the optics is to be believed.

    Raises:
        InputError: It has gaps, or is too small.
    """
    with open_to_learn(files, options) as scene:
        sampling, scale, whole = scene.sampling, scene.known.scale, common_box(scene.pair).shape
        needed = math.ceil(least * max(sampling.ratio))
        if min(whole) < needed:
            raise InputError(
                f"scene {files.name}: MS of {whole[1]} × {whole[0]} px is too small to learn from",
                f"it takes {needed} px a side",
            )
        window = clear_window(scene, needed, area)
    if window is None:
        raise InputError(f"scene {files.name} has gaps wherever it was to be learned", "cut out a part without nodata")
    place = sampling.within(window.ms_box, window.pan_box)
    ms, pan = window.ms.values / scale, window.pan.values / scale
    made = reduce_through_all(ms, pan, place, blind=not options.stated_optics)
    height, width = made[0].pair.ms.shape[1:]
    hears.say(f"learning from {files.name}: {width} × {height} px one scale down")
    looked_at = made[0].area if area is None else _one_scale_down(area, window.ms_box, made[0])
    return tuple(replace(each.to(device), area=looked_at) for each in made)


def _one_scale_down(area: Box, around: Box, small: ReducedScene) -> Box:
    """Return an area of a window in the pixels of the window one scale down."""
    inner, whole = area.intersection(around).relative_to(around), Box.whole(small.pair.ms.shape)
    ratios = small.pair.sampling.ratio
    spans = (Span(math.ceil(s.start / r), int(s.stop / r)) for s, r in zip(inner, ratios, strict=True))
    return Box(*spans).intersection(whole)


def reduce_through_all(ms: Tensor, pan: Tensor, sampling: Sampling, *, blind: bool) -> tuple[ReducedScene, ...]:
    """Bring a pair one scale down, through optics that are more or less what is believed.

    Args:
        ms: ``(C, h, w)``, all valid, on the CPU.
        pan: ``(H, W)``, the same.
        sampling: The place of ``ms`` on ``pan``.
        blind: Whether the optics are measured from what comes out; else what is believed is believed further.

    Returns:
        The pair, once for each of :data:`CHANGES`; once only if nothing is measured.
    """
    return tuple(_reduce(ms, pan, sampling, change, blind) for change in (CHANGES if blind else (0.0,)))


def _reduce(ms: Tensor, pan: Tensor, sampling: Sampling, change: float, blind: bool) -> ReducedScene:
    """Degrade a pair through gains that are off by a factor, and believe of the result what its pixels show."""
    gains = tuple(min(gain * math.exp(change), 0.9) for gain in sampling.gains)
    small = reduce(ms, pan, replace(sampling, gains=gains))
    whole = Box.whole(small.ms.shape)
    sample = Window(Pixels(small.ms), Pixels(small.pan), whole, Box.whole(small.pan.shape))
    stated = replace(small.sampling, gains=sampling.gains)
    believed = believe(stated, measure_optics([sample], stated) if blind else None)
    small = replace(small, sampling=believed)
    operators = Operators(small.sampling, Box.whole(small.pan.shape), whole)
    moments = tile_moments(FEATURES, small.ms, Pixels(small.pan), operators.covered, operators, core=whole)
    traits = from_moments(moments, small.sampling)
    return ReducedScene(small, Traits(*(value.to(small.ms) for value in traits)), whole)
