"""``clippan assess``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.assessment.gate import check_gate, pass_gate
from clippan_cli.assessment.options import AssessOptions, GateOptions, check_methods
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import MsFiles, PanFile
from clippan_cli.errors import UsageError

_Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[HRMS] MS PAN",
        help="The sharpened image, the multispectral and the panchromatic raster; no HRMS to compare methods.",
        show_default=False,
    ),
]


@command
def assess(
    call: Call,
    *,
    inputs: _Inputs = None,
    ms: MsFiles = None,
    pan: PanFile = None,
    options: AssessOptions,
    gate: GateOptions,
) -> None:
    """Say how good a sharpened image is, or which method suits a scene.

    Prints a table, beside interpolation (exp) and the best classical method; with -o a page to hand on.
    """
    check_methods(options)
    check_gate(gate, options)
    hrms, ms_files, pan_file = _files(inputs, ms, pan, with_image=not options.methods)

    from clippan_cli.assessment.assess import assess as run
    from clippan_cli.cli.tables import print_assessment

    with call.work() as (console, stop):
        found = run(ms_files, pan_file, hrms, options, console, stop=stop)
    call.show(found, lambda: print_assessment(found, call.spell))
    pass_gate(gate, found)


def _files(
    inputs: list[str] | None, ms: list[str] | None, pan: str | None, *, with_image: bool
) -> tuple[str | None, list[str], str]:
    """Tell which files are the image, MS and PAN.

    Raises:
        UsageError: There are too many or too few.
    """
    rest = list(inputs or [])
    expected = with_image + (not ms) + (pan is None)
    if len(rest) != expected:
        what = "an image, MS and PAN" if with_image else "MS and PAN"
        example = (
            "clippan assess hrms.tif ms.tif pan.tif (methods without an image: --compare NAMES)"
            if with_image
            else "clippan assess ms.tif pan.tif --compare gsa,mtf-glp-hpm-r"
        )
        raise UsageError(f"give {what}: {len(rest)} files were given, {expected} expected", example)
    image = rest.pop(0) if with_image else None
    ms_files = ms or [rest.pop(0)]
    return image, ms_files, pan or rest.pop(0)
