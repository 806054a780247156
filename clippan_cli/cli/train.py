"""``clippan train``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from clippan_cli.cli.console import Console, guarded, stopping
from clippan_cli.cli.params import (
    Angle,
    BatchSize,
    Clip,
    ClipWeights,
    Device,
    Download,
    Every,
    InGraph,
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
    parse_settings,
    refuse,
)
from clippan_cli.errors import UsageError

_STAGE_ONE = ("clip", "precision", "ms_input", "prompt", "prompts", "adapt_iterations")
_STAGE_TWO = (
    *_STAGE_ONE,
    *("supervisor", "backbone", "settings", "ablate", "clip_weights", "download", "loss", "degradation"),
    *("teacher", "keep_teacher", "batch", "jobs"),
)


def _check(
    context: typer.Context, *, tune: str | None, ablate: str | None, supervisor: str | None, backbone: str | None
) -> None:
    """Refuse options that would do nothing beside others."""
    if tune:
        refuse(context, _STAGE_TWO, "--tune", "it learns one scale down: leave it out")
    elif ablate and supervisor:
        raise UsageError("--ablate adapts supervisors of its own", "leave out --supervisor")
    elif supervisor:
        refuse(context, _STAGE_ONE, "--supervisor", "a supervisor keeps what it was adapted with: leave it out")
        if supervisor == "none":
            refuse(context, ("clip_weights", "download"), "--supervisor none", "CLIP is not needed: leave it out")
    if not tune:
        refuse(context, ("angle",), "a training at full resolution", "it is for --tune: leave it out")
    if backbone:
        refuse(context, ("init",), "--backbone", "a training begins anew or from a model: leave one out")
    else:
        refuse(context, ("settings",), "--init", "a model keeps its settings: leave it out, or give --backbone")
    if ablate is None:
        refuse(context, ("seeds",), "a single training", "--seed chooses one, --ablate takes several")


@guarded
def train(
    context: typer.Context,
    scenes: Scenes,
    output: Annotated[str, typer.Option("-o", "--output", help="The new model's folder.", metavar="DIR")],
    init: Annotated[
        str, typer.Option(metavar="ID|DIR", help="The model to begin with (clippan models list).")
    ] = "injector-2",
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Begin anew with this network instead.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Setting of the new network.", show_default=False),
    ] = None,
    supervisor: Annotated[
        str | None,
        typer.Option(metavar="DIR|none", help="What clippan adapt made; without it, one is adapted first."),
    ] = None,
    clip: Clip = "ViT-B-32-quickgelu",
    clip_weights: ClipWeights = None,
    download: Download = False,
    precision: Precision = "fp32",
    ms_input: MsInput = "conv",
    prompt: Prompt = "wald",
    prompts: PromptFile = None,
    loss: Loss = None,
    degradation: Annotated[
        str, typer.Option(metavar="mtf|bicubic", help="How the spectral loss brings the image down to MS.")
    ] = "mtf",
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|METHOD|none",
            help="What to imitate at the beginning: injector-2 for a network that begins anew, else none.",
            show_default=False,
        ),
    ] = None,
    keep_teacher: Annotated[bool, typer.Option("--keep-teacher", help="Imitate it to the end.")] = False,
    tune: Annotated[
        str | None,
        typer.Option(
            metavar="full|freeze",
            help="Learn one scale down, with the measured MS as truth, instead: all weights, or the last layer's.",
            show_default=False,
        ),
    ] = None,
    angle: Angle = 1.0,
    ablate: Annotated[
        str | None,
        typer.Option(
            metavar="losses|stage1|input|prompts",
            help="Train every line of that table of the paper instead; DIR takes the table.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each line of a table.")] = 3,
    adapt_iterations: Annotated[int, typer.Option(min=1, help="Steps of an adaptation that comes first.")] = 300,
    iterations: Iterations = 300,
    batch: BatchSize = 4,
    rate: Rate = 5e-4,
    consistency: InGraph = 2,
    seed: Seed = 0,
    every: Every = 50,
    jobs: Readers = 2,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: ResumeTraining = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """Stage II: train a network on real scenes at full resolution, where CLIP says which way to go.

    Losses: language, spectral, spatial, quality, structure, teacher. On several GPUs: torchrun --nproc_per_node N -m
    clippan_cli train … Prints the new model's folder: clippan sharpen --model DIR takes it.
    """
    check_resume(overwrite=overwrite, resume=resume)
    _check(context, tune=tune, ablate=ablate, supervisor=supervisor, backbone=backbone)

    from clippan_cli.training.loop.distributed import alone, is_first

    common: dict[str, Any] = {
        "iterations": iterations,
        "rate": rate,
        "consistency": consistency,
        "seed": seed,
        "every": every,
        "device": device,
        "overwrite": overwrite,
        "resume": resume,
    }
    with Console((context.obj or 0) - quiet) as console, stopping() as stop:
        if tune:
            from clippan_cli.training.options import TuneOptions
            from clippan_cli.training.tune import tune as run_tune

            alone("--tune")
            tuning = TuneOptions(init=init, tune=tune, angle=angle, **common)
            document = run_tune(scenes, output, tuning, console, stop).plain()
        else:
            from clippan_cli.training.ablate import ablate as run_ablation
            from clippan_cli.training.ablate import as_lines
            from clippan_cli.training.options import AdaptOptions, TrainOptions
            from clippan_cli.training.train import train as run

            options = TrainOptions(
                init=None if backbone else init,
                network=backbone,
                settings=parse_settings(settings),
                supervisor=supervisor,
                adapting=AdaptOptions(
                    clip=clip,
                    clip_weights=clip_weights or "openai",
                    download=download,
                    precision=precision,
                    ms_input=ms_input,
                    prompt=prompt,
                    prompts=prompts,
                    iterations=adapt_iterations,
                    jobs=jobs,
                ),
                clip_weights=clip_weights,
                losses=parse_losses(loss),
                degradation=degradation,
                teacher=teacher,
                keep_teacher=keep_teacher,
                batch=batch,
                jobs=jobs,
                **common,
            )
            if ablate:
                document = run_ablation(scenes, output, ablate, options, seeds, console, stop)
            else:
                document = run(scenes, output, options, console, stop).plain()
    if not is_first():
        return
    if json:
        as_json(document)
    elif ablate:
        typer.echo("\n".join(as_lines(document)))
    else:
        typer.echo(document["output"])
