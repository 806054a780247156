"""What was found out about a scene, as a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clippan_cli.opening.scene import Scene
from clippan_cli.physics.registration import Shift
from clippan_cli.scene.raster import Raster


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One input file.

    Args:
        path: As it was given.
        bytes: Its size; None where it is no local file.
        modified: When it was last changed, in seconds since 1970; None where it is no local file.
    """

    path: str
    bytes: int | None = None
    modified: float | None = None


@dataclass(frozen=True, kw_only=True)
class RasterRecord:
    """One raster, MS, PAN or an image.

    Args:
        files: Where its bands lie.
        shape: Bands, rows and columns.
        dtype: NumPy's name of the pixel type.
        transform: The six numbers of its affine transform.
        crs: Its coordinate reference system; None where it has none.
        grid: Its grid in words.
        bands: Its bands' names; None where a band has none.
        nodata: Its nodata value, as a text where JSON has no such number.
        validity: Where its validity comes from, in words.
    """

    files: list[FileRecord]
    shape: tuple[int, int, int]
    dtype: str
    transform: tuple[float, ...]
    crs: str | None
    grid: str
    bands: list[str | None]
    nodata: float | str | None
    validity: str


@dataclass(frozen=True, kw_only=True)
class InputsRecord:
    """The rasters of a scene.

    Args:
        ms: The multispectral raster.
        pan: The panchromatic raster.
        overlap: The share of PAN's area that MS covers, 0 to 1.
    """

    ms: RasterRecord
    pan: RasterRecord
    overlap: float


@dataclass(frozen=True, kw_only=True)
class ShiftRecord:
    """A measured shift.

    Args:
        row: Rows, in MS pixels.
        col: Columns, in MS pixels.
        spread: How far the windows disagree, in MS pixels; None where there is one window.
        correlation: How alike MS and PAN are once it is corrected.
        windows: The number of windows.
    """

    row: float | None
    col: float | None
    spread: float | None
    correlation: float | None
    windows: int | None


@dataclass(frozen=True, kw_only=True)
class GeometryRecord:
    """How MS lies on PAN.

    Args:
        ratio: PAN pixels in an MS pixel, (row, col).
        phase: The centre of MS pixel (0, 0) in PAN pixels as the georeference states it, (row, col).
        measured_shift: The shift of the whole image; None where it could not be measured.
        measured_band_shifts: The shift of each band.
        phases_used: Each band's phase once shifts are corrected.
        notes: What was measured and done, in words.
    """

    ratio: tuple[float, float]
    phase: tuple[float, float]
    measured_shift: ShiftRecord | None
    measured_band_shifts: list[ShiftRecord | None]
    phases_used: list[tuple[float, float]]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class SensorRecord:
    """The sensor, and the optics that were used.

    Args:
        id: Its name on the command line.
        title: Its name for people.
        recognised_by: What named it.
        mtf_gains: Each band's MTF gain at the MS Nyquist frequency.
        pan_mtf_gain: PAN's MTF gain at its own Nyquist frequency.
    """

    id: str
    title: str
    recognised_by: str
    mtf_gains: list[float]
    pan_mtf_gain: float


@dataclass(frozen=True, kw_only=True)
class SceneRecord:
    """Everything that was found out about a scene.

    Args:
        inputs: Its rasters.
        geometry: How they lie on each other.
        sensor: What took it.
        scale: DN of one scene unit.
        warnings: What the user should know.
    """

    inputs: InputsRecord
    geometry: GeometryRecord
    sensor: SensorRecord
    scale: float
    warnings: list[str]


def describe_scene(scene: Scene) -> SceneRecord:
    """Describe a scene."""
    pair, known = scene.pair, scene.known
    measured = known.measured
    return SceneRecord(
        inputs=InputsRecord(ms=describe_raster(pair.ms), pan=describe_raster(pair.pan), overlap=round(pair.overlap, 6)),
        geometry=GeometryRecord(
            ratio=pair.sampling.ratio,
            phase=pair.sampling.nominal,
            measured_shift=_shift(measured.whole) if measured else None,
            measured_band_shifts=[_shift(band) for band in measured.bands] if measured else [],
            phases_used=list(known.sampling.phases),
            notes=list(known.notes),
        ),
        sensor=SensorRecord(
            id=pair.sensor.id,
            title=pair.sensor.title,
            recognised_by=pair.recognised_by,
            mtf_gains=list(pair.sampling.gains),
            pan_mtf_gain=pair.sampling.pan_gain,
        ),
        scale=known.scale,
        warnings=list(scene.warnings),
    )


def describe_raster(raster: Raster) -> RasterRecord:
    """Describe a raster."""
    validity = "mask" if raster.declares_mask else "nodata" if raster.nodata is not None else "all valid"
    if raster.collar is not None:
        validity = f"undeclared border of {raster.collar.value:g}, {raster.collar.share:.1%}"
    return RasterRecord(
        files=describe_files(raster.paths),
        shape=(raster.count, *raster.grid.shape),
        dtype=raster.dtype,
        transform=tuple(raster.grid.transform[:6]),
        crs=None if raster.grid.crs is None else raster.grid.crs.to_string(),
        grid=raster.grid.describe(),
        bands=[band.name for band in raster.bands],
        nodata=raster.nodata,
        validity=validity,
    )


def describe_files(paths: Sequence[str]) -> list[FileRecord]:
    """Describe files so that a change is seen: by size and time."""
    return [_fingerprint(path) for path in paths]


def _fingerprint(path: str) -> FileRecord:
    try:
        stat = Path(path).stat()
    except OSError:
        return FileRecord(path=path)
    return FileRecord(path=path, bytes=stat.st_size, modified=stat.st_mtime)


def _shift(shift: Shift | None) -> ShiftRecord | None:
    if shift is None:
        return None
    known = {name: None if math.isnan(value) else value for name, value in vars(shift).items()}
    return ShiftRecord(**known)
