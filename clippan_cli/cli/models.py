"""``clippan models``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.cli.command import Call, command

models = typer.Typer(help="List, show and verify the models that ship.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(metavar="ID|DIR", help="The id of a shipped model, or a model's folder.")]
_Names = Annotated[
    list[str] | None, typer.Argument(metavar="ID|DIR", help="The models to check; without one, all that ship.")
]


@models.command("list")
@command
def list_models(call: Call) -> None:
    """Print one line for each model that ships."""
    from clippan_cli.modelstore.model import shipped

    lines = []
    for model in shipped():
        bands = "any bands" if model.bands is None else f"{model.bands} bands"
        ratios = "ratio {:g}–{:g}".format(*model.ratios)
        weights = f"{model.record.weights:,} weights"
        lines.append("\t".join([model.id, model.network, bands, ratios, weights, str(model.folder)]))
    call.show({"models": [model.plain() for model in shipped()]}, "\n".join(lines))


@models.command("show")
@command
def show_model(call: Call, *, name: _Name) -> None:
    """Print the card of a model; with --json its record."""
    from clippan_cli.modelstore.model import find_model
    from clippan_cli.modelstore.store import CARD

    model = find_model(name)
    card = model.folder / CARD
    call.show(model.plain(), card.read_text("utf-8").rstrip() if card.is_file() else f"{model.id} has no {CARD}")


@models.command("verify")
@command
def verify_models(call: Call, *, names: _Names = None) -> None:
    """Check that weights are what their record says (sha256), and that they load."""
    from clippan_cli.modelstore.model import find_model, shipped

    checked = [find_model(name) for name in names] if names else shipped()
    for model in checked:
        model.load()
    verified = [{"id": model.id, "sha256": model.sha256} for model in checked]
    call.show({"verified": verified}, "\n".join(f"{model.id}\tok\tsha256 {model.sha256}" for model in checked))
