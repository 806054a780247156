"""``clippan pretrain``."""

from __future__ import annotations

from clippan_cli.base.rerun import check_rerun
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import Folder
from clippan_cli.training.options import PretrainOptions


@command
def pretrain(call: Call, *, output: Folder, options: PretrainOptions) -> None:
    """Train a network on simulated pairs: a prior that works on sensors it has never seen.

    Needs no data at all; with images and scenes it learns more. Prints the new model's folder.
    """
    check_rerun(overwrite=options.overwrite, resume=options.resume)
    if options.init:
        call.refuse(("network", "settings"), "`init`", "a model keeps its network: leave it out")

    from clippan_cli.training.pretrain import pretrain as run

    with call.work() as (console, stop):
        trained = run(output, options, console, stop)
    call.show(trained.plain(), trained.output)
