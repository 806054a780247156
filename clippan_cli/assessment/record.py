"""An assessment as a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clippan_cli.assessment.indices import CATALOGUE, BandIndices, Indices
from clippan_cli.base.version import Versions
from clippan_cli.opening.record import InputsRecord, RasterRecord, SceneRecord, describe_raster
from clippan_cli.scene.raster import Raster

SCHEMA_VERSION = 1

Role = Literal["result", "method", "classical", "interpolation"]
"""The role of a candidate, which is the image, a method to compare, the best classical method, or doing nothing."""

Grade = Literal["good", "fair", "poor", "unknown"]
"""A judgement in one word."""


@dataclass(frozen=True, kw_only=True)
class AssessedInputs(InputsRecord):
    """Describes the rasters of an assessment.

    Args:
        hrms: The image; None where methods were compared.
        reference: The truth; None where there is none.
    """

    hrms: RasterRecord | None
    reference: RasterRecord | None


@dataclass(frozen=True, kw_only=True)
class BlocksRecord:
    """Counts the blocks over which indices are means.

    Args:
        side: The number of pixels along a block.
        judged: The number of blocks of PAN pixels that were judged.
        skipped: The number of blocks of PAN pixels that touch nodata.
        judged_at_ms: The number of blocks of MS pixels that were judged.
    """

    side: int
    judged: int
    skipped: int
    judged_at_ms: int


@dataclass(frozen=True, kw_only=True)
class WindowsRecord:
    """Counts the windows into which the scene was cut.

    Args:
        all: The number of all windows.
        anchors: The number of windows in which methods were judged, and all candidates together.
    """

    all: int
    anchors: int


@dataclass(frozen=True, kw_only=True)
class ConventionRecord:
    """Says what the image was compared with.

    Args:
        name: The convention's name on the command line.
        words: The convention in words.
        phases: The phase of each band in PAN pixels, (row, col).
        gains: The MTF gain of each band at the MS Nyquist frequency.
        peak: The highest value that a pixel of the truth can have, in DN; None without a truth.
        border: The number of PAN pixels along the edge that indices against the truth leave out.
    """

    name: str
    words: str
    phases: tuple[tuple[float, float], ...]
    gains: tuple[float, ...]
    peak: float | None
    border: int


@dataclass(frozen=True, kw_only=True)
class ReducedRecord:
    """Says what was judged one scale down.

    Args:
        words: The protocol in words.
        pixels: The number of pixels that count.
        peak: The highest value that a pixel can have, in DN.
        border: The number of pixels along the edge that were left out.
    """

    words: str
    pixels: int
    peak: float
    border: int


@dataclass(frozen=True, kw_only=True)
class CandidateRecord:
    """Describes one who was judged; an index is None where there are too few data.

    Args:
        name: The name it is called by.
        role: The role that it has.
        method: The method or the model that makes it; None for a file.
        full: The indices at full resolution; None where it was judged one scale down only.
        by_band: The indices at full resolution that exist band by band.
        common: The indices at full resolution, in the windows where all candidates were judged.
        truth: The indices against a truth; None without one.
        reduced: The indices one scale down; None where it was not judged there.
        reduced_by_band: The indices one scale down that exist band by band.
    """

    name: str
    role: Role
    method: str | None
    full: Indices | None
    by_band: BandIndices | None
    common: Indices | None
    truth: Indices | None
    reduced: Indices | None
    reduced_by_band: BandIndices | None


@dataclass(frozen=True, kw_only=True)
class ExtremesRecord:
    """Counts the image's pixels at the ends of their type.

    Args:
        lowest: The number of pixels with the lowest value in any band.
        highest: The number of pixels with the highest value in any band.
        pixels: The number of all valid pixels; 0 where no image was judged.
    """

    lowest: int = 0
    highest: int = 0
    pixels: int = 0


@dataclass(frozen=True, kw_only=True)
class VerdictRecord:
    """Puts the numbers in words.

    Args:
        grade: The judgement in one word.
        headline: The judgement in one line.
        reasons: The reasons for it.
    """

    grade: Grade
    headline: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class IndexRecord:
    """Says what an index is.

    Args:
        symbol: Its name in the field.
        unit: Its unit; empty where it has none.
        rising: Whether more is better.
        words: The line that says what it measures.
    """

    symbol: str
    unit: str
    rising: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class AssessTiming:
    """Says how long an assessment took.

    Args:
        seconds: The seconds from the start until all was judged.
        read: The seconds spent reading, summed over threads.
        compute: The seconds spent computing, summed over threads.
        peak_memory_mib: The largest memory of the process, in MiB.
        threads: The number of threads that computed.
        processors: The number of the machine's processors; None where it is not known.
    """

    seconds: float
    read: float
    compute: float
    peak_memory_mib: float
    threads: int
    processors: int | None


@dataclass(frozen=True, kw_only=True)
class Assessment(SceneRecord):
    """Says how good an image is, or which method suits a scene.

    Args:
        schema_version: The version of this document's form.
        created: The time when it was made, in UTC.
        versions: The versions of all that has a say in the numbers.
        inputs: The rasters.
        blocks: The blocks; None where only one scale down was judged.
        windows: The windows; None where only one scale down was judged.
        convention: The convention of the comparison; None where only one scale down was judged.
        reduced: The record of what was judged one scale down; None where nothing was.
        consistency: The number of back-projections that end the compared methods.
        bands: The names of the judged bands.
        candidates: The image or the methods first, then the best classical method and interpolation.
        extremes: The image's pixels at the ends of their type.
        verdict: The numbers in words.
        indices: The meaning of each index, by its key.
        timing: The time it took.
        maps: The maps that were written; None where none were asked for.
        report: The page that was written; None where none was asked for.
    """

    schema_version: int
    created: str
    versions: Versions
    inputs: AssessedInputs
    blocks: BlocksRecord | None
    windows: WindowsRecord | None
    convention: ConventionRecord | None
    reduced: ReducedRecord | None
    consistency: int
    bands: tuple[str, ...]
    candidates: tuple[CandidateRecord, ...]
    extremes: ExtremesRecord
    verdict: VerdictRecord
    indices: dict[str, IndexRecord]
    timing: AssessTiming
    maps: tuple[str, ...] | None
    report: str | None


def describe_inputs(scene: InputsRecord, hrms: Raster | None, reference: Raster | None) -> AssessedInputs:
    """Describe the rasters of an assessment."""
    image, truth = (None if raster is None else describe_raster(raster) for raster in (hrms, reference))
    return AssessedInputs(**vars(scene), hrms=image, reference=truth)


def describe_indices() -> dict[str, IndexRecord]:
    """Describe all indices, by their keys."""
    return {
        key: IndexRecord(symbol=index.symbol, unit=index.unit.strip(), rising=index.rising, words=index.words)
        for key, index in CATALOGUE.items()
    }
