"""A scene, opened and understood: what every command begins with."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning

from clippan_cli.base.device import choose_device
from clippan_cli.base.files import check_parent
from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.base.memory import Memory
from clippan_cli.errors import ModelError, OutputError, UsageError
from clippan_cli.fusion.consistency import total_halo
from clippan_cli.fusion.guard import ANCHORS
from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import CLASSICAL, DEFAULT, method
from clippan_cli.opening.survey import Survey, survey
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.aoi import Aoi, read_aoi
from clippan_cli.scene.pair import Pair, open_pair
from clippan_cli.scene.raster import Raster
from clippan_cli.sharpening.options import Options
from clippan_cli.sharpening.plan import Plan, plan_tiles

CACHE = 128 << 20
"""Bytes of GDAL's block cache."""


@dataclass
class Job:
    """A scene, opened and understood.

    Args:
        pair: MS and PAN.
        options: What the user said.
        known: The survey.
        aoi: The area of interest; None for the whole scene.
        method: How it will be fused, not fitted yet.
        anchors: Classical methods that a network is compared with; the first replaces it where it is worse.
        plan: The tiles.
        device: Where to compute.
        memory: Kept below its bound.
        warnings: What the user should know.
    """

    pair: Pair
    options: Options
    known: Survey
    aoi: Aoi | None
    method: Method
    anchors: tuple[Method, ...]
    plan: Plan
    device: torch.device
    memory: Memory
    warnings: list[str]

    @property
    def sampling(self) -> Sampling:
        """Where the MS bands lie, registration included."""
        return self.known.sampling

    @property
    def features(self) -> tuple[str, ...]:
        """The statistics that the method and its anchors ask for."""
        return tuple(dict.fromkeys(name for each in (self.method, *self.anchors) for name in each.features))

    @property
    def box(self) -> Box:
        """The output window on PAN's grid."""
        return self.plan.box

    @property
    def chosen(self) -> tuple[int, ...]:
        """The MS bands to write, counted from 0."""
        if self.options.bands is None:
            return tuple(range(self.pair.ms.count))
        return tuple(band - 1 for band in self.options.bands)


@contextmanager
def prepared(ms: Sequence[str], pan: str, options: Options, hears: Listener, cache: int = CACHE) -> Iterator[Job]:
    """Open a scene, survey it and plan the work; everything is closed again on leaving.

    Args:
        ms: One multispectral raster, or several files with a band each.
        pan: The panchromatic raster.
        options: How.
        hears: Hears of progress.
        cache: Bytes of GDAL's block cache.
    """
    memory = Memory(options.memory, max(0, cache - CACHE))
    device = choose_device(options.device)
    workers = 1 if device.type == "cuda" else options.jobs or os.cpu_count() or 1
    if device.type == "cpu":
        torch.set_num_threads(1)
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=cache, GDAL_TIFF_INTERNAL_MASK=True, GTIFF_FORCE_RGBA=False))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        pair = stack.enter_context(
            open_pair(ms, pan, sensor=options.sensor, src_nodata=options.src_nodata, warp=options.warp)
        )
        for text in pair.warnings:
            hears.warn(text)
        yield _understand(pair, options, device, workers, memory, hears)


def _understand(
    pair: Pair, options: Options, device: torch.device, workers: int, memory: Memory, hears: Listener
) -> Job:
    fusion = _fitting(options.method, device, pair, hears)
    _check_bands(options.bands, pair.ms)
    if options.mtf_gain is not None:
        pair.sampling = replace(pair.sampling, gains=(options.mtf_gain,) * pair.ms.count)
    aoi = None if options.aoi is None else read_aoi(options.aoi, pair.pan.grid)
    known = survey(pair, options.register, workers)
    for text in known.notes:
        hears.say(text)
    plan = plan_tiles(
        pair.pan.grid.box if aoi is None else aoi.box,
        bands=pair.ms.count,
        halo=total_halo(fusion, known.sampling, options.consistency),
        planes=fusion.planes(known.sampling),
        workers=workers,
        memory=options.memory,
        size=options.tile_size,
    )
    found = _second_thoughts(pair, known)
    for text in found:
        hears.warn(text)
    guarded = options.guard and isinstance(fusion, Learned)
    anchors = tuple(method(name) for name in ANCHORS) if guarded else ()
    return Job(pair, options, known, aoi, fusion, anchors, plan, device, memory, [*pair.warnings, *found])


def _fitting(name: str, device: torch.device, pair: Pair, hears: Listener) -> Method:
    """The method; where the default model was not made for such scenes, the classical one.

    Raises:
        ModelError: A model other than the default one does not fit.
    """
    fusion = method(name, device)
    if isinstance(fusion, Learned):
        try:
            fusion.check_fit(pair.sampling)
        except ModelError as error:
            if name != DEFAULT:
                raise
            hears.warn(f"{error}: {CLASSICAL} is used instead")
            return method(CLASSICAL)
    return fusion


def _second_thoughts(pair: Pair, known: Survey) -> list[str]:
    """What the survey found that the user should know."""
    found = []
    for raster, level in ((pair.ms, known.saturation[0]), (pair.pan, known.saturation[1])):
        if math.isfinite(level):
            found.append(
                f"{raster.name} is saturated at {level * known.scale:g}; such pixels are left out of the statistics"
            )
    measured = known.measured
    if measured is not None and measured.whole is not None and measured.whole.size > 2:
        found.append(f"MS and PAN lie {measured.whole.size:.1f} MS px apart: check that the georeference is right")
    outside = [
        optics.name
        for optics in pair.sensor.optics([band.name for band in pair.ms.bands])
        if optics.wavelength is not None
        and not pair.sensor.pan_range[0] <= optics.wavelength <= pair.sensor.pan_range[1]
    ]
    if outside:
        found.append(f"PAN does not see {', '.join(outside)}: their detail is inferred from other bands")
    return found


def check_output(path: Path, inputs: Sequence[str], options: Options) -> None:
    """Refuse what cannot be written, before any work.

    Raises:
        OutputError: It exists, is an input, or the folder does not take it.
        UsageError: The format is unknown.
    """
    if options.driver not in ("GTiff", "COG"):
        raise UsageError(f"unknown output format {options.driver!r}", "known: GTiff, COG")
    working = path.with_name(path.name + ".partial")
    if any(Path(name).resolve() in (path.resolve(), working.resolve()) for name in inputs):
        raise OutputError(
            f"{path} or its working file {working.name} is an input", "choose another name for the output"
        )
    if path.is_dir():
        raise OutputError(f"{path} is a folder", "give the name of a file")
    if path.exists() and not (options.overwrite or options.resume):
        raise OutputError(f"{path} exists", "choose another name, or replace it with --overwrite")
    check_parent(path)


def _check_bands(bands: tuple[int, ...] | None, ms: Raster) -> None:
    wrong = [band for band in bands or () if not 1 <= band <= ms.count]
    if wrong:
        raise UsageError(f"MS has no band {wrong[0]}: it has {ms.count}", "bands are counted from 1")
