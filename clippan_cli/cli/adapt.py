"""``clippan adapt``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.cli.console import Console, guarded, stopping
from clippan_cli.cli.params import (
    BatchSize,
    Clip,
    ClipWeights,
    Device,
    Download,
    Every,
    Iterations,
    Json,
    Loss,
    MsInput,
    Overwrite,
    Precision,
    Prompt,
    PromptFile,
    Quiet,
    Rate,
    Readers,
    ResumeTraining,
    Scenes,
    Seed,
    as_json,
    check_resume,
    parse_losses,
)


@guarded
def adapt(
    context: typer.Context,
    scenes: Scenes,
    output: Annotated[str, typer.Option("-o", "--output", help="The supervisor's folder.", metavar="DIR")],
    clip: Clip = "ViT-B-32-quickgelu",
    clip_weights: ClipWeights = "openai",
    download: Download = False,
    precision: Precision = "fp32",
    ms_input: MsInput = "conv",
    prompt: Prompt = "wald",
    prompts: PromptFile = None,
    loss: Loss = None,
    type_temperature: Annotated[float, typer.Option(min=1e-3, help="Of the loss over types.")] = 0.07,
    scene_temperature: Annotated[float, typer.Option(min=1e-3, help="Of the loss over scenes.")] = 0.07,
    iterations: Iterations = 300,
    batch: BatchSize = 8,
    rate: Rate = 1e-3,
    seed: Seed = 0,
    every: Every = 50,
    jobs: Readers = 2,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: ResumeTraining = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """Stage I: teach CLIP what MS, PAN and a good fusion of these scenes look like.

    Losses: type, scene, fusion. Prints the supervisor's folder: clippan train --supervisor DIR takes it.
    """
    check_resume(overwrite=overwrite, resume=resume)

    from clippan_cli.training.adapt import adapt as run
    from clippan_cli.training.loop.distributed import alone
    from clippan_cli.training.options import AdaptOptions

    alone("clippan adapt")
    options = AdaptOptions(
        clip=clip,
        clip_weights=clip_weights or "openai",
        download=download,
        precision=precision,
        ms_input=ms_input,
        prompt=prompt,
        prompts=prompts,
        losses=parse_losses(loss),
        type_temperature=type_temperature,
        scene_temperature=scene_temperature,
        iterations=iterations,
        batch=batch,
        rate=rate,
        seed=seed,
        every=every,
        jobs=jobs,
        device=device,
        overwrite=overwrite,
        resume=resume,
    )
    with Console((context.obj or 0) - quiet) as console, stopping() as stop:
        trained = run(scenes, output, options, console, stop)
    if json:
        as_json(trained.plain())
    else:
        typer.echo(trained.output)
