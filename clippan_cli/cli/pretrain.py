"""``clippan pretrain``."""

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
    parse_settings,
)

_Folder = Annotated[str, typer.Option("-o", "--output", help="The model's folder.", metavar="DIR", show_default=False)]


@guarded
def pretrain(
    context: typer.Context,
    output: _Folder,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Folder with images (GeoTIFF, PNG, JPEG) to simulate pairs from.", metavar="DIR"),
    ] = None,
    scenes: Annotated[
        list[str] | None, typer.Option(help="Folder with real scenes, an MS and a PAN each.", metavar="DIR")
    ] = None,
    procedural: Annotated[int, typer.Option(min=0, help="Images made from nothing, beside those.")] = 128,
    init: Annotated[
        str | None,
        typer.Option(metavar="ID|DIR", help="A model to go on from, instead of beginning anew.", show_default=False),
    ] = None,
    network: Annotated[
        str,
        typer.Option(metavar="NAME", help="injector, pnn, lambda-pnn, arbrpn, lformer, pan-mamba, ship."),
    ] = "injector",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the network.", show_default=False),
    ] = None,
    bands: Annotated[
        int | None, typer.Option(min=1, help="MS bands, for networks that serve one number only.", show_default=False)
    ] = None,
    iterations: Iterations = 12_000,
    batch: Annotated[int, typer.Option(min=1, help="Pairs in a step.")] = 4,
    rate: Rate = 4e-3,
    angle: Angle = 1.5,
    consistency: InGraph = 2,
    seed: Seed = 0,
    every: Every = 500,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: ResumeTraining = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """Train a network on simulated pairs: a prior that works on sensors it has never seen.

    Needs no data at all; with images and scenes it learns more. Prints the model's folder.
    """
    check_resume(overwrite=overwrite, resume=resume)

    from clippan_cli.training.loop.distributed import alone
    from clippan_cli.training.options import PretrainOptions
    from clippan_cli.training.pretrain import pretrain as run

    alone("clippan pretrain")
    options = PretrainOptions(
        images=tuple(images or ()),
        scenes=tuple(scenes or ()),
        init=init,
        network=network,
        settings=parse_settings(settings),
        bands=bands,
        iterations=iterations,
        batch=batch,
        rate=rate,
        angle=angle,
        consistency=consistency,
        seed=seed,
        procedural=procedural,
        every=every,
        device=device,
        overwrite=overwrite,
        resume=resume,
    )
    with Console((context.obj or 0) - quiet) as console, stopping() as stop:
        trained = run(output, options, console, stop)
    if json:
        as_json(trained.plain())
    else:
        typer.echo(trained.output)
