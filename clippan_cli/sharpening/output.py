"""The output file that will be: its pixel type, its nodata, its meaning."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from rasterio.rpc import RPC

from clippan_cli.base.geometry import Box
from clippan_cli.base.version import __version__
from clippan_cli.errors import UsageError
from clippan_cli.scene.writer import Format, Meaning
from clippan_cli.sharpening.job import Job

DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")

_LOSSY = ("JPEG", "WEBP")


def output_format(job: Job) -> Format:
    """Say how the output is stored.

    Raises:
        UsageError: The pixel type is unknown, or the nodata value does not exist in it.
    """
    options, ms = job.options, job.scene.pair.ms
    dtype = options.dtype or ms.dtype
    if dtype not in DTYPES:
        raise UsageError(f"unknown pixel type {dtype!r}", "known: " + ", ".join(DTYPES))
    form = Format(
        driver=options.driver,
        dtype=dtype,
        options={key.upper(): value for key, value in options.creation.items()},
        overviews=options.overviews,
        threads=job.scene.machine.workers,
    )
    nodata, mask = _output_nodata(job, form)
    return replace(form, nodata=nodata, mask=mask)


def _output_nodata(job: Job, form: Format) -> tuple[float | None, bool]:
    """Choose the nodata value of the output, and whether it gets an internal mask."""
    ms, wanted = job.scene.pair.ms, job.options.dst_nodata
    if wanted == "none":
        return None, _has_gaps(job)
    if wanted is not None and not isinstance(wanted, str):
        if not form.holds(float(wanted)):
            kept = f" of {form.bits} bits" if form.bits else ""
            raise UsageError(
                f"nodata {wanted:g} does not exist in {form.dtype}{kept}", "choose another with `dst_nodata`"
            )
        return float(wanted), False
    lossy = form.options.get("COMPRESS", "").upper() in _LOSSY
    if _has_gaps(job) and (lossy or (ms.declares_mask and ms.nodata is None)):
        return None, True
    stated = ms.nodata if ms.nodata is not None or ms.collar is None else ms.collar.value
    if stated is not None and form.holds(stated):
        return stated, False
    if not _has_gaps(job):
        return None, False
    return (0.0 if np.issubdtype(np.dtype(form.dtype), np.integer) else math.nan), False


def _has_gaps(job: Job) -> bool:
    """Return whether any output pixel may have no data."""
    rasters = (job.scene.pair.ms, job.scene.pair.pan)
    partial = job.scene.pair.overlap < 1 - 1e-9 or job.aoi is not None
    floating = any(not raster.integer for raster in rasters)
    return partial or floating or any(r.nodata is not None or r.declares_mask or r.collar for r in rasters)


def output_meaning(job: Job) -> Meaning:
    """Return what goes with the pixels: MS's words about its bands, PAN's about its grid."""
    ms, pan = job.scene.pair.ms, job.scene.pair.pan
    grid = pan.grid.crop(job.box)
    source = ms.datasets[0].tags()
    tags = {key: value for key, value in source.items() if key not in ("AREA_OR_POINT", "TIFFTAG_SOFTWARE")}
    if "AREA_OR_POINT" in pan.datasets[0].tags():
        tags["AREA_OR_POINT"] = pan.datasets[0].tags()["AREA_OR_POINT"]
    tags |= {
        "TIFFTAG_SOFTWARE": f"clippan {__version__}",
        "CLIPPAN_VERSION": __version__,
        "CLIPPAN_METHOD": job.method.name,
    }
    bands = tuple(ms.bands[index] for index in job.chosen)
    return Meaning(grid, bands, tags, _shifted_rpc(pan.datasets[0].rpcs, job.box))


def _shifted_rpc(rpc: RPC | None, box: Box) -> RPC | None:
    if rpc is None:
        return None
    values = rpc.to_dict() if hasattr(rpc, "to_dict") else {key.lstrip("_"): value for key, value in vars(rpc).items()}
    values["line_off"] -= box.rows.start
    values["samp_off"] -= box.cols.start
    return RPC(**values)
