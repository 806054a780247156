"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clippan_cli.assessment import figures
from clippan_cli.assessment.indices import FULL, TRUTH, Index, Value
from clippan_cli.assessment.maps import TITLES, shown
from clippan_cli.errors import OutputError

if TYPE_CHECKING:
    from clippan_cli.assessment.assess import Pictured

_HISTOGRAM = (320, 90)

_DOING_NOTHING = {"d_lambda", "qnr"}
"""Indices that interpolation wins: none is marked as best in them."""

_TABLES = (
    ("common", "Full resolution", FULL),
    ("truth", "Against the truth", TRUTH),
    ("reduced", "One scale down", TRUTH),
)


def write_report(path: Path, document: dict[str, Any], pictured: Pictured | None) -> None:
    """Draw and write the page; it appears under its name only when complete.

    Args:
        path: The HTML file.
        document: The assessment.
        pictured: What pictures are drawn from; None where there are none.

    Raises:
        OutputError: It cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("clippan_cli.assessment"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["value"] = as_text
    page = environment.get_template("report.html").render(
        document=document,
        tables=[table(document, *entry) for entry in _TABLES],
        bands=by_band(document),
        **(_NONE if pictured is None else _pictures(pictured)),
    )
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(page, "utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}", "choose another folder") from error


_NONE: dict[str, Any] = {"places": [], "maps": [], "look": None, "histograms": [], "heat_scale": ""}


def _pictures(pictured: Pictured) -> dict[str, Any]:
    """Everything drawn, ready for the page."""
    scene, found = pictured.scene, pictured.findings
    shown_bands = figures.visible_bands(scene.pair, pictured.bands)
    ms_bands = [pictured.bands[k] for k in shown_bands]
    stretches = figures.sample_stretches(scene.known.samples, scene.known.scale, ms_bands)
    maps = found.maps.get(pictured.candidates[0].name, {})
    heats = []
    for key, values in shown(maps).items() if maps else ():
        picture, top = figures.heat(values)
        heats.append({"symbol": TITLES[key][0], "words": TITLES[key][1], "picture": picture, "top": top})
    sampling = scene.known.sampling
    return {
        "places": [
            {
                "name": name,
                "score": score,
                "row": box.rows.start,
                "col": box.cols.start,
                "size": box.shape,
                "crops": figures.crops(
                    pictured.judge, pictured.candidates, box, sampling, shown_bands, ms_bands, stretches
                ),
            }
            for name, box, score in (figures.places(maps, pictured.lattice) if maps else ())
        ],
        "maps": heats,
        "look": None if found.look is None else figures.as_uri(stretches[0](found.look[shown_bands])),
        "histograms": [] if found.histograms is None else figures.outlines(found.histograms, *_HISTOGRAM),
        "heat_scale": figures.heat_scale(),
    }


def table(document: dict[str, Any], part: str, title: str, indices: tuple[Index, ...]) -> dict[str, Any]:
    """One table of the page: a row a candidate, the best of each column marked."""
    rows = [row for row in document["candidates"] if row.get(part)]
    marked = {index.key for index in indices if len(rows) > 1} - _DOING_NOTHING
    kept = [index for index in indices if any(row[part][index.key] is not None for row in rows)]
    best = {
        index.key: (max if index.rising else min)(
            row[part][index.key] for row in rows if row[part][index.key] is not None
        )
        for index in kept
    }
    return {
        "title": title,
        "part": part,
        "indices": kept,
        "rows": [
            {
                "name": row["name"],
                "role": row["role"],
                "cells": [
                    {
                        "text": as_text(row[part][index.key], index),
                        "best": index.key in marked and row[part][index.key] == best[index.key],
                    }
                    for index in kept
                ],
            }
            for row in rows
        ],
    }


def by_band(document: dict[str, Any]) -> dict[str, Any]:
    """The first candidate band by band."""
    row = document["candidates"][0]
    values: dict[str, list[Value]] = row.get("by_band") or row.get("reduced_by_band") or {}
    indices = [index for index in (*FULL, *TRUTH) if index.key in values]
    return {
        "indices": indices,
        "rows": [
            {"name": name, "cells": [as_text(values[index.key][k], index) for index in indices]}
            for k, name in enumerate(document["bands"])
        ],
    }


def as_text(value: Value, index: Index | None = None) -> str:
    """A number as a table shows it."""
    if value is None:
        return "–"
    unit = "" if index is None else index.unit
    return f"{value:.2f}" if unit in (" dB", "°") else f"{value:.3f}" if unit else f"{value:.4f}"
