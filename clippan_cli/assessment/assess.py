"""Assess a scene: from files to one document, a page and maps."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clippan_cli.assessment.candidate import Candidate, FromFile, Fused, Interpolated
from clippan_cli.assessment.checks import check_options
from clippan_cli.assessment.convention import Convention, DlpanConvention, SceneConvention
from clippan_cli.assessment.indices import CATALOGUE, full_indices, truth_indices
from clippan_cli.assessment.inputs import check_unit, open_image, peak_of, ranges
from clippan_cli.assessment.judge import BINS, Case, Findings, Judge, Truth, holds_blocks, whole_type
from clippan_cli.assessment.lattice import Cell, Lattice, cut, window_side
from clippan_cli.assessment.maps import write_maps
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.assessment.reduced import write_reduced
from clippan_cli.assessment.verdict import remarks, verdict
from clippan_cli.base.documents import as_plain
from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import use_machine
from clippan_cli.base.pipeline import Clock
from clippan_cli.base.version import versions
from clippan_cli.errors import InputError
from clippan_cli.fusion.consistency import total_halo
from clippan_cli.fusion.method import Method, Statistics
from clippan_cli.fusion.moments import Moments
from clippan_cli.fusion.registry import CLASSICAL, CONSISTENCY, method
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.opening.record import describe_raster, describe_scene
from clippan_cli.opening.scene import Scene, open_scene
from clippan_cli.opening.statistics import gather
from clippan_cli.opening.survey import Survey, survey
from clippan_cli.scene.find import SceneFiles
from clippan_cli.scene.raster import Raster
from clippan_cli.sharpening.job import chosen_bands

SCHEMA_VERSION = 1

ANCHOR_PIXELS = 8 << 20
"""PAN pixels on which the anchors are judged, in windows spread over a scene that has more."""

EXP = "exp"

_CACHED = 4


def assess(
    ms: Sequence[str],
    pan: str,
    hrms: str | None = None,
    options: AssessOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> dict[str, Any]:
    """Say how good a sharpened image is, or which method suits a scene.

    Args:
        ms: One multispectral raster, or several files with a band each.
        pan: The panchromatic raster.
        hrms: The sharpened image; None to compare ``options.methods``.
        options: How.
        listener: Hears of progress.
        stop: Set it to stop.

    Returns:
        The assessment, a document that JSON can hold.

    Raises:
        InputError: The files cannot be judged together, with the numbers.
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
        ExitStack() as stack,
    ):
        work = _Assessing(scene, options, hrms, hears, stop or Event(), stack)
        document = work.run()
        document["timing"] = work.timing(began)
        if options.maps is not None:
            document["maps"] = work.maps(Path(options.maps))
        if options.report is not None:
            # Drawing takes libraries that take half a second to load.
            from clippan_cli.assessment.report import write_report

            hears.say("drawing the report")
            write_report(Path(options.report), document, work.pictured)
            document["report"] = options.report
        return document


@dataclass
class Pictured:
    """What pictures are drawn from.

    Args:
        scene: The scene.
        judge: Renders windows.
        findings: Of the pass at full resolution.
        lattice: Its windows.
        candidates: What is shown beside MS and PAN.
        bands: The MS bands that the candidates hold.
    """

    scene: Scene
    judge: Judge
    findings: Findings
    lattice: Lattice
    candidates: tuple[Candidate, ...]
    bands: tuple[int, ...]


