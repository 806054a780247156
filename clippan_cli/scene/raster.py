"""A raster as it was delivered: pixels with their validity and their meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as Place

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.scene.grid import Grid, place


@dataclass(frozen=True, kw_only=True)
class Band:
    """Holds what a file says of one band.

    Args:
        name: Its description; None where it has none.
        nodata: The value of pixels without data; None for none.
        colour: The colour that it stands for.
        scale: The factor from pixels to ``unit``.
        offset: The value that is added after that.
        unit: The unit that the pixels measure; None where the file does not say.
        tags: Its metadata, statistics left out.
    """

    name: str | None
    nodata: float | None
    colour: ColorInterp
    scale: float
    offset: float
    unit: str | None
    tags: dict[str, str]


@dataclass(frozen=True)
class Collar:
    """Describes a constant border that the file does not declare.

    Args:
        value: The constant, the same in all bands.
        cells: The coarse map ``(rows, cols)``, True where the border reaches.
        share: The part of the scene that it covers, 0 to 1.
    """

    value: float
    cells: NDArray[np.bool_]
    share: float


class Repeat(NamedTuple):
    """Says how pixels repeat on an axis: ``factor`` times each; a new one begins where ``index % factor == offset``."""

    factor: int
    offset: int

    @property
    def start(self) -> int:
        """The index where the first true pixel begins; negative where the file cuts it."""
        return self.offset - self.factor if self.offset else 0

    def samples(self, span: Span, size: int) -> NDArray[np.int64]:
        """Return one file index, below ``size``, inside each true pixel of ``span``."""
        index = self.start + self.factor * np.arange(*span) + self.factor // 2
        return index.clip(0, size - 1)


_ONCE = Repeat(1, 0)


class Raster:
    """Reads one raster, or several single-band files taken as one; it is open for reading.

    Args:
        paths: The paths of the files, or whatever else GDAL opens.
        src_nodata: The nodata value, whatever the files say; ``"none"`` declares all pixels valid.

    Raises:
        InputError: A file cannot be opened or holds complex numbers, or the files do not fit together.
    """

    def __init__(self, paths: Sequence[str], src_nodata: float | str | None = None) -> None:
        self.paths = tuple(str(path) for path in paths)
        self._stack = ExitStack()
        self._sources: list[tuple[Any, list[int]]] = []
        self.collar: Collar | None = None
        self._alphas: list[tuple[Any, int]] = []
        self.overridden = src_nodata is not None
        self._repeats = (_ONCE, _ONCE)
        bands: list[Band] = []
        for path in self.paths:
            source = self._stack.enter_context(_open(path))
            indexes = [i for i, colour in enumerate(source.colorinterp, 1) if colour != ColorInterp.alpha]
            if len(indexes) < source.count and src_nodata is None:
                self._alphas.append((source, source.colorinterp.index(ColorInterp.alpha) + 1))
            self._sources.append((source, indexes))
            bands += [_band(source, i, src_nodata) for i in indexes]
        first = self._sources[0][0]
        self.bands = tuple(bands)
        self.grid = Grid((first.height, first.width), first.transform, first.crs)
        self.dtype = str(np.result_type(*(source.dtypes[i - 1] for source, indexes in self._sources for i in indexes)))
        self._masked = src_nodata is None and any(
            MaskFlags.per_dataset in source.mask_flag_enums[0] for source, _ in self._sources
        )
        self._check(src_nodata)

    def _check(self, src_nodata: float | str | None) -> None:
        name = self.paths[0]
        if not self.bands:
            raise InputError(f"{name} has no band besides alpha", "give a raster with data bands")
        if np.issubdtype(np.dtype(self.dtype), np.complexfloating):
            raise InputError(
                f"{name} holds complex numbers ({self.dtype})", "convert to amplitude first: rio calc or gdal_translate"
            )
        for path, (source, _) in zip(self.paths, self._sources, strict=True):
            other = Grid((source.height, source.width), source.transform, source.crs)
            if other != self.grid:
                raise InputError(
                    f"bands on different grids: {name} has {self.grid.describe()}, {path} has {other.describe()}",
                    "bring them to one grid first: gdalbuildvrt -separate ms.vrt B*.TIF",
                )
        if (
            isinstance(src_nodata, float)
            and not np.isnan(src_nodata)
            and np.issubdtype(np.dtype(self.dtype), np.integer)
        ):
            limits = np.iinfo(self.dtype)
            if not limits.min <= src_nodata <= limits.max:
                raise InputError(
                    f"`src_nodata={src_nodata:g}` does not exist in {self.dtype}", "give a value of that type"
                )

    @property
    def count(self) -> int:
        """The number of data bands."""
        return len(self.bands)

    @property
    def name(self) -> str:
        """The name by which messages call it."""
        return self.paths[0] if len(self.paths) == 1 else f"{Path(self.paths[0]).name} … {Path(self.paths[-1]).name}"

    @property
    def nodata(self) -> float | None:
        """The first nodata value in force."""
        return next((band.nodata for band in self.bands if band.nodata is not None), None)

    @property
    def declares_mask(self) -> bool:
        """Whether validity comes from a mask or an alpha band."""
        return self._masked or bool(self._alphas)

    @property
    def datasets(self) -> list[Any]:
        """The open rasterio datasets."""
        return [source for source, _ in self._sources]

    @property
    def integer(self) -> bool:
        """Whether pixels are whole numbers."""
        return bool(np.issubdtype(np.dtype(self.dtype), np.integer))

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Read a window.

        Returns:
            The pixels ``(C, h, w)`` in DN, 0 where invalid; the validity ``(1 or C, h, w)``, None where all are valid.

        Raises:
            InputError: The file is damaged there.
        """
        window, pick = self._locate(box)
        with self._damage(box.rows):
            parts = [source.read(indexes, window=window)[pick] for source, indexes in self._sources]
            pixels = parts[0] if len(parts) == 1 else np.concatenate(parts)
            valid = self._validity(pixels, window, pick, box)
        values = pixels.astype(np.float32)
        if valid is not None:
            if valid.all():
                return values, None
            np.copyto(values, 0, where=~valid)
        return values, valid

    def _locate(self, box: Box) -> tuple[Place, tuple[Any, ...]]:
        """Work out what to read from the files for ``box``, and which of it to keep."""
        if self._repeats == (_ONCE, _ONCE):
            return place(box), (...,)
        source = self._sources[0][0]
        rows = self._repeats[0].samples(box.rows, source.height)
        cols = self._repeats[1].samples(box.cols, source.width)
        around = Box(*(Span(int(axis[0]), int(axis[-1]) + 1) for axis in (rows, cols)))
        return place(around), (..., (rows - rows[0])[:, None], cols - cols[0])

    def _validity(
        self, pixels: NDArray[Any], window: Place, pick: tuple[Any, ...], box: Box
    ) -> NDArray[np.bool_] | None:
        valid: NDArray[np.bool_] | None = None
        if any(band.nodata is not None for band in self.bands) and not self.declares_mask:
            valid = np.stack([_differs(plane, band.nodata) for plane, band in zip(pixels, self.bands, strict=True)])
        if np.issubdtype(pixels.dtype, np.floating):
            finite = np.isfinite(pixels)
            valid = finite if valid is None else valid & finite
        masks = [source.read(index, window=window)[pick] > 0 for source, index in self._alphas]
        if self._masked:
            masks += [source.dataset_mask(window=window)[pick] > 0 for source, _ in self._sources]
        if masks:
            mask = np.logical_and.reduce(masks)[None]
            valid = mask if valid is None else valid & mask
        if self.collar is not None:
            inside = ~((pixels == self.collar.value).all(0) & self._collar_cells(self.collar, box))[None]
            valid = inside if valid is None else valid & inside
        return valid

    def _collar_cells(self, collar: Collar, box: Box) -> NDArray[np.bool_]:
        """Lay the coarse map of the collar on the pixels of ``box``."""
        rows, cols = (
            (np.arange(*box[axis]) * collar.cells.shape[axis] // self.grid.shape[axis]).astype(np.int64)
            for axis in (0, 1)
        )
        cells: NDArray[np.bool_] = collar.cells[np.ix_(rows, cols)]
        return cells

    def read_raw(self, box: Box) -> NDArray[Any]:
        """Read a window of the files as they are: ``(C, h, w)`` in their own type.

        Raises:
            InputError: The file is damaged there.
        """
        with self._damage(box.rows):
            return np.concatenate([source.read(indexes, window=place(box)) for source, indexes in self._sources])

    def read_coarse(self, limit: int) -> NDArray[Any]:
        """Read every n-th pixel of all bands, so that no side exceeds ``limit``: ``(C, h, w)`` in the file's dtype.

        Raises:
            InputError: The file is damaged.
        """
        step = max(1, -(-max(self.grid.shape) // limit))
        shape = tuple(-(-side // step) for side in self.grid.shape)
        with self._damage(self.grid.box.rows):
            parts = [
                source.read(indexes, out_shape=(len(indexes), *shape), resampling=Resampling.nearest)
                for source, indexes in self._sources
            ]
        return np.concatenate(parts)

    @contextmanager
    def _damage(self, rows: Span) -> Iterator[None]:
        """Say what a read error means."""
        try:
            yield
        except RasterioError as error:
            raise InputError(
                f"{self.name} cannot be read at rows {rows.start}–{rows.stop}: {_reason(error)}",
                "the file is damaged or truncated: fetch it again",
            ) from error

    def place_on(self, grid: Grid) -> None:
        """Take the pixels to lie on ``grid``, whatever the file says."""
        self.grid = grid

    def mark_collar(self, collar: Collar) -> None:
        """Read the pixels of a border as invalid from now on."""
        self.collar = collar

    def warp_onto(self, grid: Grid) -> None:
        """Read through a cubic warp onto ``grid`` from now on."""
        sources, alphas = [], []
        for source, indexes in self._sources:
            nodata = self.bands[0].nodata
            known = [index for owner, index in self._alphas if owner is source]
            options: dict[str, float | bool] = {} if known else {"add_alpha": True}
            if nodata is not None:
                options = {"nodata": nodata, "src_nodata": nodata}
            vrt = WarpedVRT(
                source,
                crs=grid.crs,
                transform=grid.transform,
                height=grid.shape[0],
                width=grid.shape[1],
                resampling=Resampling.cubic,
                **options,
            )
            vrt = self._stack.enter_context(vrt)
            if nodata is None:
                alphas.append((vrt, known[0] if known else vrt.count))
            sources.append((vrt, indexes))
        self._alphas = alphas
        self._masked = False
        self._sources = sources
        self.grid = grid

    def undo_repeats(self, repeats: tuple[Repeat, Repeat]) -> None:
        """Read each repeated pixel once from now on, on the grid that the file was enlarged from."""
        rows, cols = repeats
        shape = (
            -(-(self.grid.shape[0] - rows.start) // rows.factor),
            -(-(self.grid.shape[1] - cols.start) // cols.factor),
        )
        corner = Affine.translation(cols.start, rows.start) @ Affine.scale(cols.factor, rows.factor)
        self.grid = Grid(shape, self.grid.transform @ corner, self.grid.crs)
        self._repeats = repeats

    def name_bands(self, names: Sequence[str]) -> None:
        """Give names to bands that have none."""
        self.bands = tuple(
            band if band.name else replace(band, name=name) for band, name in zip(self.bands, names, strict=True)
        )

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    def __enter__(self) -> Raster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: str) -> Any:
    try:
        return rasterio.open(path)
    except RasterioIOError as error:
        raise InputError(
            f"cannot open {path}: {_reason(error)}",
            "check the path and that the file is complete (gdalinfo or rio info)",
        ) from error


def _reason(error: BaseException) -> str:
    """Return the innermost message: rasterio wraps GDAL's words in its own."""
    cause = error.__cause__ or error.__context__
    return _reason(cause) if cause is not None and str(cause) else str(error).splitlines()[0]


def _band(source: Any, index: int, src_nodata: float | str | None) -> Band:
    declared = source.nodatavals[index - 1]
    nodata = declared if src_nodata is None else None if src_nodata == "none" else float(src_nodata)
    return Band(
        name=source.descriptions[index - 1],
        nodata=nodata,
        colour=source.colorinterp[index - 1],
        scale=source.scales[index - 1],
        offset=source.offsets[index - 1],
        unit=source.units[index - 1],
        tags={key: value for key, value in source.tags(index).items() if not key.startswith("STATISTICS_")},
    )


def _differs(plane: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    if nodata is None:
        return np.ones(plane.shape, bool)
    if np.isnan(nodata):
        present: NDArray[np.bool_] = ~np.isnan(plane)
        return present
    differs: NDArray[np.bool_] = plane != np.asarray(nodata).astype(plane.dtype)
    return differs
