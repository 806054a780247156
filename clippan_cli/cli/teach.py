"""``clippan teach``."""

from __future__ import annotations

from clippan_cli.base.rerun import check_rerun
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import Folder
from clippan_cli.training.options import TeachOptions


@command
def teach(call: Call, *, output: Folder, options: TeachOptions) -> None:
    """Teach a small CLIP from nothing what is wrong with a fusion, by captions: so was the one that ships.

    Prints the folder: clippan train --supervisor DIR and clippan adapt --clip DIR take it.
    """
    check_rerun(overwrite=options.overwrite, resume=options.resume)

    from clippan_cli.training.teach import teach as run

    with call.work() as (console, stop):
        trained = run(output, options, console, stop)
    call.show(trained.plain(), trained.output)
