"""An MS and a PAN raster of one scene: whether they fit, and how."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType

from affine import Affine
from rasterio.warp import calculate_default_transform, transform_bounds

from clippan_cli.errors import InputError
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.collar import detect_collar
from clippan_cli.scene.grid import Grid
from clippan_cli.scene.raster import Raster
from clippan_cli.scene.repeats import detect_repeats
from clippan_cli.scene.sensors import BandOptics, Sensor, find_sensor

MAX_RATIO = 16.0
_LEAST_RATIO = 1.05


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Holds MS and PAN of one scene, open for reading.

    Args:
        ms: The multispectral raster.
        pan: The panchromatic raster.
        sensor: The sensor that took both, and its optics.
        recognised_by: The tag, name or option that named the sensor.
        sampling: The place of the MS bands on PAN's grid, as the georeference states it.
        warnings: The things that the user should know of the files.
    """

    ms: Raster
    pan: Raster
    sensor: Sensor
    recognised_by: str
    sampling: Sampling
    warnings: tuple[str, ...]

    @property
    def overlap(self) -> float:
        """The share of PAN's area that MS covers, 0 to 1."""
        return _overlap(self.ms.grid, self.pan.grid)

    def close(self) -> None:
        """Close both rasters."""
        self.ms.close()
        self.pan.close()

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_pair(
    ms: Sequence[str],
    pan: str,
    *,
    sensor: str | None = None,
    mtf_gain: float | None = None,
    src_nodata: float | str | None = None,
    warp: bool = False,
) -> Pair:
    """Open MS and PAN and work out how they lie on each other.

    Args:
        ms: One multispectral raster, or several files with a band each.
        pan: The panchromatic raster.
        sensor: The sensor's id; None to recognise it.
        mtf_gain: One MTF gain for all MS bands, instead of the sensor's; PAN keeps its own.
        src_nodata: The nodata value of both files, whatever they say; ``"none"`` declares all pixels valid.
        warp: Whether to reproject an MS raster in another CRS instead of refusing it.

    Raises:
        InputError: The files cannot be one scene.
        UsageError: There is no such sensor.
    """
    with ExitStack() as stack:
        ms_raster = stack.enter_context(Raster(ms, src_nodata))
        pan_raster = stack.enter_context(Raster([pan], src_nodata))
        warnings: list[str] = []
        _check_bands(ms_raster, pan_raster)
        _assume_georeference(ms_raster, pan_raster, warnings)
        _check_north_up(ms_raster, pan_raster)
        _share_crs(ms_raster, pan_raster, warp, warnings)
        if not warp:
            _undo_repeats(ms_raster, warnings)
        ratio, phase = _ratio_and_phase(ms_raster, pan_raster)
        for raster in (ms_raster, pan_raster):
            _mark_collar(raster, warnings)
        found, origin = find_sensor(sensor, (ms_raster, pan_raster))
        if found.id == "generic":
            warnings.append("sensor not recognised: generic MTF gains (.30, PAN .15) are assumed; `sensor` names it")
        gains = tuple(band.gain if mtf_gain is None else mtf_gain for band in _recognise_bands(ms_raster, found))
        stack.pop_all()
        return Pair(
            ms=ms_raster,
            pan=pan_raster,
            sensor=found,
            recognised_by=origin,
            sampling=Sampling.uniform(ratio, phase, gains, found.pan_gain),
            warnings=tuple(warnings),
        )


def _check_bands(ms: Raster, pan: Raster) -> None:
    if pan.count > 1:
        swapped = "; MS and PAN look swapped" if ms.count == 1 else ""
        raise InputError(
            f"PAN has {pan.count} bands, expected 1: {pan.name}{swapped}",
            "give MS first, then PAN"
            if swapped
            else "extract the panchromatic band: rio stack --bidx 1 pan.tif -o pan1.tif",
        )


def _assume_georeference(ms: Raster, pan: Raster, warnings: list[str]) -> None:
    """Assume that both show the same ground where a file says nothing of its place."""
    if ms.grid.georeferenced and pan.grid.georeferenced:
        if (ms.grid.crs is None) != (pan.grid.crs is None):
            bare, other = (ms, pan) if ms.grid.crs is None else (pan, ms)
            warnings.append(f"{bare.name} has no CRS; assumed to be in that of {other.name}")
            bare.place_on(replace(bare.grid, crs=other.grid.crs))
        return
    known, bare = (ms, pan) if ms.grid.georeferenced else (pan, ms)
    scale = Affine.scale(known.grid.shape[1] / bare.grid.shape[1], known.grid.shape[0] / bare.grid.shape[0])
    if not known.grid.georeferenced and min(known.grid.shape) < min(bare.grid.shape):
        raise InputError(
            f"neither file is georeferenced, and MS ({ms.grid.shape[1]} × {ms.grid.shape[0]} px) is finer than PAN "
            f"({pan.grid.shape[1]} × {pan.grid.shape[0]} px): MS and PAN look swapped",
            "give MS first, then PAN",
        )
    who = bare.name if known.grid.georeferenced else "neither file"
    verb = "has no georeference" if known.grid.georeferenced else "has a georeference"
    warnings.append(f"{who} {verb}; both are assumed to cover the same ground")
    bare.place_on(Grid(bare.grid.shape, known.grid.transform @ scale, known.grid.crs))


def _check_north_up(*rasters: Raster) -> None:
    for raster in rasters:
        if not raster.grid.north_up:
            raise InputError(
                f"{raster.name} lies on a rotated grid: {tuple(round(v, 6) for v in raster.grid.transform[:6])}",
                f"make it north-up first: gdalwarp -r cubic {raster.paths[0]} north_up.tif",
            )


