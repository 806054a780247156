"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from clippan_cli.assessment import figures
from clippan_cli.assessment.indices import FULL, TRUTH, Index, Indices, Value
from clippan_cli.assessment.maps import TITLES, shown
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.assessment.pictured import Pictured
from clippan_cli.assessment.record import Assessment, CandidateRecord, Role
from clippan_cli.assessment.tally import Maps
from clippan_cli.base.options import spell
from clippan_cli.errors import OutputError

_HISTOGRAM = (320, 90)

_DOING_NOTHING = {"d_lambda", "qnr"}
"""The indices that interpolation wins: none is marked as best in them."""


@dataclass(frozen=True)
class Cell:
    """Shows a number in a table.

    Args:
        text: The number as it is shown.
        best: Whether it is the best of its column.
    """

    text: str
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """Shows a row of a table.

    Args:
        name: Its head.
        role: The role of the candidate; None for a band.
        cells: Its numbers.
    """

    name: str
    role: Role | None = None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Shows a table of the page.

    Args:
        title: The title above it.
        indices: Its columns.
        rows: Its rows; none where nothing was judged.
    """

    title: str
    indices: tuple[Index, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Shows a place at full zoom.

    Args:
        name: The reason why it is shown.
        score: The image's own local HQNR.
        row: The first row on PAN's grid.
        col: The first column on PAN's grid.
        size: The number of rows and columns.
        crops: The names and pictures.
    """

    name: str
    score: float
    row: int
    col: int
    size: tuple[int, int]
    crops: list[tuple[str, str]]


@dataclass(frozen=True)
class Heat:
    """Shows a map as a picture.

    Args:
        symbol: The index.
        words: The words that say what it measures.
        picture: The picture.
        top: The value of the brightest colour.
    """

    symbol: str
    words: str
    picture: str
    top: float


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Holds everything drawn, ready for the page.

    Args:
        places: The places where the image is best, typical and worst.
        maps: The maps.
        look: The image, small; None where there is none.
        histograms: The histograms of each band; empty where there is no image.
        heat_scale: The colours of the maps.
    """

    places: tuple[Place, ...] = ()
    maps: tuple[Heat, ...] = ()
    look: str | None = None
    histograms: tuple[figures.Outline, ...] = ()
    heat_scale: str = ""


def write_report(path: Path, found: Assessment, pictured: Pictured | None) -> None:
    """Draw and write the page; it appears under its name only when complete.

    Args:
        path: The HTML file.
        found: The assessment.
        pictured: The parts that pictures are drawn from; None where there are none.

    Raises:
        OutputError: The page cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("clippan_cli.assessment"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["value"] = as_text
    environment.filters["spelled"] = _spelled
    rows = found.candidates
    page = environment.get_template("report.html").render(
        document=found,
        versions=vars(found.versions),
        full=table("Full resolution", FULL, [(row, row.common) for row in rows]),
        truth=table("Against the truth", TRUTH, [(row, row.truth) for row in rows]),
        reduced=table("One scale down", TRUTH, [(row, row.reduced) for row in rows]),
        bands=by_band(found),
        drawn=Pictures() if pictured is None else _draw(pictured),
    )
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(page, "utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}", "choose another folder") from error


def _spelled(text: str) -> str:
    """Spell the options that a text of the library names."""
    return spell(text, AssessOptions)


def _draw(pictured: Pictured) -> Pictures:
    """Draw everything."""
    found, maps = pictured.findings, pictured.maps
    bands = figures.visible_bands(pictured.scene.pair, pictured.bands)
    known = pictured.scene.known
    stretches = figures.sample_stretches(known.samples, known.scale, [pictured.bands[k] for k in bands])
    return Pictures(
        places=_places(pictured, bands, stretches) if maps else (),
        maps=_heats(maps) if maps else (),
        look=None if found.look is None else figures.as_uri(stretches[0](found.look[bands])),
        histograms=() if found.histograms is None else figures.outlines(found.histograms, *_HISTOGRAM),
        heat_scale=figures.heat_scale(),
    )


def _places(
    pictured: Pictured, bands: list[int], stretches: tuple[figures.Stretch, figures.Stretch]
) -> tuple[Place, ...]:
    return tuple(
        Place(
            name=name,
            score=score,
            row=box.rows.start,
            col=box.cols.start,
            size=box.shape,
            crops=figures.crops(
                pictured.judge,
                pictured.candidates,
                box,
                sampling=pictured.scene.sampling,
                bands=bands,
                ms_bands=[pictured.bands[k] for k in bands],
                stretches=stretches,
            ),
        )
        for name, box, score in figures.places(pictured.maps, pictured.lattice)
    )


def _heats(maps: Maps) -> tuple[Heat, ...]:
    return tuple(Heat(*TITLES[key], *figures.heat(values)) for key, values in shown(maps).items())


def table(title: str, indices: tuple[Index, ...], judged: list[tuple[CandidateRecord, Indices | None]]) -> Table:
    """Make one table of the page: a row a candidate, the best of each column marked.

    Args:
        title: The title above it.
        indices: Its columns, where any candidate has a number.
        judged: The candidates, and their indices; None where they were not judged.
    """
    rows = [(row, values) for row, values in judged if values is not None]
    best: dict[str, float] = {}
    for index in indices:
        known = [value for _, values in rows if (value := values[index.key]) is not None]
        if known:
            best[index.key] = max(known) if index.rising else min(known)
    marked = {key: value for key, value in best.items() if len(rows) > 1 and key not in _DOING_NOTHING}
    kept = tuple(index for index in indices if index.key in best)
    return Table(
        title=title,
        indices=kept,
        rows=tuple(
            Row(
                name=row.name,
                role=row.role,
                cells=tuple(
                    Cell(
                        as_text(value := values[index.key], index), value is not None and value == marked.get(index.key)
                    )
                    for index in kept
                ),
            )
            for row, values in rows
        ),
    )


def by_band(found: Assessment) -> Table:
    """Make the table of the first candidate, band by band."""
    first = found.candidates[0]
    values = first.by_band or first.reduced_by_band or {}
    indices = tuple(index for index in (*FULL, *TRUTH) if index.key in values)
    return Table(
        title="Band by band",
        indices=indices,
        rows=tuple(
            Row(name=name, cells=tuple(Cell(as_text(values[index.key][k], index)) for index in indices))
            for k, name in enumerate(found.bands)
        ),
    )


def as_text(value: Value, index: Index | None = None) -> str:
    """Write a number as a table shows it."""
    if value is None:
        return "–"
    unit = "" if index is None else index.unit
    return f"{value:.2f}" if unit in (" dB", "°") else f"{value:.3f}" if unit else f"{value:.4f}"
