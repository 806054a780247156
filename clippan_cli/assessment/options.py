"""What the user may say about an assessment."""

from __future__ import annotations

from dataclasses import dataclass

from clippan_cli.fusion.consistency import DEFAULT_CONSISTENCY
from clippan_cli.opening.options import DEFAULT_MEMORY

CONVENTIONS = ("scene", "dlpan")


@dataclass(frozen=True)
class AssessOptions:
    """What the user may say; the defaults suit an unknown scene.

    Args:
        reference: A truth on PAN's grid.
        methods: Methods to compare, instead of judging a file.
        reduced: Only one scale down.
        consistency: Back-projections that end the compared methods.
        convention: ``"scene"`` or ``"dlpan"``.
        bands: The MS bands that the image holds, counted from 1; None for all.
        register: ``"auto"``, ``"off"``, or a shift (row, col) in MS pixels.
        sensor: Sensor id; None to recognise it.
        mtf_gain: One MTF gain for all bands, instead of the sensor's.
        src_nodata: Nodata value of MS and PAN, ``"none"`` for all valid, None to believe the files.
        warp: Whether to reproject an MS raster in another CRS.
        memory: Bytes that the process may take.
        jobs: Threads; 0 for all processors.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        report: An HTML file to write.
        maps: A folder to write the maps into.
        overwrite: Whether existing files may be replaced.
    """

    reference: str | None = None
    methods: tuple[str, ...] = ()
    reduced: bool = False
    consistency: int = DEFAULT_CONSISTENCY
    convention: str = "scene"
    bands: tuple[int, ...] | None = None
    register: str | tuple[float, float] = "auto"
    sensor: str | None = None
    mtf_gain: float | None = None
    src_nodata: float | str | None = None
    warp: bool = False
    memory: int = DEFAULT_MEMORY
    jobs: int = 0
    device: str = "auto"
    report: str | None = None
    maps: str | None = None
    overwrite: bool = False