class _Assessing:
    """The making of one assessment."""

    def __init__(
        self, scene: Scene, options: AssessOptions, hrms: str | None, hears: Listener, stop: Event, stack: ExitStack
    ) -> None:
        self._scene, self._options, self._hears, self._stop, self._stack = scene, options, hears, stop, stack
        self._methods: dict[str, Method] = {}
        self._clock = Clock()
        self._bands = chosen_bands(options.bands, scene.pair.ms)
        self._image: tuple[Raster, Box] | None = None
        self._truth: tuple[Raster, Box] | None = None
        nodata = options.scene.src_nodata
        if hrms is not None:
            self._image = open_image(stack, hrms, scene.pair, self._bands, nodata, "the image")
            self._check_unit(*self._image, "the image")
        if options.reference is not None:
            self._truth = open_image(stack, options.reference, scene.pair, self._bands, nodata, "the reference")
            self._check_unit(*self._truth, "the reference")
            if self._image is not None and self._truth[1] != self._image[1]:
                raise InputError(
                    f"the reference covers {_extent(self._truth[1])} of PAN's grid, "
                    f"the image {_extent(self._image[1])}",
                    "crop both to the same extent",
                )
        self.pictured: Pictured | None = None

    def _check_unit(self, raster: Raster, area: Box, what: str) -> None:
        check_unit(raster, what, area, self._scene.pair, self._scene.known.samples, self._bands)

    def run(self) -> dict[str, Any]:
        """Judge at full resolution, one scale down, or both."""
        scene = self._scene
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": as_plain(versions()),
            **as_plain(describe_scene(scene)),
        }
        document["inputs"] |= {
            "hrms": None if self._image is None else as_plain(describe_raster(self._image[0])),
            "reference": None if self._truth is None else as_plain(describe_raster(self._truth[0])),
        }
        document |= {"blocks": None, "windows": None, "convention": None, "reduced": None}
        document["consistency"] = self._options.consistency
        document["bands"] = [scene.pair.ms.bands[k].name or f"band {k + 1}" for k in self._bands]
        rows = self._rows()
        document["candidates"] = rows
        extremes = {"lowest": 0, "highest": 0, "pixels": 0}
        if not self._options.reduced:
            found = self._full(document, rows)
            extremes = dict(zip(extremes, map(int, found.extremes), strict=True))
        if self._image is None and self._truth is None:
            self._try_reduced(document, rows)
        document["extremes"] = extremes
        for text in remarks(document, extremes):
            self._warn(document, text)
        document["verdict"] = verdict(document)
        document["indices"] = {
            key: {"symbol": index.symbol, "unit": index.unit.strip(), "rising": index.rising, "words": index.words}
            for key, index in CATALOGUE.items()
        }
        return document

    def _try_reduced(self, document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        """One scale down; what full resolution has said is not lost where the scene is too small for that."""
        try:
            self._reduced(document, rows)
        except InputError as error:
            if self._options.reduced:
                hint = "judge the methods at full resolution: --compare"
                raise InputError(f"one scale down: {error.what}", hint) from error
            self._warn(document, f"one scale down nothing could be judged: {error.what}")

    def _warn(self, document: dict[str, Any], text: str) -> None:
        self._hears.warn(text)
        document["warnings"] = [*document["warnings"], text]

    def _rows(self) -> list[dict[str, Any]]:
        """Who is judged: the image or the methods first, the anchors last."""
        classical = _named(CLASSICAL, CONSISTENCY)
        if self._image is not None:
            name = Path(self._image[0].name).name
            name = f"{name} (the image)" if name in (classical, EXP) else name
            rows = [{"name": name, "role": "result", "method": None}]
        else:
            rows = [
                {"name": _named(name, self._options.consistency), "role": "method", "method": name}
                for name in dict.fromkeys(self._options.methods)
                if name != EXP and _named(name, self._options.consistency) != classical
            ]
        return [
            *rows,
            {"name": classical, "role": "classical", "method": CLASSICAL},
            {"name": EXP, "role": "interpolation", "method": EXP},
        ]

    def _full(self, document: dict[str, Any], rows: list[dict[str, Any]]) -> Findings:
        """Full resolution."""
        scene = self._scene
        known = scene.known
        area = self._image[1] if self._image else self._truth[1] if self._truth else scene.pair.pan.grid.box
        convention: Convention
        if self._options.convention == "dlpan":
            convention = DlpanConvention(scene.pair, self._bands, known.scale, self._options.machine.memory)
            scene = replace(scene, known=replace(known, sampling=convention.sampling))
        else:
            convention = SceneConvention(known.sampling, self._bands)
        truth = None
        if self._truth is not None:
            inside = _shrunk(self._truth[1], convention.border)
            peak = peak_of(self._truth[0], known.scale)
            truth = Truth(FromFile("truth", *self._truth), inside, peak)
        images = () if self._image is None else (FromFile(rows[0]["name"], *self._image),)
        methods = [row for row in rows if row["method"] is not None]
        case, judge = self._case(scene, convention, area, images, methods, truth)
        found = self._judged(judge, case, "assessing")
        self._refuse_empty(found, rows)
        ratio = convention.sampling.ratio[0]
        for row in rows:
            name = row["name"]
            row["full"], row["by_band"] = full_indices(found.sums[name], ratio)
            row["common"], _ = full_indices(found.common[name], ratio)
            if truth is not None:
                row["truth"], per_band = truth_indices(found.sums[name], ratio, truth.peak / known.scale)
                row["by_band"] |= per_band
        sums = found.sums[rows[0]["name"]]
        document["blocks"] = {
            "side": BLOCK,
            "judged": sums.count("blocks"),
            "skipped": sums.count("blocks_skipped"),
            "judged_at_ms": sums.count("low_blocks"),
        }
        document["windows"] = {"all": len(case.lattice.cells), "anchors": len(case.chosen)}
        document["convention"] = {
            "name": convention.name,
            "words": convention.words,
            "phases": [list(phase) for phase in convention.sampling.phases],
            "gains": list(convention.sampling.gains),
            "peak": None if truth is None else truth.peak,
            "border": convention.border if truth is not None else 0,
        }
        shown = [
            *case.everywhere,
            *(each for each in case.anchors if self._image is None or each.name != EXP),
        ]
        self.pictured = Pictured(scene, judge, found, case.lattice, tuple(shown), self._bands)
        return found

    def _reduced(self, document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        """One scale down, where the measured MS is the truth."""
        scene = self._scene
        with TemporaryDirectory(prefix="clippan-") as folder:
            self._hears.say("degrading MS and PAN by Wald's protocol")
            with write_reduced(scene.pair, scene.sampling, Path(folder)) as pair:
                known = survey(pair, "off", scene.machine.workers)
                small = replace(scene, pair=pair, known=known)
                convention = SceneConvention(known.sampling, self._bands)
                area = pair.pan.grid.box
                peak = peak_of(scene.pair.ms, scene.known.scale)
                truth = Truth(
                    FromFile("truth", scene.pair.ms, area, self._bands), _shrunk(area, convention.border), peak
                )
                case, judge = self._case(small, convention, area, (), rows, truth, blind=True)
                found = self._judged(judge, case, "assessing one scale down")
                for row in rows:
                    row["reduced"], row["reduced_by_band"] = truth_indices(
                        found.sums[row["name"]], convention.sampling.ratio[0], peak / known.scale
                    )
                document["reduced"] = {
                    "words": "Wald's protocol: MS through its own MTF, PAN through PAN's, at the scene's phase; "
                    "the truth is MS",
                    "pixels": found.sums[rows[0]["name"]].count("truth_pixels"),
                    "peak": peak,
                    "border": convention.border,
                }

    def _case(
        self,
        scene: Scene,
        convention: Convention,
        area: Box,
        images: tuple[Candidate, ...],
        rows: Sequence[dict[str, Any]],
        truth: Truth | None,
        *,
        blind: bool = False,
    ) -> tuple[Case, Judge]:
        """Fit the methods, lay out the windows."""
        options, pair, known = self._options, scene.pair, scene.known
        halos = [self._halo(row, known) for row in rows]
        bands = pair.ms.count
        side = window_side(
            bands,
            max(halos) + convention.reach,
            scene.machine.workers,
            options.machine.memory,
            len(images) + len(rows),
            max(0 if row["method"] == EXP else self._method(row["method"]).planes(known.sampling) for row in rows),
        )
        lattice = cut(area, convention.sampling, pair.ms.grid.shape, side)
        chosen = lattice.spread(ANCHOR_PIXELS // side**2, lambda cell: holds_blocks(pair, convention, images, cell))
        moments = self._moments(scene, rows, lattice, chosen)
        anchors = tuple(
            Interpolated(EXP)
            if row["method"] == EXP
            else Fused(
                row["name"],
                halo,
                self._method(row["method"]).fit(Statistics(known.sampling, moments, known.samples)),
                self._steps(row),
                self._bands,
            )
            for row, halo in zip(rows, halos, strict=True)
        )
        case = Case(
            pair,
            convention,
            lattice,
            known.scale,
            images,
            anchors,
            frozenset(chosen),
            truth,
            blind,
        )
        limits = None if self._image is None else whole_type(self._image[0])
        edges = None if self._image is None else self._ranges(known)
        return case, Judge(
            case, scene.machine.device, scene.machine.workers, scene.machine.memory, limits, edges, self._stop
        )

    def _ranges(self, known: Survey) -> NDArray[np.float64]:
        return ranges(known.samples, known.scale, self._bands, BINS, integer=self._scene.pair.ms.integer)

    def _moments(
        self, scene: Scene, rows: Sequence[dict[str, Any]], lattice: Lattice, chosen: Sequence[Cell]
    ) -> Moments:
        """Gather what all methods ask for, in one pass; over the chosen windows where they are not all."""
        features = tuple(dict.fromkeys(name for row in rows for name in self._method(row["method"]).features))
        cores = None if len(chosen) == len(lattice.cells) else [cell.ms for cell in chosen]
        if features:
            areas = [lattice.common] if cores is None else cores
            self._hears.begin("statistics", sum(area.pixels for area in areas))
        return gather(scene, features, clock=self._clock, progress=self._hears.advance, cores=cores)

    def _method(self, name: str) -> Method:
        """Each is made once: a model reads its weights."""
        if name not in self._methods:
            self._methods[name] = method(name, self._scene.machine.device)
        return self._methods[name]

    def _steps(self, row: dict[str, Any]) -> int:
        """The anchor is always the same; what the user compares ends as the user says."""
        return CONSISTENCY if row["role"] == "classical" else self._options.consistency

    def _halo(self, row: dict[str, Any], known: Survey) -> int:
        return 0 if row["method"] == EXP else total_halo(self._method(row["method"]), known.sampling, self._steps(row))

    def _judged(self, judge: Judge, case: Case, what: str) -> Findings:
        cells = case.lattice.cells if case.everywhere else case.chosen
        self._hears.begin(what, sum(cell.pan.shape[0] * cell.pan.shape[1] for cell in cells))
        return judge.run(self._hears.advance, self._clock)

    def _refuse_empty(self, found: Findings, rows: list[dict[str, Any]]) -> None:
        sums = found.sums[rows[0]["name"]]
        if sums.count("low_pixels") == 0 and sums.count("rho_pixels") == 0:
            what = "the methods" if self._image is None else self._image[0].name
            raise InputError(
                f"{what}: no pixel is valid together with MS and PAN", "check the nodata values (--src-nodata)"
            )

    def timing(self, began: float) -> dict[str, Any]:
        """What it took."""
        return {
            "seconds": round(time.perf_counter() - began, 3),
            "read": round(self._clock.read, 3),
            "compute": round(self._clock.compute, 3),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "threads": self._scene.machine.workers,
            "processors": os.cpu_count(),
        }

    def maps(self, folder: Path) -> list[str]:
        """Write the maps of the first candidate."""
        assert self.pictured is not None
        name = self.pictured.candidates[0].name
        return write_maps(
            folder, self.pictured.findings.maps[name], self._scene.pair.pan.grid.crop(self.pictured.lattice.area)
        )


def _named(name: str, consistency: int) -> str:
    return name if consistency == 0 or name == EXP else f"{name} + {consistency} BP"


def _shrunk(box: Box, by: int) -> Box:
    """Without a border, where the box is large enough to have one."""
    return Box(*(Span(s.start + by, s.stop - by) if s.size > 4 * by else s for s in box))


def _extent(box: Box) -> str:
    return f"rows {box.rows.start}–{box.rows.stop}, columns {box.cols.start}–{box.cols.stop}"
