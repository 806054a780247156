"""``clippan sharpen``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from clippan_cli.base.listener import Listener
from clippan_cli.base.rerun import check_rerun
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import Inputs, MsFiles, PanFile, scene_files
from clippan_cli.errors import InputError, UsageError
from clippan_cli.scene.find import SceneFiles
from clippan_cli.sharpening.options import SharpenOptions

if TYPE_CHECKING:
    from clippan_cli.assessment.options import AssessOptions

_Output = Annotated[
    str | None, typer.Option("-o", "--output", help="Names the file to write.", metavar="FILE", show_default=False)
]
_Report = Annotated[
    str | None,
    typer.Option(
        help="Assesses the result, and writes the report to this HTML file.", metavar="FILE", show_default=False
    ),
]
_Tune = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Refines the model on this scene first, looking at it for so long; the model is kept as FILE.model.",
        metavar="SECONDS",
        show_default=False,
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Prints the plan and does nothing.")]


@command
def sharpen(
    call: Call,
    *,
    inputs: Inputs = None,
    output: _Output = None,
    ms: MsFiles = None,
    pan: PanFile = None,
    options: SharpenOptions,
    tune: _Tune = None,
    report: _Report = None,
    dry_run: _DryRun = False,
) -> None:
    """Fuse an MS and a PAN scene into one sharp MS image on PAN's grid.

    Prints the path of the output. A record, FILE.clippan.json, is laid beside it.
    """
    ms_files, pan_file = scene_files(inputs, ms, pan)
    check_rerun(overwrite=options.overwrite, resume=options.resume)
    if tune is not None and options.method is not None:
        raise UsageError(f"{options.method} has nothing to tune", "leave out `method` or --tune")
    if dry_run:
        _explain(call, ms_files, pan_file, output, options)
        return
    if output is None:
        raise UsageError("no output given", "-o hrms.tif")

    from clippan_cli.sharpening.job import check_output
    from clippan_cli.sharpening.sharpen import sharpen as run

    if report is not None:
        from clippan_cli.assessment.checks import check_report

        taken = [*ms_files, pan_file, output, f"{output}.clippan.json", f"{output}.partial"]
        check_report(report, taken, overwrite=options.overwrite or options.resume)
    with call.work() as (console, stop):
        if tune is not None:
            check_output(Path(output), [*ms_files, pan_file], options)
            files = SceneFiles(Path(output).name, tuple(ms_files), pan_file)
            options = _tuned(options, files, f"{output}.model", seconds=tune, hears=console, stop=stop)
        record = run(ms_files, pan_file, output, options, console, stop=stop)
        # As soon as it is there: what comes after may fail.
        call.show(record, record.output)
        if report is not None:
            from clippan_cli.assessment.assess import assess

            assess(ms_files, pan_file, output, report_options(options, report), console, stop=stop)
            console.say(f"report: {report}")


def _tuned(
    options: SharpenOptions, files: SceneFiles, folder: str, *, seconds: float, hears: Listener, stop: Event
) -> SharpenOptions:
    """Refine the model on the scene, and return the options with the model that came out."""
    from clippan_cli.training.options import TuneOptions
    from clippan_cli.training.tune import tune

    said = TuneOptions(
        init=options.model,
        upward=True,
        seconds=seconds,
        consistency=options.consistency,
        device=options.machine.device,
        scene=options.scene,
        overwrite=options.overwrite,
        resume=options.resume,
    )
    try:
        return replace(options, model=tune([files], folder, said, hears, stop).output)
    except InputError as error:
        hears.warn(f"the model is used as it is: {error}")
        return options


def _explain(call: Call, ms: list[str], pan: str, output: str | None, options: SharpenOptions) -> None:
    from clippan_cli.cli.tables import print_plan
    from clippan_cli.sharpening.sharpen import explain

    with call.console() as console:
        found = explain(ms, pan, output, options, console)
    call.show(found, lambda: print_plan(found))


def report_options(options: SharpenOptions, report: str) -> AssessOptions:
    """Say how to assess what was sharpened with ``options``."""
    from clippan_cli.assessment.options import AssessOptions

    return AssessOptions(
        bands=options.bands, scene=options.scene, machine=options.machine, report=report, overwrite=True
    )
