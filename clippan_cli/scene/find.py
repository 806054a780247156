"""Scenes in a folder: an MS and a PAN raster that lie together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_RASTERS = (".tif", ".tiff", ".jp2", ".img", ".vrt", ".ntf")
_PAN = re.compile(r"(^|[^a-z])(pan|p\d[a-z]{2}|p|b8|b08)([^a-z]|$)")
_MS = re.compile(r"(^|[^a-z])(ms|mul|mss|multi|multispectral|m\d[a-z]{2}|xs|m)([^a-z]|$)")


def find_scenes(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name, MS and PAN of every folder below that holds exactly one of each, by their names.

    Product names are understood as words: ``ms``, ``mul``, ``mss``, ``xs``, ``M2AS``, and ``pan``, ``P2AS``, ``B8``.
    """
    for place in sorted({path.parent for path in folder.rglob("*") if path.suffix.lower() in _RASTERS}):
        rasters = sorted(path for path in place.iterdir() if path.suffix.lower() in _RASTERS)
        pans = [path for path in rasters if _PAN.search(path.stem.lower())]
        others = [path for path in rasters if path not in pans and _MS.search(path.stem.lower())]
        if len(pans) == 1 and len(others) == 1:
            yield str(place.relative_to(folder)) if place != folder else place.resolve().name, others[0], pans[0]
