"""What the user may say, and what a caller may hear."""

from __future__ import annotations

from dataclasses import dataclass, field

from clippan_cli.fusion.consistency import DEFAULT_CONSISTENCY
from clippan_cli.fusion.registry import DEFAULT
from clippan_cli.opening.options import DEFAULT_MEMORY


@dataclass(frozen=True)
class Options:
    """What the user may say; the defaults suit an unknown scene.

    Args:
        method: Name of a classical method, id of a shipped model, or folder of a model.
        guard: Whether a model that is worse than the classical methods gives way to them.
        consistency: Back-projections that end it.
        register: ``"auto"``, ``"off"``, or a shift (row, col) in MS pixels.
        sensor: Sensor id; None to recognise it.
        mtf_gain: One MTF gain for all bands, instead of the sensor's.
        src_nodata: Nodata value of the inputs, ``"none"`` for all valid, None to believe the files.
        dst_nodata: Nodata value of the output, ``"none"`` for an internal mask, None to choose.
        dtype: Pixel type of the output; None for that of MS.
        bands: MS bands to write, counted from 1; None for all.
        driver: ``"GTiff"`` or ``"COG"``.
        creation: GDAL creation options.
        overviews: Whether to build overviews in a GTiff.
        aoi: GeoJSON file with the polygons to sharpen.
        warp: Whether to reproject an MS raster in another CRS.
        tile_size: Side of a tile in PAN pixels; None to choose.
        memory: Bytes that the process may take.
        jobs: Threads; 0 for all processors.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …
        overwrite: Whether an existing output may be replaced.
        resume: Whether to continue a run that was killed.
    """

    method: str = DEFAULT
    guard: bool = True
    consistency: int = DEFAULT_CONSISTENCY
    register: str | tuple[float, float] = "auto"
    sensor: str | None = None
    mtf_gain: float | None = None
    src_nodata: float | str | None = None
    dst_nodata: float | str | None = None
    dtype: str | None = None
    bands: tuple[int, ...] | None = None
    driver: str = "GTiff"
    creation: dict[str, str] = field(default_factory=dict)
    overviews: bool = False
    aoi: str | None = None
    warp: bool = False
    tile_size: int | None = None
    memory: int = DEFAULT_MEMORY
    jobs: int = 0
    device: str = "auto"
    overwrite: bool = False
    resume: bool = False
