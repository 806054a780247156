"""Assess a scene: from files to one document, a page and maps."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from clippan_cli.assessment.checks import check_options
from clippan_cli.assessment.contenders import Contender
from clippan_cli.assessment.maps import write_maps
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.assessment.passes import (
    FullPass,
    FullScores,
    ReducedPass,
    ReducedScores,
    judge_full,
    judge_reduced,
)
from clippan_cli.assessment.record import (
    SCHEMA_VERSION,
    Assessment,
    AssessTiming,
    CandidateRecord,
    ExtremesRecord,
    describe_indices,
    describe_inputs,
)
from clippan_cli.assessment.verdict import remarks, verdict
from clippan_cli.assessment.work import Work, open_work
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import use_machine
from clippan_cli.base.version import versions
from clippan_cli.errors import InputError
from clippan_cli.opening.record import describe_scene
from clippan_cli.opening.scene import open_scene
from clippan_cli.scene.find import SceneFiles

_CACHED = 4


def assess(
    ms: Sequence[str],
    pan: str,
    hrms: str | None = None,
    options: AssessOptions | None = None,
    listener: Listener | None = None,
    *,
    stop: Event | None = None,
) -> Assessment:
    """Say how good a sharpened image is, or which method suits a scene.

    Args:
        ms: One multispectral raster, or several files with a band each.
        pan: The panchromatic raster.
        hrms: The sharpened image; None to compare ``options.methods``.
        options: What the user says.
        listener: The listener, who hears of progress.
        stop: The event that stops the work.

    Returns:
        The assessment.

    Raises:
        InputError: The files cannot be judged together, with the numbers.
        Interrupted: ``stop`` was set.
        OutputError: A report or a map cannot be written.
        UsageError: The options contradict one another.
    """
    began = time.perf_counter()
    options, hears = options or AssessOptions(), listener or Deaf()
    check_options(options, hrms, [*ms, pan])
    # Windows look beyond their edges: the blocks of two rows of windows should stay at hand.
    cache = options.machine.memory // _CACHED
    # DLPan's convention has a phase of its own.
    how = replace(options.scene, register="off") if options.convention == "dlpan" else options.scene
    with (
        use_machine(options.machine, cache) as machine,
        open_scene(SceneFiles(Path(pan).stem, tuple(ms), pan), how, machine, hears) as scene,
        open_work(scene, hrms, options, hears, stop or Event()) as work,
    ):
        return _judge_all(work, began)


def _judge_all(work: Work, began: float) -> Assessment:
    """Judge at full resolution, one scale down, or both; draw and write what was asked for."""
    options, hears = work.options, work.hears
    full = None if options.reduced else judge_full(work)
    reduced, said = _try_reduced(work) if work.image is None and work.reference is None else (None, [])
    if full is not None and work.image is not None:
        said += remarks(full.extremes, work.image.raster.dtype)
    for text in said:
        hears.warn(text)
    timing, maps = _timing(work, began), None
    if options.maps is not None and full is not None:
        pictured = full.pictured
        grid = work.scene.pair.pan.grid.crop(pictured.lattice.area)
        maps = write_maps(Path(options.maps), pictured.maps, grid)
    found = _put_together(work, full, reduced, said, timing=timing, maps=maps)
    if options.report is not None:
        # Drawing takes libraries that take half a second to load.
        from clippan_cli.assessment.report import write_report

        hears.say("drawing the report")
        write_report(Path(options.report), found, None if full is None else full.pictured)
    return found


def _try_reduced(work: Work) -> tuple[ReducedPass | None, list[str]]:
    """Judge one scale down; what full resolution has said is not lost where the scene is too small for that.

    Returns:
        The pass, None where there was none, and what the user should know.

    Raises:
        InputError: The scene is too small, and nothing else was asked for.
    """
    try:
        return judge_reduced(work), []
    except InputError as error:
        if work.options.reduced:
            raise InputError(
                f"one scale down: {error.what}", "judge the methods at full resolution: `compare`"
            ) from error
        return None, [f"one scale down nothing could be judged: {error.what}"]


def _put_together(
    work: Work,
    full: FullPass | None,
    reduced: ReducedPass | None,
    said: Sequence[str],
    *,
    timing: AssessTiming,
    maps: tuple[str, ...] | None,
) -> Assessment:
    """Put the document together.

    Args:
        work: What was judged.
        full: What was found at full resolution.
        reduced: What was found one scale down.
        said: What the user should know beside what is known of the scene.
        timing: The time it took.
        maps: The maps that were written.
    """
    scene, options = describe_scene(work.scene), work.options
    image, reference = (None if each is None else each.raster for each in (work.image, work.reference))
    bands = work.scene.pair.ms.bands
    candidates = tuple(_candidate(each, full, reduced) for each in work.contenders)
    blocks = None if full is None else full.blocks
    return Assessment(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        inputs=describe_inputs(scene.inputs, image, reference),
        geometry=scene.geometry,
        sensor=scene.sensor,
        optics=scene.optics,
        scale=scene.scale,
        warnings=[*scene.warnings, *said],
        blocks=blocks,
        windows=None if full is None else full.windows,
        convention=None if full is None else full.convention,
        reduced=None if reduced is None else reduced.record,
        consistency=options.consistency,
        bands=tuple(bands[k].name or f"band {k + 1}" for k in work.bands),
        candidates=candidates,
        extremes=ExtremesRecord() if full is None else full.extremes,
        verdict=verdict(candidates, blocks),
        indices=describe_indices(),
        timing=timing,
        maps=maps,
        report=options.report,
    )


def _candidate(contender: Contender, full: FullPass | None, reduced: ReducedPass | None) -> CandidateRecord:
    here = FullScores() if full is None else full.scores[contender.name]
    below = ReducedScores() if reduced is None else reduced.scores[contender.name]
    return CandidateRecord(
        name=contender.name,
        role=contender.role,
        method=contender.key,
        full=here.full,
        by_band=here.by_band,
        common=here.common,
        truth=here.truth,
        reduced=below.reduced,
        reduced_by_band=below.by_band,
    )


def _timing(work: Work, began: float) -> AssessTiming:
    return AssessTiming(
        seconds=round(time.perf_counter() - began, 3),
        read=round(work.clock.read, 3),
        compute=round(work.clock.compute, 3),
        peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        threads=work.scene.machine.workers,
        processors=os.cpu_count(),
    )
