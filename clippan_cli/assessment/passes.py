"""The two passes of an assessment: at full resolution, and one scale down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clippan_cli.assessment.candidate import FromFile
from clippan_cli.assessment.contenders import EXP
from clippan_cli.assessment.convention import Convention, DlpanConvention, SceneConvention
from clippan_cli.assessment.ground import Ground, judge_of, lay_out, run
from clippan_cli.assessment.indices import BandIndices, Indices, full_indices, truth_indices
from clippan_cli.assessment.inputs import peak_of
from clippan_cli.assessment.judge import Case, Findings, Truth
from clippan_cli.assessment.pictured import Pictured
from clippan_cli.assessment.record import (
    BlocksRecord,
    ConventionRecord,
    ExtremesRecord,
    ReducedRecord,
    WindowsRecord,
)
from clippan_cli.assessment.reduced import write_reduced
from clippan_cli.assessment.tally import Sums
from clippan_cli.assessment.work import Work
from clippan_cli.base.geometry import Box
from clippan_cli.errors import InputError
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.opening.scene import Scene
from clippan_cli.opening.survey import survey

_WALD = "Wald's protocol: MS through its own MTF, PAN through PAN's, at the scene's phase; the truth is MS"


@dataclass(frozen=True, kw_only=True)
class FullScores:
    """Holds the indices of one candidate at full resolution; all are None where it was not judged there.

    Args:
        full: The indices over all its windows.
        by_band: The indices that exist band by band, against the truth too.
        common: The indices in the windows that all candidates share.
        truth: The indices against the truth; None without one.
    """

    full: Indices | None = None
    by_band: BandIndices | None = None
    common: Indices | None = None
    truth: Indices | None = None


@dataclass(frozen=True, kw_only=True)
class FullPass:
    """Holds what was found at full resolution.

    Args:
        scores: The scores of each candidate, by its name.
        blocks: The blocks over which indices are means.
        windows: The windows into which the scene was cut.
        convention: The convention, which says what the image was compared with.
        extremes: The image's pixels at the ends of their type.
        pictured: The parts that pictures are drawn from.
    """

    scores: dict[str, FullScores]
    blocks: BlocksRecord
    windows: WindowsRecord
    convention: ConventionRecord
    extremes: ExtremesRecord
    pictured: Pictured


@dataclass(frozen=True, kw_only=True)
class ReducedScores:
    """Holds the indices of one candidate one scale down; both are None where it was not judged there.

    Args:
        reduced: The indices against MS.
        by_band: The indices that exist band by band.
    """

    reduced: Indices | None = None
    by_band: BandIndices | None = None


@dataclass(frozen=True, kw_only=True)
class ReducedPass:
    """Holds what was found one scale down.

    Args:
        scores: The scores of each candidate, by its name.
        record: The record of what was judged.
    """

    scores: dict[str, ReducedScores]
    record: ReducedRecord


def judge_full(work: Work) -> FullPass:
    """Judge at full resolution.

    Raises:
        InputError: The scene is too small, or no pixel is valid.
        ResourceError: The convention does not fit into memory.
    """
    ground = _full_ground(work)
    case = lay_out(work, ground)
    judge = judge_of(work, ground.scene, case)
    found = run(work, case, judge, "assessing")
    sums = found.sums[work.contenders[0].name]
    _refuse_empty(work, sums)
    lowest, highest, pixels = (int(count) for count in found.extremes)
    shown = (*case.everywhere, *(each for each in case.anchors if work.image is None or each.name != EXP))
    return FullPass(
        scores={each.name: _full_scores(found, each.name, case) for each in work.contenders},
        blocks=BlocksRecord(
            side=BLOCK,
            judged=sums.count("blocks"),
            skipped=sums.count("blocks_skipped"),
            judged_at_ms=sums.count("low_blocks"),
        ),
        windows=WindowsRecord(all=len(case.lattice.cells), anchors=len(case.chosen)),
        convention=_describe(ground.convention, ground.truth),
        extremes=ExtremesRecord(lowest=lowest, highest=highest, pixels=pixels),
        pictured=Pictured(
            scene=ground.scene, judge=judge, findings=found, lattice=case.lattice, candidates=shown, bands=work.bands
        ),
    )


def _full_ground(work: Work) -> Ground:
    """Return the image's own ground, or the truth's, or the whole scene's."""
    scene, image, reference = work.scene, work.image, work.reference
    convention: Convention = SceneConvention(scene.sampling, work.bands)
    if work.options.convention == "dlpan":
        convention = DlpanConvention(scene.pair, work.bands, scene.known.scale, work.options.machine.memory)
        scene = replace(scene, known=replace(scene.known, sampling=convention.sampling))
    truth = None
    if reference is not None:
        peak = peak_of(reference.raster, scene.known.scale)
        truth = Truth(
            FromFile("truth", reference.raster, reference.area), _shrunk(reference.area, convention.border), peak
        )
    placed = image or reference
    return Ground(
        scene=scene,
        convention=convention,
        area=scene.pair.pan.grid.box if placed is None else placed.area,
        images=() if image is None else (FromFile(work.contenders[0].name, image.raster, image.area),),
        methods=tuple(each for each in work.contenders if each.key is not None),
        truth=truth,
    )


