"""Writing a large GeoTIFF so that it is complete or absent, and can be continued after a crash."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.rpc import RPC

from clippan_cli.base.geometry import Box
from clippan_cli.errors import OutputError
from clippan_cli.scene.grid import Grid, place
from clippan_cli.scene.raster import Band

BLOCK = 512
_PREDICTABLE = {"DEFLATE", "LZW", "ZSTD"}


@dataclass(frozen=True, kw_only=True)
class Format:
    """Says how the output is stored.

    Args:
        driver: The driver: ``"GTiff"`` or ``"COG"``.
        dtype: The pixel type, by NumPy's name.
        nodata: The value of pixels without data; None for none.
        mask: Whether validity goes into an internal mask.
        options: The creation options of GDAL, keys in upper case.
        overviews: Whether overviews are built.
        threads: The number of codec threads.
    """

    driver: str
    dtype: str
    nodata: float | None = None
    mask: bool = False
    options: dict[str, str] = field(default_factory=dict)
    overviews: bool = False
    threads: int = 1

    @property
    def bits(self) -> int | None:
        """The bits of a pixel that are kept, if the options say so."""
        bits = self.options.get("NBITS", "")
        return int(bits) if bits.isdecimal() else None

    def holds(self, value: float) -> bool:
        """Tell whether a pixel can hold the value."""
        if np.issubdtype(np.dtype(self.dtype), np.integer):
            lowest, highest = integer_limits(self.dtype, self.bits)
            return math.isfinite(value) and value == round(value) and lowest <= value <= highest
        return not math.isfinite(value) or abs(value) <= float(np.finfo(self.dtype).max)


def integer_limits(dtype: str, bits: int | None) -> tuple[int, int]:
    """Return the smallest and the largest integer of a pixel type of which so many bits are kept; None for all."""
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max) if bits is None else 2**bits - 1


@dataclass(frozen=True)
class Meaning:
    """Holds what goes with the pixels.

    Args:
        grid: The grid on which they lie.
        bands: The names, colours, units, scales and tags of the bands.
        tags: The metadata of the dataset.
        rpc: PAN's sensor model on this grid; None for none.
    """

    grid: Grid
    bands: tuple[Band, ...]
    tags: dict[str, str]
    rpc: RPC | None


class Writer:
    """Writes one output file under its working name.

    Rows are written in sessions; a session ends with the file closed and sound on disk, so that another process can
    continue after the last one. The bytes do not depend on how the work was divided into sessions.

    Args:
        path: The final name.
        form: The form in which the pixels are stored.
        meaning: The metadata that goes with them.
    """

    def __init__(self, path: Path, form: Format, meaning: Meaning) -> None:
        self.path, self._form, self._meaning = path, form, meaning
        self.partial = path.with_name(path.name + ".partial")
        self._ready = path.with_name(path.name + ".partial.cog")
        self._dataset: Any = None
        self._last: tuple[Box, NDArray[Any]] | None = None

    def create(self, tags: dict[str, str] | None = None) -> None:
        """Begin the file with all its metadata and no pixels.

        Args:
            tags: The metadata of the dataset, instead of what the meaning has by these names.

        Raises:
            OutputError: The file cannot be created, or GDAL does not take an option.
        """
        self._try_options()
        height, width = self._meaning.grid.shape
        with (
            _complaints(f"cannot create {self.partial}"),
            rasterio.open(self.partial, "w", **self._profile(height, width)) as target,
        ):
            target.update_tags(**{**self._meaning.tags, **(tags or {})})
            for index, band in enumerate(self._meaning.bands, 1):
                if band.name:
                    target.set_band_description(index, band.name)
                if band.tags:
                    target.update_tags(index, **band.tags)
            target.colorinterp = _colours(self._meaning.bands)
            target.scales = tuple(band.scale for band in self._meaning.bands)
            target.offsets = tuple(band.offset for band in self._meaning.bands)
            target.units = tuple(band.unit or "" for band in self._meaning.bands)
            if self._meaning.rpc is not None:
                target.rpcs = self._meaning.rpc
            if self._form.mask:
                target.write_mask(np.zeros((1, 1), np.uint8), window=place(Box.whole((1, 1))))

    @contextmanager
    def session(self) -> Iterator[None]:
        """Open the file for :meth:`write`; on leaving it is closed and checked.

        Raises:
            OutputError: A pixel did not reach the disk.
        """
        with _complaints(f"cannot write {self.partial}"):
            with rasterio.open(self.partial, "r+", NUM_THREADS=str(self._form.threads)) as self._dataset:
                self._last = None
                yield
            if self._last is not None:
                box, pixels = self._last
                with rasterio.open(self.partial) as check:
                    back = check.read(window=place(box))
                if not self._agrees(back, pixels):
                    raise OutputError(
                        f"{self.partial} does not hold what was written",
                        "check the creation options (`creation`) and the disk",
                    )

    def write(self, box: Box, pixels: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
        """Write finished pixels ``(C, h, w)`` at ``box`` of the output grid; ``valid`` is ``(h, w)``."""
        self._dataset.write(pixels, window=place(box))
        if self._form.mask:
            mask = np.full(box.shape, 255, np.uint8) if valid is None else valid.astype(np.uint8) * 255
            self._dataset.write_mask(mask, window=place(box))
        self._last = (box, pixels)

    def finish(self) -> None:
        """Build overviews, and convert to COG if asked.

        Raises:
            OutputError: The disk is full.
        """
        with _complaints(f"cannot finish {self.path}"):
            if self._form.overviews or self._form.driver == "COG":
                self._build_overviews()
            if self._form.driver == "COG":
                rasterio.shutil.copy(self.partial, self._ready, driver="COG", **self._cog_options())

    def publish(self) -> None:
        """Give the finished file its final name.

        Raises:
            OutputError: The name cannot be taken.
        """
        with _complaints(f"cannot name the result {self.path}"):
            (self._ready if self._form.driver == "COG" else self.partial).replace(self.path)
        self.discard()

    def discard(self) -> None:
        """Remove the unfinished file."""
        self.partial.unlink(missing_ok=True)
        self._ready.unlink(missing_ok=True)

    def _build_overviews(self) -> None:
        longest = max(self._meaning.grid.shape)
        factors = [2**n for n in range(1, 16) if longest / 2**n > BLOCK / 2]
        if factors:
            with rasterio.open(self.partial, "r+", NUM_THREADS=str(self._form.threads)) as target:
                target.build_overviews(factors, Resampling.average)

    def _profile(self, height: int, width: int) -> dict[str, object]:
        options = {
            "TILED": "YES",
            "BLOCKXSIZE": str(BLOCK),
            "BLOCKYSIZE": str(BLOCK),
            "COMPRESS": "DEFLATE",
            "INTERLEAVE": "PIXEL",
            "BIGTIFF": "IF_SAFER",
            "PHOTOMETRIC": "MINISBLACK",
            "NUM_THREADS": str(self._form.threads),
            # Blocks are laid down once, when they are written, not as zeros when the file is created.
            "SPARSE_OK": "TRUE",
        }
        if self._form.driver == "GTiff":
            options |= self._form.options
        if options["TILED"].upper() in ("NO", "FALSE", "OFF"):
            options.pop("BLOCKXSIZE")
            if "BLOCKYSIZE" not in self._form.options:
                options.pop("BLOCKYSIZE")
        if options["COMPRESS"].upper() in _PREDICTABLE and "PREDICTOR" not in options and "NBITS" not in options:
            options["PREDICTOR"] = "2" if np.issubdtype(np.dtype(self._form.dtype), np.integer) else "3"
        return {
            "driver": "GTiff",
            "height": height,
            "width": width,
            "count": len(self._meaning.bands),
            "dtype": self._form.dtype,
            "crs": self._meaning.grid.crs,
            "transform": self._meaning.grid.transform,
            "nodata": self._form.nodata,
            **options,
        }

    def _cog_options(self) -> dict[str, str]:
        defaults = {
            "COMPRESS": "DEFLATE",
            "PREDICTOR": "YES",
            "BIGTIFF": "IF_SAFER",
            "NUM_THREADS": str(self._form.threads),
        }
        if self._form.options.get("COMPRESS", "DEFLATE").upper() not in _PREDICTABLE:
            defaults.pop("PREDICTOR")
        return defaults | self._form.options | {"OVERVIEWS": "FORCE_USE_EXISTING"}

    def _try_options(self) -> None:
        """Write and read back one block: rasterio says nothing when GDAL does not take an option."""
        probe = self.path.with_name(f".{self.path.stem}.probe.tif")
        copy = self.path.with_name(f".{self.path.stem}.probe.cog.tif")
        count = len(self._meaning.bands)
        ramp = np.linspace(1, 100, BLOCK * BLOCK).reshape(1, BLOCK, BLOCK)
        pixels = np.repeat(ramp, count, 0).astype(self._form.dtype)
        try:
            with _complaints("GDAL does not take these creation options", logging.WARNING):
                with rasterio.open(probe, "w", **self._profile(BLOCK, BLOCK)) as target:
                    target.write(pixels)
                if self._form.driver == "COG":
                    options = {key: value for key, value in self._cog_options().items() if key != "OVERVIEWS"}
                    rasterio.shutil.copy(probe, copy, driver="COG", **options)
                with rasterio.open(copy if self._form.driver == "COG" else probe) as source:
                    back = source.read()
            if not self._agrees(back, pixels):
                given = " ".join(f"{key}={value}" for key, value in self._form.options.items())
                raise OutputError(
                    f"pixels of type {self._form.dtype} do not survive {given}", "choose another compression"
                )
        finally:
            probe.unlink(missing_ok=True)
            copy.unlink(missing_ok=True)
            probe.with_name(probe.name + ".aux.xml").unlink(missing_ok=True)

    @staticmethod
    def _agrees(back: NDArray[Any], pixels: NDArray[Any]) -> bool:
        """Compare pixels: they are equal, or as near as a lossy codec leaves them."""
        if back.shape != pixels.shape:
            return False
        if np.array_equal(back, pixels, equal_nan=np.issubdtype(pixels.dtype, np.floating)):
            return True
        sound = np.isfinite(pixels)
        wanted = pixels[sound].astype(np.float64)
        error = np.abs(back[sound].astype(np.float64) - wanted)
        return bool(error.size == 0 or error.mean() <= 0.1 * np.abs(wanted).mean())


@contextmanager
def _complaints(what: str, level: int = logging.ERROR) -> Iterator[None]:
    """Turn what GDAL raises, or only logs, into an error."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    listener = Listener(level)
    logger = logging.getLogger("rasterio")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    hint = "check the folder, its permissions, the free disk space and the creation options (`creation`)"
    try:
        yield
    except (CPLE_BaseError, RasterioError, OSError, ValueError) as error:
        reason = heard[0] if heard else str(error)
        raise OutputError(f"{what}: {reason}", hint) from error
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate
    if heard:
        raise OutputError(f"{what}: {heard[0]}", hint)


def _colours(bands: Sequence[Band]) -> tuple[ColorInterp, ...]:
    """Return the colours as delivered; red, green and blue from the names where a file says nothing."""
    delivered = [band.colour for band in bands]
    if any(colour not in (ColorInterp.gray, ColorInterp.undefined) for colour in delivered):
        return tuple(delivered)
    named = {"red": ColorInterp.red, "green": ColorInterp.green, "blue": ColorInterp.blue}
    found = [named.get((band.name or "").lower(), ColorInterp.undefined) for band in bands]
    if found.count(ColorInterp.undefined) == len(found):
        return (ColorInterp.gray, *(ColorInterp.undefined for _ in bands[1:]))
    return tuple(found)


def free_space(path: Path) -> int:
    """Return the bytes that are free where ``path`` will lie."""
    return shutil.disk_usage(path.parent).free
