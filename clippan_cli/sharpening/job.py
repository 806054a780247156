"""A planned sharpening: how a scene will be fused, in which tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clippan_cli.base.files import check_parent
from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.errors import ModelError, OutputError, UsageError
from clippan_cli.fusion.consistency import total_halo
from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import ANCHORS, CLASSICAL, DEFAULT, method
from clippan_cli.opening.scene import Scene
from clippan_cli.scene.aoi import Aoi, read_aoi
from clippan_cli.scene.raster import Raster
from clippan_cli.sharpening.options import SharpenOptions
from clippan_cli.sharpening.plan import Plan, plan_tiles


@dataclass(frozen=True, kw_only=True)
class Job:
    """Holds a planned sharpening.

    Args:
        scene: The scene to sharpen.
        options: What the user says.
        aoi: The area of interest; None for the whole scene.
        method: The method that will fuse it, not fitted yet.
        anchors: The classical methods that a network is compared with; the first replaces it where it is worse.
        plan: The plan of the tiles.
    """

    scene: Scene
    options: SharpenOptions
    aoi: Aoi | None
    method: Method
    anchors: tuple[Method, ...]
    plan: Plan

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
        return chosen_bands(self.options.bands, self.scene.pair.ms)


def plan_job(scene: Scene, options: SharpenOptions, hears: Listener) -> Job:
    """Plan how a scene is sharpened.

    Raises:
        InputError: The area of interest cannot be used.
        ModelError: The model was not made for such scenes.
        ResourceError: Not even the smallest tile fits into the memory.
        UsageError: There is no such method or band.
    """
    pair, machine = scene.pair, scene.machine
    fusion = _fitting(scene, options.fusion, hears)
    chosen_bands(options.bands, pair.ms)
    aoi = None if options.aoi is None else read_aoi(options.aoi, pair.pan.grid)
    plan = plan_tiles(
        pair.pan.grid.box if aoi is None else aoi.box,
        bands=pair.ms.count,
        halo=total_halo(fusion, scene.sampling, options.consistency),
        planes=fusion.planes(scene.sampling),
        workers=machine.workers,
        memory=options.machine.memory,
        size=options.tile_size,
    )
    guarded = options.guard and isinstance(fusion, Learned)
    anchors = tuple(method(name) for name in ANCHORS) if guarded else ()
    return Job(scene=scene, options=options, aoi=aoi, method=fusion, anchors=anchors, plan=plan)


def _fitting(scene: Scene, name: str, hears: Listener) -> Method:
    """Return the method; where the default model was not made for such scenes, the classical one.

    Raises:
        ModelError: A model other than the default one does not fit.
    """
    fusion = method(name, scene.machine.device, scene.machine.precision)
    if isinstance(fusion, Learned):
        try:
            fusion.check_fit(scene.pair.sampling)
        except ModelError as error:
            if name != DEFAULT:
                raise
            hears.warn(f"{error}: {CLASSICAL} is used instead")
            return method(CLASSICAL)
    return fusion


def chosen_bands(bands: tuple[int, ...] | None, ms: Raster) -> tuple[int, ...]:
    """Return the bands that were asked for, counted from 0; all if none were.

    Raises:
        UsageError: MS has no such band.
    """
    wrong = [band for band in bands or () if not 1 <= band <= ms.count]
    if wrong:
        raise UsageError(f"MS has no band {wrong[0]}: it has {ms.count}", "bands are counted from 1")
    return tuple(range(ms.count)) if bands is None else tuple(band - 1 for band in bands)


def check_output(path: Path, inputs: Sequence[str], options: SharpenOptions) -> None:
    """Refuse what cannot be written, before any work.

    Raises:
        OutputError: The file exists, is an input, or its folder does not take it.
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
        raise OutputError(f"{path} exists", "choose another name, or replace it with `overwrite`")
    check_parent(path)
