"""A scene described, as documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clippan_cli.opening.scene import Scene
from clippan_cli.opening.survey import Survey
from clippan_cli.physics.registration import Shift
from clippan_cli.scene.raster import Raster


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Describes one input file.

    Args:
        path: The file's name as it was given.
        bytes: The size; None where it is no local file.
        modified: The time of its last change, in seconds since 1970; None where it is no local file.
    """

    path: str
    bytes: int | None = None
    modified: float | None = None


@dataclass(frozen=True, kw_only=True)
class RasterRecord:
    """Describes one raster: MS, PAN or an image.

    Args:
        files: The files that hold its bands.
        shape: The numbers of bands, rows and columns.
        dtype: The pixel type by NumPy's name.
        transform: The six numbers of its affine transform.
        crs: The coordinate reference system; None where it has none.
        grid: The grid in words.
        bands: The bands' names; None where a band has none.
        nodata: The nodata value, as a text where JSON has no such number.
        validity: The source of its validity, in words.
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
    """Describes the rasters of a scene.

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
    """Describes a measured shift.

    Args:
        row: The rows by which MS must move, in MS pixels.
        col: The columns by which MS must move, in MS pixels.
        spread: The disagreement of the windows, in MS pixels; None where there is one window.
        correlation: The correlation of the details of MS and PAN once it is corrected.
        windows: The number of windows that voted.
    """

    row: float | None
    col: float | None
    spread: float | None
    correlation: float | None
    windows: int | None


@dataclass(frozen=True, kw_only=True)
class GeometryRecord:
    """Describes how MS lies on PAN.

    Args:
        ratio: The number of PAN pixels in an MS pixel, (row, col).
        phase: The centre of MS pixel (0, 0) in PAN pixels as the georeference states it, (row, col).
        measured_shift: The shift of the whole image; None where it could not be measured.
        measured_band_shifts: The shift of each band.
        phases_used: The phase of each band once shifts are corrected.
        notes: The words that say what was measured and done.
    """

    ratio: tuple[float, float]
    phase: tuple[float, float]
    measured_shift: ShiftRecord | None
    measured_band_shifts: list[ShiftRecord | None]
    phases_used: list[tuple[float, float]]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class SensorRecord:
    """Describes the sensor, and the optics that are stated of it.

    Args:
        id: The name on the command line.
        title: The name for people.
        recognised_by: The tag, name or option that named it.
        mtf_gains: The MTF gain of each band at the MS Nyquist frequency, as it is stated.
        pan_mtf_gain: PAN's MTF gain at its own Nyquist frequency.
    """

    id: str
    title: str
    recognised_by: str
    mtf_gains: list[float]
    pan_mtf_gain: float


@dataclass(frozen=True, kw_only=True)
class OpticsRecord:
    """Describes the optics that the pixels show, and those that were used.

    Args:
        measured: The MTF gain at which PAN, degraded, explains all bands best; None where it was not measured.
        error: The standard error of ``measured``, for bands that may be softer or sharper than PAN.
        measured_bands: The same gain for each band alone.
        unexplained: The share of PAN's detail that no mixture of the bands explains, 0 to 1.
        shift: The shift (row, col) that is left between MS and PAN, in MS pixels.
        pixels: The number of MS pixels that were compared.
        used: The MTF gain of each band that was used.
        softness: How much softer than PAN the bands are taken to be, in PAN pixels².
        note: The words that say it.
    """

    measured: float | None
    error: float | None
    measured_bands: list[float]
    unexplained: float | None
    shift: tuple[float, float] | None
    pixels: int
    used: list[float]
    softness: float
    note: str


@dataclass(frozen=True, kw_only=True)
class SceneRecord:
    """Holds all that was found out about a scene.

    Args:
        inputs: The rasters.
        geometry: The place of MS on PAN.
        sensor: The sensor that took it.
        optics: The optics that its pixels show, and those that were used.
        scale: The DN of one scene unit.
        warnings: The warnings that the user should read.
    """

    inputs: InputsRecord
    geometry: GeometryRecord
    sensor: SensorRecord
    optics: OpticsRecord
    scale: float
    warnings: list[str]


def describe_scene(scene: Scene) -> SceneRecord:
    """Describe a scene, its files included."""
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
        optics=_optics(known),
        scale=known.scale,
        warnings=list(scene.warnings),
    )


def describe_raster(raster: Raster) -> RasterRecord:
    """Describe a raster and its files."""
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


def _optics(known: Survey) -> OpticsRecord:
    seen = known.optics
    return OpticsRecord(
        measured=None if seen is None else seen.gain,
        error=None if seen is None else round(seen.gain * seen.total_error(known.stated), 4),
        measured_bands=[] if seen is None else list(seen.bands),
        unexplained=None if seen is None else seen.unexplained,
        shift=None if seen is None else seen.shift,
        pixels=0 if seen is None else seen.pixels,
        used=[round(gain, 4) for gain in known.sampling.gains],
        softness=round(known.sampling.told_softness, 4),
        note=known.optics_note,
    )


def _shift(shift: Shift | None) -> ShiftRecord | None:
    if shift is None:
        return None
    known = {name: None if math.isnan(value) else value for name, value in vars(shift).items()}
    return ShiftRecord(**known)
