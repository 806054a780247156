"""``clippan ablate``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.base.rerun import check_rerun
from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import Folder, Scenes
from clippan_cli.cli.train import check_idle
from clippan_cli.errors import UsageError
from clippan_cli.training.options import AblateOptions, TrainOptions

_Table = Annotated[str, typer.Argument(metavar="losses|backbones|stage1|input|prompts|gradient", help="The table.")]


@command
def ablate(call: Call, *, table: _Table, scenes: Scenes, output: Folder, options: AblateOptions) -> None:
    """Say what each part of CLIPPan is worth: train every line of a table of the paper, with several seeds.

    The folder takes the table and all that is trained. The table gradient trains nothing: it measures whether each loss
    points to the truth, where an image is good already.
    """
    training = options.training
    check_rerun(overwrite=training.overwrite, resume=training.resume)
    if table == "gradient":
        _measure_gradients(call, scenes, output, training)
        return
    if training.supervisor:
        raise UsageError("`ablate` adapts supervisors of its own", "leave out `supervisor`")
    check_idle(call, training)

    from clippan_cli.training.ablate import ablate as run

    with call.work() as (console, stop):
        found = run(scenes, output, table, options, console, stop=stop)
    call.show(found, "\n".join(found.lines()))


def _measure_gradients(call: Call, scenes: list[str], output: str, options: TrainOptions) -> None:
    from clippan_cli.training.gradient import measure_gradients

    with call.work() as (console, stop):
        found = measure_gradients(scenes, output, options, console, stop)
    call.show(found, "\n".join(found.lines()))
