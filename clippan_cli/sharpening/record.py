"""The record of a run, as a document."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from clippan_cli import __version__
from clippan_cli.fusion.learned import Learned
from clippan_cli.physics.registration import Shift
from clippan_cli.scene.raster import Raster
from clippan_cli.sharpening.job import Job
from clippan_cli.sharpening.output import output_format
from clippan_cli.sharpening.plan import OVERLAP, memory_needed


def run_key(job: Job) -> dict[str, Any]:
    """What a resumed run must have in common with the first."""
    return {
        "version": __version__,
        "inputs": [_fingerprint(path) for path in (*job.pair.ms.paths, *job.pair.pan.paths)],
        "options": _options(job)
        | {"tile_size": job.plan.size, "memory": 0, "jobs": 0, "overwrite": False, "resume": False},
        "model": _model(job),
        "phases": [list(phase) for phase in job.sampling.phases],
    }


def _model(job: Job) -> dict[str, str] | None:
    """Which weights: a folder keeps its name when they change."""
    model = job.method.model if isinstance(job.method, Learned) else None
    return None if model is None else {"id": model.id, "sha256": model.sha256}


def _fingerprint(path: str) -> dict[str, Any]:
    try:
        stat = Path(path).stat()
    except OSError:
        return {"path": path}
    return {"path": path, "bytes": stat.st_size, "modified": stat.st_mtime}


def describe_scene(job: Job) -> dict[str, Any]:
    """Everything that was found out about the scene."""
    pair, known = job.pair, job.known
    measured = known.measured
    return {
        "inputs": {
            "ms": describe_raster(pair.ms),
            "pan": describe_raster(pair.pan),
            "overlap": round(pair.overlap, 6),
        },
        "geometry": {
            "ratio": list(pair.sampling.ratio),
            "phase": list(pair.sampling.nominal),
            "measured_shift": _shift(measured.whole) if measured else None,
            "measured_band_shifts": [_shift(band) for band in measured.bands] if measured else [],
            "phases_used": [list(phase) for phase in known.sampling.phases],
            "notes": list(known.notes),
        },
        "sensor": {
            "id": pair.sensor.id,
            "title": pair.sensor.title,
            "recognised_by": pair.recognised_by,
            "mtf_gains": list(pair.sampling.gains),
            "pan_mtf_gain": pair.sampling.pan_gain,
        },
        "scale": known.scale,
        "options": _options(job),
        "warnings": job.warnings,
    }


def _shift(shift: Shift | None) -> dict[str, float | None] | None:
    if shift is None:
        return None
    return {name: None if math.isnan(value) else value for name, value in asdict(shift).items()}


def describe_raster(raster: Raster) -> dict[str, Any]:
    """What a raster is, for a document."""
    validity = "mask" if raster.declares_mask else "nodata" if raster.nodata is not None else "all valid"
    if raster.collar is not None:
        validity = f"undeclared border of {raster.collar.value:g}, {raster.collar.share:.1%}"
    return {
        "files": [_fingerprint(path) for path in raster.paths],
        "shape": [raster.count, *raster.grid.shape],
        "dtype": raster.dtype,
        "transform": list(raster.grid.transform[:6]),
        "crs": None if raster.grid.crs is None else raster.grid.crs.to_string(),
        "grid": raster.grid.describe(),
        "bands": [band.name for band in raster.bands],
        "nodata": number(raster.nodata),
        "validity": validity,
    }


def _options(job: Job) -> dict[str, Any]:
    """The options as JSON can hold them."""
    plain = {name: number(value) if isinstance(value, float) else value for name, value in asdict(job.options).items()}
    document: dict[str, Any] = json.loads(json.dumps(plain))
    return document


def describe_plan(job: Job) -> dict[str, Any]:
    """The tiles, and what they cost."""
    plan, form = job.plan, output_format(job)
    return {
        "grid": job.pair.pan.grid.crop(plan.box).describe(),
        "tiles": [plan.rows, plan.cols],
        "tile_size": plan.size,
        "overlap": OVERLAP,
        "halo": plan.halo,
        "workers": plan.workers,
        "device": str(job.device),
        "memory_mib": round(memory_needed(plan, job.pair.ms.count) / 2**20),
        "method": job.method.name,
        "consistency": job.options.consistency,
        "dtype": form.dtype,
        "driver": form.driver,
        "nodata": number(form.nodata),
        "internal_mask": form.mask,
        "creation_options": form.options,
    }


def versions() -> dict[str, str]:
    """Of everything that has a say in the pixels."""
    return {
        "clippan": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
        "numpy": np.__version__,
    }


def number(value: float | None) -> float | str | None:
    """A number as JSON can hold it."""
    return value if value is None or math.isfinite(value) else str(value)
