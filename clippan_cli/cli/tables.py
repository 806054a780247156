"""Documents as text for people, on stdout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
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


_SHORT = {
    "full": ("hqnr", "d_lambda_k", "d_lambda_k_b", "d_s", "d_rho", "r_ergas", "r_sam", "r_q2n", "d_lambda", "qnr"),
    "truth": ("ergas", "sam", "q2n", "scc", "mpsnr", "ssim"),
}


def print_assessment(document: dict[str, Any]) -> None:
    """The verdict, and one table for each resolution."""
    verdict = document["verdict"]
    typer.echo(verdict["headline"])
    for reason in verdict["reasons"]:
        typer.echo(f"  {reason}")
    for part, keys, title in (
        ("common", _SHORT["full"], "full resolution"),
        ("truth", _SHORT["truth"], "against the truth"),
        ("reduced", _SHORT["truth"], "one scale down (Wald)"),
    ):
        rows = [row for row in document["candidates"] if row.get(part)]
        if rows:
            typer.echo()
            _print_table(title, rows, part, [(key, document["indices"][key]) for key in keys])
    if document["windows"] and document["windows"]["anchors"] < document["windows"]["all"]:
        full = document["candidates"][0]["full"]
        typer.echo(
            f"means over the same {document['windows']['anchors']} of {document['windows']['all']} windows"
            + (
                f"; the image over the whole scene: HQNR {_number(full['hqnr'], '')}"
                if document["inputs"]["hrms"]
                else ""
            )
        )
    if document["blocks"] and document["blocks"]["skipped"]:
        blocks = document["blocks"]
        typer.echo(f"{blocks['judged']} blocks judged, {blocks['skipped']} left out because they touch nodata")


def _print_table(title: str, rows: list[dict[str, Any]], part: str, columns: list[tuple[str, dict[str, Any]]]) -> None:
    width = max(len(title), *(len(row["name"]) for row in rows)) + 2
    heads = [f"{index['symbol']} {index['unit']}".strip() for _, index in columns]
    typer.echo(title.ljust(width) + "".join(head.rjust(max(len(head) + 2, 9)) for head in heads))
    for row in rows:
        cells = [
            _number(row[part][key], index["unit"]).rjust(max(len(head) + 2, 9))
            for (key, index), head in zip(columns, heads, strict=True)
        ]
        typer.echo(row["name"].ljust(width) + "".join(cells))


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.3f}" if unit else f"{value:.4f}"


def _row(label: str, text: str) -> None:
    typer.echo(f"{label:<8} {text}")


def _pair(values: tuple[float, float], form: str) -> str:
    return f"{values[0]:{form}}, {values[1]:{form}}"
