"""Where a pass judges: laid out in windows, its methods fitted, and streamed through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clippan_cli.assessment.candidate import Candidate
from clippan_cli.assessment.contenders import Contender
from clippan_cli.assessment.convention import Convention
from clippan_cli.assessment.inputs import ranges
from clippan_cli.assessment.judge import BINS, Case, Findings, Judge, Truth, holds_blocks, whole_type
from clippan_cli.assessment.lattice import Lattice, cut, window_side
from clippan_cli.assessment.work import Work
from clippan_cli.base.geometry import Box
from clippan_cli.fusion.method import Statistics
from clippan_cli.fusion.moments import Moments
from clippan_cli.opening.scene import Scene
from clippan_cli.opening.statistics import gather

ANCHOR_PIXELS = 8 << 20
"""The PAN pixels on which the anchors are judged, in windows spread over a scene that has more."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Says where a pass judges, and how.

    Args:
        scene: The scene, at full resolution or one scale down.
        convention: The way indices are computed.
        area: The pixels of PAN's grid that are judged.
        images: The files that are judged in every window.
        methods: The contenders whose products are made on the way.
        truth: The image that all should be; None where nobody knows.
        blind: Whether to leave out all that needs no truth.
    """

    scene: Scene
    convention: Convention
    area: Box
    images: tuple[Candidate, ...]
    methods: tuple[Contender, ...]
    truth: Truth | None
    blind: bool = False


def lay_out(work: Work, ground: Ground) -> Case:
    """Cut the ground into windows, and fit the methods.

    Raises:
        InputError: The ground is too small, or has too few valid pixels.
    """
    scene, convention, images, methods = ground.scene, ground.convention, ground.images, ground.methods
    pair, known = scene.pair, scene.known
    side = window_side(
        pair.ms.count,
        max(each.halo(known.sampling) for each in methods) + convention.reach,
        scene.machine.workers,
        work.options.machine.memory,
        images=len(images) + len(methods),
        planes=max(each.planes(known.sampling) for each in methods),
    )
    lattice = cut(ground.area, convention.sampling, pair.ms.grid.shape, side)
    chosen = lattice.spread(ANCHOR_PIXELS // side**2, lambda cell: holds_blocks(pair, convention, images, cell))
    cores = None if len(chosen) == len(lattice.cells) else [cell.ms for cell in chosen]
    statistics = Statistics(known.sampling, _moments(work, ground, lattice, cores), known.samples)
    return Case(
        pair=pair,
        convention=convention,
        lattice=lattice,
        scale=known.scale,
        everywhere=images,
        anchors=tuple(each.candidate(statistics, work.bands) for each in methods),
        chosen=frozenset(chosen),
        truth=ground.truth,
        blind=ground.blind,
    )


def _moments(work: Work, ground: Ground, lattice: Lattice, cores: Sequence[Box] | None) -> Moments:
    """Gather what all methods ask for, in one pass; over the chosen windows where they are not all."""
    features = tuple(dict.fromkeys(name for each in ground.methods for name in each.features))
    if features:
        work.hears.begin("statistics", sum(area.pixels for area in cores or [lattice.common]))
    return gather(ground.scene, features, clock=work.clock, progress=work.hears.advance, cores=cores)


def judge_of(work: Work, scene: Scene, case: Case) -> Judge:
    """Return the judge of a case, who also looks at the pixels of the image where there is one."""
    limits = edges = None
    if work.image is not None:
        limits = whole_type(work.image.raster)
        known = scene.known
        edges = ranges(known.samples, known.scale, work.bands, BINS, integer=scene.pair.ms.integer)
    return Judge(case, machine=scene.machine, limits=limits, edges=edges, stop=work.stop)


def run(work: Work, case: Case, judge: Judge, what: str) -> Findings:
    """Judge a case.

    Args:
        work: The work to be judged.
        case: The case, with its windows.
        judge: The judge of the case.
        what: The name of the pass.

    Raises:
        Interrupted: It was stopped.
    """
    cells = case.lattice.cells if case.everywhere else case.chosen
    work.hears.begin(what, sum(cell.pan.pixels for cell in cells))
    return judge.run(work.hears.advance, work.clock)
