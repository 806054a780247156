"""Scenes in a folder or in a list: an MS and a PAN raster that belong together."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clippan_cli.errors import InputError

LISTS = (".csv", ".toml")
"""The suffixes of files that list scenes."""

_RASTERS = (".tif", ".tiff", ".jp2", ".img", ".vrt", ".ntf")
_PAN = re.compile(r"(^|[^a-z])(pan|p\d[a-z]{2}|p|b8|b08)([^a-z]|$)")
_MS = re.compile(r"(^|[^a-z])(ms|mul|mss|multi|multispectral|m\d[a-z]{2}|xs|m)([^a-z]|$)")


WANTED = "it takes folders with an MS and a PAN raster in each, such as town/ms.tif and town/pan.tif"
"""The hint where there is no scene."""


class SceneFiles(NamedTuple):
    """Names a scene's files.

    Args:
        name: The name that people call it by.
        ms: One multispectral raster, or one for each band.
        pan: The panchromatic raster.
    """

    name: str
    ms: tuple[str, ...]
    pan: str


def find_all(places: Sequence[str]) -> list[SceneFiles]:
    """Find the scenes of folders and lists.

    Raises:
        InputError: There is none, or a list cannot be read.
    """
    found = [scene for place in places for scene in find_scenes(Path(place))]
    if not found:
        raise InputError(f"no scene in {', '.join(places)}", WANTED)
    return found


def find_scenes(place: Path) -> list[SceneFiles]:
    """Find the scenes of a folder, or of a list.

    In a folder every sub-folder counts that holds exactly one MS and one PAN, by their names as words: ``ms``, ``mul``,
    ``mss``, ``xs``, ``M2AS``, and ``pan``, ``P2AS``, ``B8``. A CSV has the columns ``ms`` and ``pan`` and may have
    ``name``; a TOML has tables ``[[scene]]`` with the same, whose ``ms`` may be a list of files with a band each. Paths
    in a list count from where the list lies.

    Raises:
        InputError: The list cannot be read.
    """
    if place.suffix.lower() not in LISTS or place.is_dir():
        return list(_in_folder(place))
    try:
        return [_read_row(row, place) for row in _rows(place)]
    except (OSError, KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"cannot use the list {place}: {what}", "it takes ms and pan (and name) of each scene, as CSV or [[scene]]"
        ) from error


def _in_folder(folder: Path) -> Iterator[SceneFiles]:
    for place, names in sorted(_folders(folder)):
        rasters = sorted(Path(place, name) for name in names if Path(name).suffix.lower() in _RASTERS)
        pans = [path for path in rasters if _PAN.search(path.stem.lower())]
        others = [path for path in rasters if path not in pans and _MS.search(path.stem.lower())]
        if len(pans) == 1 and len(others) == 1:
            name = os.path.relpath(place, folder) if Path(place) != folder else folder.resolve().name
            yield SceneFiles(name, (str(others[0]),), str(pans[0]))


def _folders(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Visit every folder below once, through links too: archives are full of them."""
    seen = set()
    for place, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()
        yield place, names


def _rows(place: Path) -> list[dict[str, Any]]:
    text = place.read_text("utf-8-sig")
    if place.suffix.lower() == ".csv":
        return list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    return list(tomllib.loads(text)["scene"])


def _read_row(row: dict[str, Any], place: Path) -> SceneFiles:
    ms, pan = row["ms"], row["pan"]
    files = [ms] if isinstance(ms, str) else list(ms)
    if not files or not all((*files, pan)):
        raise ValueError("a scene lacks its ms or its pan")
    name = row.get("name") or Path(files[0]).parent.name or Path(files[0]).stem
    return SceneFiles(str(name), tuple(_from(place, file) for file in files), _from(place, pan))


def _from(place: Path, file: str) -> str:
    """Resolve a path of a list; GDAL's own paths and addresses stay as they are."""
    return file if file.startswith("/vsi") or "://" in file else str(place.parent / file)
