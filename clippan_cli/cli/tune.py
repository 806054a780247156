"""``clippan tune``."""

from __future__ import annotations

from clippan_cli.base.rerun import check_rerun
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import Folder, Scenes
from clippan_cli.training.options import TuneOptions


@command
def tune(call: Call, *, scenes: Scenes, output: Folder, options: TuneOptions) -> None:
    """Let a model learn a scene one scale down, where the measured MS is the truth ("one-shot").

    Prints the new model's folder: clippan sharpen --model DIR takes it.
    """
    check_rerun(overwrite=options.overwrite, resume=options.resume)

    from clippan_cli.training.tune import tune as run

    with call.work() as (console, stop):
        trained = run(scenes, output, options, console, stop)
    call.show(trained.plain(), trained.output)
