"""``clippan train``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.cli.console import Console, guarded, stopping
from clippan_cli.cli.params import Device, Json, Overwrite, Quiet, as_json
from clippan_cli.errors import UsageError


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
    iterations: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 300,
    rate: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 5e-4,
    angle: Annotated[float, typer.Option(min=0, help="Weight of the spectral angle beside the error.")] = 1.0,
    consistency: Annotated[int, typer.Option(min=0, max=20, help="Back-projections inside the graph.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of everything random.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a training that was stopped or killed.")] = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """Tune a model on real scenes, one scale down, where the measured MS is the truth.

    Prints the new model's folder: clippan sharpen --model DIR takes it.
    """
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude each other", "--resume continues; --overwrite starts again")

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