def _full_scores(found: Findings, name: str, case: Case) -> FullScores:
    ratio = case.convention.sampling.ratio[0]
    full, by_band = full_indices(found.sums[name], ratio)
    common, _ = full_indices(found.common[name], ratio)
    if case.truth is None:
        return FullScores(full=full, by_band=by_band, common=common, truth=None)
    truth, against = truth_indices(found.sums[name], ratio, case.truth.peak / case.scale)
    return FullScores(full=full, by_band=by_band | against, common=common, truth=truth)


def _describe(convention: Convention, truth: Truth | None) -> ConventionRecord:
    return ConventionRecord(
        name=convention.name,
        words=convention.words,
        phases=convention.sampling.phases,
        gains=convention.sampling.gains,
        peak=None if truth is None else truth.peak,
        border=0 if truth is None else convention.border,
    )


def _refuse_empty(work: Work, sums: Sums) -> None:
    if sums.count("low_pixels") == 0 and sums.count("rho_pixels") == 0:
        what = "the methods" if work.image is None else work.image.raster.name
        raise InputError(
            f"{what}: no pixel is valid together with MS and PAN", "check the nodata values (`src_nodata`)"
        )


def judge_reduced(work: Work) -> ReducedPass:
    """Judge one scale down, where the measured MS is the truth.

    Raises:
        InputError: The scene is too small for that, or too few pixels are valid.
    """
    work.hears.say("degrading MS and PAN by Wald's protocol")
    with _reduced_ground(work) as ground:
        case = lay_out(work, ground)
        found = run(work, case, judge_of(work, ground.scene, case), "assessing one scale down")
    assert case.truth is not None
    ratio, peak = case.convention.sampling.ratio[0], case.truth.peak
    scores = {}
    for each in work.contenders:
        reduced, by_band = truth_indices(found.sums[each.name], ratio, peak / case.scale)
        scores[each.name] = ReducedScores(reduced=reduced, by_band=by_band)
    pixels = found.sums[work.contenders[0].name].count("truth_pixels")
    record = ReducedRecord(words=_WALD, pixels=pixels, peak=peak, border=case.convention.border)
    return ReducedPass(scores=scores, record=record)


@contextmanager
def _reduced_ground(work: Work) -> Iterator[Ground]:
    """Make the scene one scale down; it is gone on leaving."""
    scene = work.scene
    with (
        TemporaryDirectory(prefix="clippan-") as folder,
        write_reduced(scene.pair, scene.sampling, Path(folder)) as pair,
    ):
        small: Scene = replace(scene, pair=pair, known=survey(pair, "off", scene.machine.workers))
        convention, area = SceneConvention(small.sampling, work.bands), pair.pan.grid.box
        ms = FromFile("truth", scene.pair.ms, area, work.bands)
        yield Ground(
            scene=small,
            convention=convention,
            area=area,
            images=(),
            methods=work.contenders,
            truth=Truth(ms, _shrunk(area, convention.border), peak_of(scene.pair.ms, scene.known.scale)),
            blind=True,
        )


def _shrunk(box: Box, by: int) -> Box:
    """Return the box without a border, where it is large enough to have one."""
    return Box(*(span.grown(-by) if span.size > 4 * by else span for span in box))