def _share_crs(ms: Raster, pan: Raster, warp: bool, warnings: list[str]) -> None:
    """Warp MS into PAN's CRS if it lies in another one, or refuse it."""
    if ms.grid.crs == pan.grid.crs:
        return
    assert ms.grid.crs is not None
    assert pan.grid.crs is not None
    target = pan.grid.crs.to_string()
    if not warp:
        raise InputError(
            f"different CRS: MS is in {ms.grid.crs.to_string()}, PAN in {target}",
            f"reproject MS: rio warp {ms.paths[0]} ms_warped.tif --dst-crs {target} --resampling cubic (or add `warp`)",
        )
    grid = _warped_grid(ms.grid, pan.grid)
    warnings.append(
        f"MS is resampled from {ms.grid.crs.to_string()} to {target} (`warp`): this blurs it slightly; "
        "a delivery in one CRS is better"
    )
    ms.warp_onto(grid)


def _undo_repeats(ms: Raster, warnings: list[str]) -> None:
    repeats = detect_repeats(ms)
    if repeats is None:
        return
    ms.undo_repeats(repeats)
    warnings.append(
        f"{ms.name} was enlarged by repeating pixels {repeats[0].factor} × {repeats[1].factor} times; "
        f"its true grid of {ms.grid.pixel[0]:.6g} is used"
    )


def _mark_collar(raster: Raster, warnings: list[str]) -> None:
    collar = detect_collar(raster)
    if collar is None:
        return
    raster.mark_collar(collar)
    warnings.append(
        f"{raster.name}: {collar.share:.1%} is a border of {collar.value:g} that the file does not declare; "
        "treated as nodata (`src_nodata=none` keeps it)"
    )


def _recognise_bands(ms: Raster, sensor: Sensor) -> tuple[BandOptics, ...]:
    """Look up the optics of each MS band; bands that no file names get the sensor's names."""
    optics = sensor.optics([band.name for band in ms.bands])
    if sensor.bands and not any(band.name for band in ms.bands):
        ms.name_bands([band.name for band in optics])
    return optics


def _warped_grid(ms: Grid, pan: Grid) -> Grid:
    """Lay a grid in PAN's CRS over the common ground, nested in PAN's where the pixel sizes allow it."""
    height, width = ms.shape
    transform, _, _ = calculate_default_transform(ms.crs, pan.crs, width, height, *ms.bounds)
    ratios = [abs(transform.e) / pan.pixel[0], abs(transform.a) / pan.pixel[1]]
    nested = [float(round(r)) if abs(r - round(r)) < 0.1 * r else r for r in ratios]
    west, south, east, north = transform_bounds(ms.crs, pan.crs, *ms.bounds)
    corners = [~pan.transform @ (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = [c for c, _ in corners], [r for _, r in corners]
    top = nested[0] * (max(min(rows), 0.0) // nested[0])
    left = nested[1] * (max(min(cols), 0.0) // nested[1])
    bottom, right = min(max(rows), pan.shape[0]), min(max(cols), pan.shape[1])
    if bottom <= top or right <= left:
        raise _apart(ms, pan)
    shape = (int(-(-(bottom - top) // nested[0])), int(-(-(right - left) // nested[1])))
    return Grid(shape, pan.transform @ Affine.translation(left, top) @ Affine.scale(nested[1], nested[0]), pan.crs)


def _ratio_and_phase(ms: Raster, pan: Raster) -> tuple[tuple[float, float], tuple[float, float]]:
    """Work out ratio and phase, rows first, from the two affines."""
    relative = ms.grid.relative_to(pan.grid)
    ratio = (relative.e, relative.a)
    if min(ratio) < 0:
        raise InputError(
            f"MS and PAN run in opposite directions: {ms.name} is {'south' if ms.grid.transform.e > 0 else 'north'}-up",
            f"make both north-up first: gdalwarp -r cubic {ms.paths[0]} north_up.tif",
        )
    sizes = f"MS pixel {ms.grid.pixel[0]:.6g}, PAN pixel {pan.grid.pixel[0]:.6g}"
    if min(ratio) < _LEAST_RATIO:
        raise InputError(
            f"MS is not coarser than PAN ({sizes}): ratio {min(ratio):.3g}",
            "MS and PAN look swapped: give MS first, then PAN" if min(ratio) < 1 else "there is nothing to sharpen",
        )
    if max(ratio) > MAX_RATIO:
        raise InputError(
            f"MS is {max(ratio):.3g} times coarser than PAN ({sizes}); at most {MAX_RATIO:g} is supported",
            "check that the two files belong together",
        )
    if _overlap(ms.grid, pan.grid) == 0:
        raise _apart(ms.grid, pan.grid)
    col, row = relative @ (0.5, 0.5)
    return ratio, (row - 0.5, col - 0.5)


def _overlap(ms: Grid, pan: Grid) -> float:
    west, south, east, north = ms.bounds
    w, s, e, n = pan.bounds
    common = max(0.0, min(east, e) - max(west, w)) * max(0.0, min(north, n) - max(south, s))
    return common / ((e - w) * (n - s))


def _apart(ms: Grid, pan: Grid) -> InputError:
    return InputError(
        f"MS and PAN do not overlap: MS covers {_bounds(ms)}, PAN covers {_bounds(pan)}",
        "check that the two files show the same scene",
    )


def _bounds(grid: Grid) -> str:
    west, south, east, north = grid.bounds
    return f"{west:.6g}…{east:.6g} × {south:.6g}…{north:.6g}"
