"""``clippan train``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.cli.console import Console, guarded, stopping
from clippan_cli.cli.params import (
    Angle,
    Device,
    Every,
    InGraph,
    Iterations,
    Json,
    Overwrite,
    Quiet,
    Rate,
    ResumeTraining,
    Seed,
    as_json,
    check_resume,
)


@guarded
def train(
    context: typer.Context,
    scenes: Annotated[
        list[str],
        typer.Option(help="Folder with an MS and a PAN raster, or with folders of such.", metavar="DIR"),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="The new model's folder.", metavar="DIR")],
    init: Annotated[
        str, typer.Option(metavar="ID|DIR", help="The model to begin with (clippan models list).")
    ] = "injector-1",
    tune: Annotated[
        str, typer.Option(metavar="full|freeze", help="Which weights learn: all, or those of the last layer only.")
    ] = "full",
    iterations: Iterations = 300,
    rate: Rate = 5e-4,
    angle: Angle = 1.0,
    consistency: InGraph = 2,
    seed: Seed = 0,
    every: Every = 100,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: ResumeTraining = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """Tune a model on real scenes, one scale down, where the measured MS is the truth.

    Prints the new model's folder: clippan sharpen --model DIR takes it.
    """
    check_resume(overwrite=overwrite, resume=resume)

    from clippan_cli.training.tune import TuneOptions
    from clippan_cli.training.tune import tune as run

    options = TuneOptions(
        init=init,
        tune=tune,
        iterations=iterations,
        rate=rate,
        angle=angle,
        consistency=consistency,
        seed=seed,
        every=every,
        device=device,
        overwrite=overwrite,
        resume=resume,
    )
    with Console((context.obj or 0) - quiet) as console, stopping() as stop:
        document = run(scenes, output, options, console, stop)
    if json:
        as_json(document)
    else:
        typer.echo(document["output"])
