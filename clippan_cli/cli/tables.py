"""Documents as text for people, on stdout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from clippan_cli.assessment.indices import Index, Indices
    from clippan_cli.assessment.record import Assessment
    from clippan_cli.sharpening.record import Explanation


def print_scene(found: Explanation, spell: Callable[[str], str]) -> None:
    """Print what is known of a scene, then the plan.

    Args:
        found: The document.
        spell: Spells the options that a text of the library names.
    """
    inputs, geometry, sensor = found.inputs, found.geometry, found.sensor
    for name, raster in (("MS", inputs.ms), ("PAN", inputs.pan)):
        _row(name, ", ".join(file.path for file in raster.files))
        nodata = "" if raster.nodata is None else f" {raster.nodata}"
        _row("", f"{raster.grid}, {raster.dtype}, {raster.validity}{nodata}")
        count = raster.shape[0]
        _row("", f"{count} band{'s' if count > 1 else ''}: {', '.join(band or '?' for band in raster.bands)}")
    _row("overlap", f"MS covers {inputs.overlap:.1%} of PAN")
    _row("ratio", _pair(geometry.ratio, ".5g") + " PAN pixels in an MS pixel (row, col)")
    _row("phase", _pair(geometry.phase, ".3g") + " PAN pixels: the centre of MS pixel (0, 0)")
    for note in geometry.notes:
        _row("shift", spell(note))
    for band, shift in zip(inputs.ms.bands, geometry.measured_band_shifts, strict=False):
        if shift is not None:
            _row("", f"{band or '?'}: {shift.row:+.2f}, {shift.col:+.2f} (correlation {shift.correlation:.2f})")
    gains = ", ".join(f"{gain:.3g}" for gain in sensor.mtf_gains)
    _row("sensor", f"{sensor.title} ({sensor.recognised_by}); MTF gains {gains}; PAN {sensor.pan_mtf_gain:.3g}")
    _row("optics", found.optics.note)
    for warning in found.warnings:
        _row("warning", spell(warning))
    print_plan(found)


def print_plan(found: Explanation) -> None:
    """Print what sharpen would do."""
    plan = found.plan
    _row("output", found.output or "–")
    _row("", plan.grid)
    nodata = "internal mask" if plan.internal_mask else f"nodata {plan.nodata}" if plan.nodata is not None else ""
    _row("", ", ".join([plan.driver, plan.dtype, nodata or "no nodata"]))
    _row("method", f"{plan.method}, {plan.consistency} back-projections")
    rows, cols = plan.tiles
    _row("tiles", f"{rows} × {cols} of {plan.tile_size} px, overlap {plan.overlap} px, halo {plan.halo} px")
    _row("machine", f"{plan.device}, {plan.workers} workers, at most {plan.memory_mib} MiB")


def print_assessment(found: Assessment, spell: Callable[[str], str]) -> None:
    """Print the verdict, and one table for each resolution.

    Args:
        found: The document.
        spell: Spells the options that a text of the library names.
    """
    from clippan_cli.assessment.indices import FULL, TRUTH  # not at start-up

    typer.echo(found.verdict.headline)
    for reason in found.verdict.reasons:
        typer.echo(f"  {spell(reason)}")
    rows = found.candidates
    full, truth = ([index for index in known if index.brief] for known in (FULL, TRUTH))
    _print_table("full resolution", [(row.name, row.common) for row in rows], full)
    _print_table("against the truth", [(row.name, row.truth) for row in rows], truth)
    _print_table("one scale down (Wald)", [(row.name, row.reduced) for row in rows], truth)
    blocks, windows, judged = found.blocks, found.windows, rows[0].full
    if windows is not None and windows.anchors < windows.all:
        whole = None if judged is None else judged["hqnr"]
        image = "" if found.inputs.hrms is None else f"; the image over the whole scene: HQNR {_number(whole, '')}"
        typer.echo(f"means over the same {windows.anchors} of {windows.all} windows{image}")
    if blocks is not None and blocks.skipped:
        typer.echo(f"{blocks.judged} blocks judged, {blocks.skipped} left out because they touch nodata")


def _print_table(title: str, judged: Sequence[tuple[str, Indices | None]], columns: Sequence[Index]) -> None:
    """Print a table of those who were judged; nothing where nobody was."""
    rows = [(name, values) for name, values in judged if values is not None]
    if not rows:
        return
    width = max(len(title), *(len(name) for name, _ in rows)) + 2
    heads = {index.key: f"{index.symbol} {index.unit}".strip() for index in columns}
    sides = {key: max(len(head) + 2, 9) for key, head in heads.items()}
    typer.echo()
    typer.echo(title.ljust(width) + "".join(head.rjust(sides[key]) for key, head in heads.items()))
    for name, values in rows:
        cells = (_number(values[index.key], index.unit).rjust(sides[index.key]) for index in columns)
        typer.echo(name.ljust(width) + "".join(cells))


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.3f}" if unit else f"{value:.4f}"


def _row(label: str, text: str) -> None:
    typer.echo(f"{label:<8} {text}")


def _pair(values: tuple[float, float], form: str) -> str:
    return f"{values[0]:{form}}, {values[1]:{form}}"
