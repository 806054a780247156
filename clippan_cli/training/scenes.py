"""Real scenes that are learned from, one scale down."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from clippan_cli.physics.sampling import Box
from clippan_cli.scene.pair import Pair, open_pair
from clippan_cli.tiling.survey import Survey, common_box, survey

WANTED = "it takes folders with an MS and a PAN raster in each, such as town/ms.tif and town/pan.tif"
"""What to say where there is no scene."""

_LARGEST = 1024


@contextmanager
def opened(ms: Path, pan: Path) -> Iterator[tuple[Pair, Survey, Box]]:
    """A scene, its survey, and the MS window to learn from: the middle, where a rotated scene has no collar."""
    with rasterio.Env(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with open_pair([str(ms)], str(pan)) as pair:
            yield pair, survey(pair, "auto", 2), common_box(pair).middle(_LARGEST)
