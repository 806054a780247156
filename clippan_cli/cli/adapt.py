"""``clippan adapt``."""

from __future__ import annotations

from clippan_cli.base.rerun import check_rerun
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import NamedFolder, Scenes, name_folder
from clippan_cli.training.options import AdaptOptions


@command
def adapt(call: Call, *, scenes: Scenes, output: NamedFolder = None, options: AdaptOptions) -> None:
    """Stage I: teach CLIP what MS, PAN and a good fusion of these scenes look like.

    Weighs the losses type, scene and fusion. Prints the supervisor's folder: clippan train --supervisor DIR takes it.
    """
    check_rerun(overwrite=options.overwrite, resume=options.resume)

    from clippan_cli.training.adapt import adapt as run

    with call.work() as (console, stop):
        trained = run(scenes, name_folder(output, scenes, "supervisor", console), options, console, stop)
    call.show(trained.plain(), trained.output)
