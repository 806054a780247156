"""Scenes in a folder, a list or a collection: an MS and a PAN raster that belong together."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clippan_cli.errors import InputError

LISTS = (".csv", ".toml")
"""The suffixes of files that list scenes."""

COLLECTIONS = (".h5", ".hdf5", ".mat")
"""The suffixes of files that hold scenes."""

_RASTERS = (".tif", ".tiff", ".jp2", ".img", ".vrt", ".ntf")
_PAN = re.compile(r"(^|[^a-z])(pan|p\d[a-z]{2}|p|b8|b08)([^a-z]|$)")
_MS = re.compile(r"(^|[^a-z])(ms|mul|mss|multi|multispectral|m\d[a-z]{2}|xs|m)([^a-z]|$)")


WANTED = (
    "it takes folders with an MS and a PAN raster in each, such as town/ms.tif and town/pan.tif, or "
    f"collections ({', '.join(COLLECTIONS)})"
)
"""The hint where there is no scene."""


class SceneFiles(NamedTuple):
    """Names a scene's files.

    Args:
        name: The name that people call it by.
        ms: One multispectral raster, or one for each band.
        pan: The panchromatic raster.
        truth: The raster of the truth; None where none is known.
        source: The collection that it was unpacked from; None where the files are the user's.
    """

    name: str
    ms: tuple[str, ...]
    pan: str
    truth: str | None = None
    source: str | None = None

    @property
    def originals(self) -> tuple[str, ...]:
        """The user's files: the scene has changed where they have."""
        return (*self.ms, self.pan) if self.source is None else (self.source,)


def find_all(places: Sequence[str]) -> list[SceneFiles]:
    """Find the scenes of folders, lists and collections.

    Raises:
        InputError: There is none, or a list or a collection cannot be used.
        OutputError: A collection cannot be unpacked.
    """
    found = [scene for place in places for scene in find_scenes(Path(place))]
    if not found:
        raise InputError(f"no scene in {', '.join(places)}", WANTED)
    return found


def find_scenes(place: Path) -> list[SceneFiles]:
    """Find the scenes of a folder, of a list, or of a collection.

    In a folder every sub-folder counts that holds exactly one MS and one PAN, by their names as words: ``ms``, ``mul``,
    ``mss``, ``xs``, ``M2AS``, and ``pan``, ``P2AS``, ``B8``. In any other, every collection counts: an HDF5 or MATLAB
    file with arrays ``ms`` and ``pan``, whose samples are scenes. A CSV has the columns ``ms`` and ``pan`` and may have
    ``name``; a TOML has tables ``[[scene]]`` with the same, whose ``ms`` may be a list of files with a band each. Paths
    in a list count from where the list lies.

    Raises:
        InputError: The list or a collection cannot be used.
        OutputError: A collection cannot be unpacked.
    """
    if place.suffix.lower() in COLLECTIONS and place.is_file():
        return list(_in_collection(place, place.name))
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
        else:
            yield from _in_collections(place, names, folder)


def _in_collections(place: str, names: Iterable[str], folder: Path) -> Iterator[SceneFiles]:
    """Yield the scenes of the collections of a folder; a file of the same kind that holds other things has none."""
    from clippan_cli.scene.collection import holds_scenes

    for path in sorted(Path(place, name) for name in names if Path(name).suffix.lower() in COLLECTIONS):
        if holds_scenes(path):
            yield from _in_collection(path, os.path.relpath(path, folder))


def _in_collection(path: Path, name: str) -> Iterator[SceneFiles]:
    from clippan_cli.scene.collection import unpack  # the command line starts without NumPy and rasterio

    for sample in unpack(path):
        yield SceneFiles(f"{name}{sample.label}", (sample.ms,), sample.pan, sample.truth, str(path))


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
