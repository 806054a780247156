"""A scene opened to be learned from: quietly, and by a few workers, for the training has the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import torch

from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.listener import Deaf
from clippan_cli.base.machine import Machine
from clippan_cli.base.memory import Memory
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.scene import Scene, open_scene
from clippan_cli.opening.survey import common_box
from clippan_cli.physics.pixels import Window
from clippan_cli.scene.find import SceneFiles
from clippan_cli.scene.sensors import find_sensor

_WORKERS = 2
_MEMORY = 8 << 30
LARGEST = 1024
"""The most pixels a side that are learned from, of one image."""


@contextmanager
def open_to_learn(files: SceneFiles, options: SceneOptions) -> Iterator[Scene]:
    """Open a scene on the CPU.

    Raises:
        InputError: It cannot be used.
    """
    machine = Machine(torch.device("cpu"), _WORKERS, Memory(_MEMORY))
    with open_scene(files, options, machine, Deaf()) as scene:
        yield scene


def check_sensor(options: SceneOptions) -> None:
    """Refuse a sensor that does not exist, before each scene is left out for it.

    Raises:
        UsageError: There is no such sensor.
    """
    find_sensor(options.sensor, ())


def clear_window(scene: Scene, least: int, area: Box | None = None) -> Window | None:
    """Return a window without gaps to learn from, as large as is found and near the middle; None where there is none.

    Args:
        scene: The scene.
        least: The MS pixels a side that it takes.
        area: The MS pixels that it is about, from where it goes beyond them only if they are too few; None for all.
    """
    whole = common_box(scene.pair)
    if area is not None:
        whole = Box(*(_at_least(least, span, around) for span, around in zip(area, whole, strict=True)))
    halvings = range(LARGEST.bit_length())
    shapes = (tuple(min(size, LARGEST >> times) for size in whole.shape) for times in halvings)
    for shape in dict.fromkeys(shapes):
        if min(shape) < least:
            break
        for rows, cols in product(*(_starts(span, size) for span, size in zip(whole, shape, strict=True))):
            box = Box.at((rows, cols), shape)
            pan_box = scene.sampling.pan_box(box, scene.sampling.down_reach, scene.pair.pan.grid.shape)
            window = scene.read(box, pan_box)
            if window.valid:
                return window
    return None


def _at_least(size: int, span: Span, around: Span) -> Span:
    """Return a span with at least so many pixels, if there are as many around it."""
    missing = max(0, size - span.size)
    start = max(around.start, min(span.start - missing // 2, around.stop - max(size, span.size)))
    return Span(start, start + span.size + missing).intersection(around)


def _starts(span: Span, size: int) -> list[int]:
    """Return where so many pixels of a line may begin: in the middle, at its start, at its end."""
    return list(dict.fromkeys((span.middle(size).start, span.start, span.stop - size)))


def middle_box(scene: Scene) -> Box:
    """Return the MS window to learn from: the middle, where a rotated scene has no collar."""
    return common_box(scene.pair).middle(LARGEST)
