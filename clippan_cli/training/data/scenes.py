"""Real scenes that are learned from, one scale down."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from clippan_cli.base.geometry import Box
from clippan_cli.errors import InputError
from clippan_cli.opening.survey import Survey, common_box, survey
from clippan_cli.scene.find import Found, find_scenes
from clippan_cli.scene.pair import Pair, open_pair

WANTED = "it takes folders with an MS and a PAN raster in each, such as town/ms.tif and town/pan.tif"
"""What to say where there is no scene."""

_LARGEST = 1024


def wanted(places: Sequence[str]) -> list[Found]:
    """The scenes of folders and lists.

    Raises:
        InputError: There is none.
    """
    found = [scene for place in places for scene in find_scenes(Path(place))]
    if not found:
        raise InputError(f"no scene in {', '.join(places)}", WANTED)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Where rasters are read outside the command that the user sees."""
    with rasterio.Env(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def opened(scene: Found) -> Iterator[tuple[Pair, Survey, Box]]:
    """A scene, its survey, and the MS window to learn from: the middle, where a rotated scene has no collar."""
    with quiet(), open_pair(scene.ms, scene.pan) as pair:
        yield pair, survey(pair, "auto", 2), common_box(pair).middle(_LARGEST)
