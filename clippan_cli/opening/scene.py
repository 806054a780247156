"""The one way to open a scene: its files, its survey, and the machine that reads it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.base.machine import CACHE, Machine
from clippan_cli.errors import UsageError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.survey import Survey, survey
from clippan_cli.opening.window import read_window
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.find import SceneFiles
from clippan_cli.scene.pair import Pair, open_pair


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Holds a scene, opened and understood.

    Args:
        pair: MS and PAN, open for reading.
        known: The survey of its samples.
        machine: The machine that reads it and computes on it.
        warnings: The warnings that the user should read.
    """

    pair: Pair
    known: Survey
    machine: Machine
    warnings: tuple[str, ...]

    @property
    def sampling(self) -> Sampling:
        """The place of the MS bands on PAN's grid, registration included."""
        return self.known.sampling

    def read(self, ms_box: Box, pan_box: Box) -> Window:
        """Read a window of MS and one of PAN."""
        return read_window(self.pair, ms_box, pan_box)


@contextmanager
def open_scene(files: SceneFiles, options: SceneOptions, machine: Machine, hears: Listener) -> Iterator[Scene]:
    """Open a scene and survey it; everything is closed again on leaving.

    Args:
        files: The files of MS and PAN.
        options: What the user says of them.
        machine: The machine that reads and computes.
        hears: The listener, who hears what was found, and what the user should know.

    Raises:
        InputError: The files cannot be one scene, or no pixel is valid in both.
        UsageError: There is no such sensor.
    """
    with ExitStack() as stack:
        stack.enter_context(set_up_gdal(options, machine.cache))
        pair = stack.enter_context(open_files(files, options))
        for text in pair.warnings:
            hears.warn(text)
        known = survey(pair, options.register, machine.workers, blind=not options.stated_optics)
        for text in (*known.notes, known.optics_note):
            hears.say(text)
        found = _remarks(pair, known)
        for text in found:
            hears.warn(text)
        yield Scene(pair=pair, known=known, machine=machine, warnings=(*pair.warnings, *found))


@contextmanager
def set_up_gdal(options: SceneOptions, cache: int = CACHE) -> Iterator[None]:
    """Set GDAL up for reading scenes; its settings are as before on leaving.

    Args:
        options: The options of the scenes.
        cache: The bytes of GDAL's block cache.

    Raises:
        UsageError: A setting is not the user's to make.
    """
    if "GDAL_CACHEMAX" in options.config:
        raise UsageError("GDAL's cache is a part of `memory`", "give `memory` instead of `config=GDAL_CACHEMAX=…`")
    settings = {"GDAL_CACHEMAX": cache, "GDAL_TIFF_INTERNAL_MASK": True, "GTIFF_FORCE_RGBA": False}
    with rasterio.Env(**{**settings, **options.config}), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def open_files(files: SceneFiles, options: SceneOptions) -> Pair:
    """Open MS and PAN of a scene that is known already.

    Raises:
        InputError: They cannot be one scene.
        UsageError: There is no such sensor.
    """
    return open_pair(
        files.ms,
        files.pan,
        sensor=options.sensor,
        mtf_gain=options.mtf_gain,
        src_nodata=options.src_nodata,
        warp=options.warp,
    )


def _remarks(pair: Pair, known: Survey) -> list[str]:
    """Return what the user should know of a survey."""
    found = []
    for raster, level in ((pair.ms, known.saturation[0]), (pair.pan, known.saturation[1])):
        if math.isfinite(level):
            found.append(
                f"{raster.name} is saturated at {level * known.scale:g}; such pixels are left out of the statistics"
            )
    measured = known.measured
    if measured is not None and measured.whole is not None and measured.whole.size > 2:
        found.append(f"MS and PAN lie {measured.whole.size:.1f} MS px apart: check that the georeference is right")
    seen, stated = known.optics, sum(known.stated.gains) / len(known.stated.gains)
    if seen is not None and seen.contradicts(known.stated):
        used = sum(known.sampling.gains) / len(known.sampling.gains)
        found.append(
            f"the pixels show an MTF gain of {seen.describe(known.stated)}, but {stated:.2f} is stated: {used:.2f} is "
            "used (`stated_optics` believes what is stated)"
        )
    outside = [
        optics.name
        for optics in pair.sensor.optics([band.name for band in pair.ms.bands])
        if optics.wavelength is not None
        and not pair.sensor.pan_range[0] <= optics.wavelength <= pair.sensor.pan_range[1]
    ]
    if outside:
        found.append(f"PAN does not see {', '.join(outside)}: their detail is inferred from other bands")
    return found
