"""A network judged by the truth: real scenes one scale down, through optics that it is not told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.errors import ClippanError, InputError
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.reference import ergas, sam
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.reduced_scene import ReducedScene, reduce_scene
from clippan_cli.training.data.surveyed_scenes import Site

TRUTH = ("ergas", "sam")
"""The indices that ask the truth."""

_MOST_SCENES, _MOST_PIXELS = 8, 512
_LEAST = 8
_BLOCK, _MOST_BLOCKS = 24, 8
_TINY = 1e-6


def reduce_sites(
    sites: Sequence[Site], device: torch.device, hears: Listener, *, held: bool
) -> list[tuple[ReducedScene, ...]]:
    """Bring scenes one scale down, through several optics each; of many scenes some, spread evenly.

    Args:
        sites: The scenes.
        device: Where their pixels go.
        hears: Hears what is left out, and why.
        held: Whether to take what is validated on instead of what is learned from.

    Returns:
        The scenes that are large enough and have no gaps; it may be none.
    """
    areas = [(site, area) for site in sites if (area := site.held if held else site.learned) is not None]
    count = min(_MOST_SCENES, len(areas))
    found = []
    for site, area in (areas[i * len(areas) // count] for i in range(count)):
        try:
            scene = reduce_scene(site.files, site.options, device, hears, area.middle(_MOST_PIXELS), least=_LEAST)
        except ClippanError as error:
            hears.warn(f"the truth is not asked of {site.files.name} one scale down: {error}")
            continue
        if not scene[0].area.empty:
            found.append(scene)
    return found


class Truth:
    """Measures ERGAS and SAM at places of scenes one scale down.

    Args:
        scenes: The scenes, through several optics each.

    Raises:
        InputError: There is nothing to measure on.
    """

    def __init__(self, scenes: Sequence[Sequence[ReducedScene]]) -> None:
        self._scenes = scenes
        if not scenes:
            raise InputError(
                "no scene can be asked the truth one scale down: they are too small, or have gaps everywhere",
                "give a larger scene; without one nobody can tell whether a training helps or harms",
            )

    @property
    def places(self) -> int:
        """The number of places."""
        return sum(1 for scene in self._scenes for _ in _blocks(scene[0].area))

    def measure(self, fuse: Callable[[Batch], Tensor]) -> Tensor:
        """Return the logarithms of ERGAS and SAM of each place, ``(N, 2)``, as means over optics.

        Args:
            fuse: Makes HRMS of a pair: ``(1, C, H, W)``.
        """
        return self._at_places(lambda lesson, box, pair: fuse(pair)[0])

    def measure_method(self, method: Method, consistency: int) -> Tensor:
        """Return the same of a method that is fitted to each scene as a whole."""
        whole = {id(lesson): _fuse(method, lesson, consistency) for scene in self._scenes for lesson in scene}

        def cut(lesson: ReducedScene, box: Box, pair: Batch) -> Tensor:
            image = whole[id(lesson)]
            return lesson.pan_box(lesson.around(box)).cut(image, Box.whole(image.shape))

        return self._at_places(cut)

    def _at_places(self, make: Callable[[ReducedScene, Box, Batch], Tensor]) -> Tensor:
        """Measure images of places with what lies around them, ``(C, H, W)``."""
        places = [
            torch.tensor([_measure(make, lesson, box) for lesson in scene]).mean(0)
            for scene in self._scenes
            for box in _blocks(scene[0].area)
        ]
        return torch.stack(places)


def over(rows: Tensor, start: Tensor) -> float:
    """Return how much worse than a start a network is, as far as places can tell; below 0 it is better.

    Of ERGAS and of SAM, as logarithms: the mean over places and its standard error; the worse of the two counts. Where
    places are few, gains are taken to differ among them by as much as they are large: one place alone proves nothing.

    Args:
        rows: What :meth:`Truth.measure` says of the network.
        start: What it says of the start.
    """
    apart = _known(rows - start)
    count, mean = max(1, len(apart)), apart.mean(0)
    error = (((apart - mean).square().sum(0) + mean.square()) / count).sqrt() / math.sqrt(count)
    return float((mean + error).max().nan_to_num(math.inf))


def means(rows: Tensor) -> dict[str, float]:
    """Return the geometric means of ERGAS and SAM over places."""
    return dict(zip(TRUTH, _known(rows).mean(0).exp().tolist(), strict=True))


def _known(rows: Tensor) -> Tensor:
    """Leave out places where an index is not defined, as where all is black."""
    return rows[rows.isfinite().all(1)].double()


def _fuse(method: Method, lesson: ReducedScene, consistency: int) -> Tensor:
    pair = lesson.to(torch.device("cpu")).pair
    return fuse_whole(method, pair.ms, pair.pan, pair.sampling, consistency)


def _measure(make: Callable[[ReducedScene, Box, Batch], Tensor], lesson: ReducedScene, box: Box) -> tuple[float, ...]:
    """Return the logarithms of ERGAS and SAM of a place; not a number where one is not defined."""
    pair, inner = lesson.surround(box)
    fused, truth = make(lesson, box, pair)[:, *inner].cpu(), pair.truth[0][:, *inner].cpu()
    found = float(ergas(fused, truth, max(lesson.pair.sampling.ratio))), float(sam(fused, truth))
    return tuple(math.log(max(_TINY, value)) if math.isfinite(value) else math.nan for value in found)


def _blocks(area: Box) -> Iterator[Box]:
    """Yield a few places of an area, spread over it."""
    pieces = list(area.pieces(_BLOCK, _BLOCK))
    count = min(_MOST_BLOCKS, len(pieces))
    return (pieces[(2 * i + 1) * len(pieces) // (2 * count)] for i in range(count))
