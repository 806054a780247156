"""``clippan train``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.base.rerun import check_rerun
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import NamedFolder, Scenes, name_folder
from clippan_cli.errors import UsageError
from clippan_cli.training.options import NONE, SUPERVISOR, TrainOptions

_STAGE_ONE = ("clip", "precision", "ms_input", "adapters", "prompt", "prompts", "adapt_iterations")
_Gone = Annotated[str | None, typer.Option(hidden=True)]


@command
def train(
    call: Call,
    *,
    scenes: Scenes,
    output: NamedFolder = None,
    options: TrainOptions,
    tune: _Gone = None,
    ablate: _Gone = None,
) -> None:
    """Stage II: train a network on real scenes at full resolution, where CLIP says which way to go.

    Weighs the losses language, spectral, spatial, quality, structure and teacher.
    Prints the new model's folder: clippan sharpen --model DIR takes it.

    Several GPUs share the work under torchrun --nproc_per_node N -m clippan_cli train …
    """
    if tune is not None:
        raise UsageError("`tune` is a command of its own now", f"clippan tune --scenes DIR -o DIR --weights {tune}")
    if ablate is not None:
        raise UsageError("`ablate` is a command of its own now", f"clippan ablate {ablate} --scenes DIR -o DIR")
    check_rerun(overwrite=options.overwrite, resume=options.resume)
    check_idle(call, options)
    if options.supervisor is None and options.clip.clip == SUPERVISOR:
        call.refuse(_STAGE_ONE[1:], SUPERVISOR, "name a `clip`, which is then adapted first, or leave it out")

    from clippan_cli.training.loop.distributed import is_first
    from clippan_cli.training.train import train as run

    with call.work() as (console, stop):
        trained = run(scenes, name_folder(output, scenes, "model", console), options, console, stop)
    if is_first():
        call.show(trained.plain(), trained.output)


def check_idle(call: Call, options: TrainOptions) -> None:
    """Refuse options that would do nothing beside others.

    Raises:
        UsageError: One of them was given.
    """
    if options.supervisor:
        call.refuse(_STAGE_ONE, "`supervisor`", "a supervisor keeps what it was adapted with: leave it out")
    if options.supervisor == NONE:
        call.refuse(("clip_weights", "download"), "`supervisor=none`", "CLIP is not needed: leave it out")
    if options.backbone:
        call.refuse(("init",), "`backbone`", "a training begins anew or from a model: leave one out")
    else:
        call.refuse(("settings",), "`init`", "a model keeps its settings: leave it out, or give `backbone`")
