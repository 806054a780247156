"""The record of a run, and its plan, as documents."""

from __future__ import annotations

from dataclasses import dataclass

from clippan_cli.base.documents import Plain, as_plain
from clippan_cli.base.options import identity, stated
from clippan_cli.base.version import ALGORITHM, Versions
from clippan_cli.fusion.guard import Verdict
from clippan_cli.fusion.learned import Learned
from clippan_cli.opening.record import SceneRecord, describe_files, describe_scene
from clippan_cli.sharpening.job import Job
from clippan_cli.sharpening.output import output_format
from clippan_cli.sharpening.plan import OVERLAP, memory_needed

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """Describes the tiles, what they cost, and what is written.

    Args:
        grid: The output's grid in words.
        tiles: The number of rows and columns of tiles.
        tile_size: The side of a tile in PAN pixels.
        overlap: The PAN pixels over which neighbouring tiles are blended.
        halo: The PAN pixels that the method looks beyond a tile.
        workers: The number of tiles computed at once.
        device: The device that computes them.
        precision: How a network computes: ``"fp32"`` or ``"bf16"``.
        memory_mib: The memory that is needed at the peak, in MiB.
        method: The method or the model.
        consistency: The number of back-projections that end it.
        dtype: The output's pixel type.
        driver: The output's format.
        nodata: The output's nodata value, as a text where JSON has no such number.
        internal_mask: Whether the output has a mask inside.
        creation_options: GDAL's creation options.
    """

    grid: str
    tiles: tuple[int, int]
    tile_size: int
    overlap: int
    halo: int
    workers: int
    device: str
    precision: str
    memory_mib: int
    method: str
    consistency: int
    dtype: str
    driver: str
    nodata: float | str | None
    internal_mask: bool
    creation_options: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Says how long a run took.

    Args:
        seconds: The seconds from the start to the end.
        read: The seconds spent reading, summed over threads.
        compute: The seconds spent computing, summed over threads.
        write: The seconds spent writing.
        megapixels_per_second: The millions of output pixels in a second.
        resumed_at_row: The row of tiles at which the run began; 0 where it was not resumed.
    """

    seconds: float
    read: float
    compute: float
    write: float
    megapixels_per_second: float
    resumed_at_row: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts output pixels, and values that were not written as they were computed.

    Args:
        pixels: The number of pixels of the output.
        clipped: The number of values clipped to the range of the pixel type.
        moved_off_nodata: The number of valid values equal to nodata, moved by one.
    """

    pixels: int
    clipped: int
    moved_off_nodata: int


@dataclass(frozen=True, kw_only=True)
class Explanation(SceneRecord):
    """Says what would be done with a scene.

    Args:
        schema_version: The version of this document's form.
        output: The file that would be written; None where none was named.
        options: All options by their keys.
        plan: The tiles, and what is written.
    """

    schema_version: int
    output: str | None
    options: dict[str, Plain]
    plan: PlanRecord


@dataclass(frozen=True, kw_only=True)
class Record(SceneRecord):
    """Says what was done with a scene.

    Args:
        schema_version: The version of this document's form.
        output: The file that was written.
        key: The key that a resumed run must share.
        created: The time of its end, in UTC.
        versions: The versions of all that has a say in the pixels.
        options: All options by their keys.
        plan: The tiles, and what was written.
        method_used: The method or the model that made the pixels.
        guard: The verdict on the model beside classical methods; None where it was not compared.
        fitted: The fitted numbers of the method by their names.
        counts: The numbers of pixels, and of values that were changed.
        timing: The time it took.
        peak_memory_mib: The largest memory of the process, in MiB.
    """

    schema_version: int
    output: str
    key: dict[str, Plain]
    created: str
    versions: Versions
    options: dict[str, Plain]
    plan: PlanRecord
    method_used: str
    guard: Verdict | None
    fitted: dict[str, list[float]]
    counts: Counts
    timing: Timing
    peak_memory_mib: float


def run_key(job: Job) -> dict[str, Plain]:
    """Return the key that a resumed run must share with the first."""
    pair = job.scene.pair
    model = job.method.model if isinstance(job.method, Learned) else None
    return {
        "algorithm": ALGORITHM,
        "inputs": as_plain(describe_files((*pair.ms.paths, *pair.pan.paths))),
        "options": as_plain(identity(job.options) | {"tile_size": job.plan.size}),
        # A folder keeps its name when its weights change.
        "model": None if model is None else {"id": model.id, "sha256": model.sha256},
        # Another machine may compute otherwise.
        "machine": {"device": job.scene.machine.device.type, "precision": job.scene.machine.precision},
        "phases": as_plain(job.scene.sampling.phases),
    }


def explain_job(job: Job, output: str | None) -> Explanation:
    """Say what was found, and what would be done."""
    return Explanation(
        schema_version=SCHEMA_VERSION,
        output=output,
        options=as_plain(stated(job.options)),
        plan=describe_plan(job),
        **vars(describe_scene(job.scene)),
    )


def describe_plan(job: Job) -> PlanRecord:
    """Describe the tiles, and what they cost."""
    plan, form, pair = job.plan, output_format(job), job.scene.pair
    return PlanRecord(
        grid=pair.pan.grid.crop(plan.box).describe(),
        tiles=(plan.rows, plan.cols),
        tile_size=plan.size,
        overlap=OVERLAP,
        halo=plan.halo,
        workers=plan.workers,
        device=str(job.scene.machine.device),
        precision=job.scene.machine.precision,
        memory_mib=round(memory_needed(plan, pair.ms.count) / 2**20),
        method=job.method.name,
        consistency=job.options.consistency,
        dtype=form.dtype,
        driver=form.driver,
        nodata=form.nodata,
        internal_mask=form.mask,
        creation_options=form.options,
    )
