"""Collections: the field's benchmark files of many small scenes, unpacked to rasters that every process can open."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from clippan_cli.errors import InputError, OutputError
from clippan_cli.scene.arrays import ArrayFile, open_arrays
from clippan_cli.scene.layout import Layout, Stored, fit_pair, fit_truth

_NAMES = {"ms": ("ms", "i_ms_lr"), "pan": ("pan", "i_pan"), "gt": ("gt", "i_gt")}
_WANTED = "it takes arrays called ms and pan, or I_MS_LR and I_PAN"
_FIT = "it takes (N, C, h, w), (N, h, w, C) or, of MATLAB, (h, w, C, N), and PAN a whole number of times as large as MS"
_WIDER = {"bool": "uint8", "float16": "float32"}
_UINT16_MAX = 65535


class Sample(NamedTuple):
    """Names the rasters of one sample.

    Args:
        label: What follows the collection's name: the sample's number from 0; nothing where there is one only.
        ms: The multispectral raster.
        pan: The panchromatic raster.
        truth: The raster of the truth; None where the collection has none.
    """

    label: str
    ms: str
    pan: str
    truth: str | None


class _Stack(NamedTuple):
    """Holds an array whose axes are understood."""

    array: Stored
    layout: Layout


def holds_scenes(path: Path) -> bool:
    """Tell whether a file has an array that is called like MS or PAN.

    Raises:
        InputError: It cannot be read.
    """
    with open_arrays(path) as file:
        return not _choose(file).keys().isdisjoint(("ms", "pan"))


def unpack(path: Path) -> tuple[Sample, ...]:
    """Unpack a collection, once for each process: each sample becomes small GeoTIFFs in a temporary folder.

    The folder is removed when the process ends. A sample lies on a local grid: PAN pixels have 1 unit, and MS pixel 0
    is centred on PAN pixel ``ratio / 2``, as in the field's benchmarks. One sample at a time is in memory, but for
    older MATLAB files, whose arrays are read at once.

    Raises:
        InputError: It is no collection, or damaged, or its arrays do not fit together.
        OutputError: The temporary folder cannot be written.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}", "check its name and its permissions") from error
    return _unpack(path.resolve(), stat.st_mtime_ns, stat.st_size)


@cache
def _unpack(path: Path, _modified: int, _size: int) -> tuple[Sample, ...]:
    with open_arrays(path) as file:
        stacks = _understand(file)
        count = stacks["ms"].layout.samples
        with _writing(path):
            # The names of folders are clues to a scene's sensor.
            folder = Path(mkdtemp(dir=_temporary_folder())) / path.parent.name
        samples = []
        for index in range(count):
            label = f" [{index}]" if count > 1 else ""
            written = _write_sample(stacks, index, folder / f"{path.name}{label}")
            samples.append(Sample(label, written["ms"], written["pan"], written.get("gt")))
        return tuple(samples)


def _choose(file: ArrayFile) -> dict[str, str]:
    """Return the names of MS, PAN and truth, as far as the file has them."""
    known = {name.lower(): name for name in file.names}
    chosen = {role: [known[name] for name in names if name in known] for role, names in _NAMES.items()}
    return {role: names[0] for role, names in chosen.items() if names}


def _understand(file: ArrayFile) -> dict[str, _Stack]:
    """Find out how MS, PAN and truth lie."""
    chosen = _choose(file)
    lacks = [role for role in ("ms", "pan") if role not in chosen]
    if lacks:
        has = ", ".join(file.names) or "no array"
        raise InputError(f"{file.path} lacks {' and '.join(lacks)}: it has {has}", f"{_WANTED}: rename its arrays")
    arrays = {role: file.find(name) for role, name in chosen.items()}
    for role, array in arrays.items():
        kind = np.dtype(array.dtype)
        if kind.kind not in "buif" or kind.itemsize > 8:
            raise InputError(f"{chosen[role]} of {file.path} holds {kind}", "it takes real numbers of up to 64 bits")
    try:
        ms, pan = fit_pair(arrays["ms"].shape, arrays["pan"].shape, file.orders)
        layouts = {"ms": ms, "pan": pan}
        if "gt" in arrays:
            layouts["gt"] = fit_truth(arrays["gt"].shape, ms, pan, file.orders)
    except ValueError as error:
        shapes = ", ".join(f"{chosen[role]} {array.shape}" for role, array in arrays.items())
        raise InputError(f"the arrays of {file.path} do not fit, {shapes}: {error}", _FIT) from error
    return {role: _Stack(arrays[role], layout) for role, layout in layouts.items()}


def _write_sample(stacks: Mapping[str, _Stack], index: int, folder: Path) -> dict[str, str]:
    """Write the rasters of one sample and return their paths."""
    (rows, _), (coarse_rows, _) = (stacks[role].layout.image for role in ("pan", "ms"))
    fine = Affine(1, 0, 0, 0, -1, rows)
    # An MS pixel is centred on the centre of a PAN pixel, not on a corner: the benchmarks take every fourth from 2 on.
    coarse = fine @ Affine.translation(0.5, 0.5) @ Affine.scale(rows // coarse_rows)
    images = {role: _storable(stack.layout.read(stack.array, index)) for role, stack in stacks.items()}
    paths = {role: folder / f"{role}.tif" for role in stacks}
    with _writing(folder):
        folder.mkdir(parents=True)
        for role, pixels in images.items():
            _write(paths[role], pixels, coarse if role == "ms" else fine)
    return {role: str(path) for role, path in paths.items()}


def _storable(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels in a type that rasters have; whole numbers of 64 bits take 16 where they can."""
    kind = pixels.dtype
    if kind.itemsize == 8 and bool(((pixels >= 0) & (pixels <= _UINT16_MAX) & (pixels == np.rint(pixels))).all()):
        return pixels.astype(np.uint16)
    return pixels.astype(_WIDER.get(kind.name, kind.newbyteorder("=")), copy=False)


def _write(path: Path, pixels: NDArray[Any], place: Affine) -> None:
    bands, rows, columns = pixels.shape
    with MemoryFile() as file:
        with file.open(
            driver="GTiff",
            count=bands,
            height=rows,
            width=columns,
            dtype=pixels.dtype,
            transform=place,
            photometric="MINISBLACK",  # Four bands of 8 bits are not three colours and alpha.
        ) as target:
            target.write(pixels)
        # GDAL would say nothing of a full disk.
        path.write_bytes(file.getbuffer())


@contextmanager
def _writing(what: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot unpack {what.name} into {gettempdir()}: {error}",
            "make room there, or name another folder in the environment: TMPDIR=DIR",
        ) from error


@cache
def _temporary_folder() -> Path:
    folder = Path(mkdtemp(prefix="clippan-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder, unless this is the end of a child that was forked."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
