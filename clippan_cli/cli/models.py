"""``clippan models``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.cli.console import guarded
from clippan_cli.cli.params import Json, as_json

models = typer.Typer(help="The models that ship: list, show, verify.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(metavar="ID|DIR", help="Id of a shipped model, or a model's folder.")]


@models.command("list")
@guarded
def list_models(json: Json = False) -> None:
    """One line for each model that ships."""
    from clippan_cli.modelstore.model import shipped

    found = shipped()
    if json:
        as_json({"models": [model.plain() for model in found]})
        return
    for model in found:
        bands = "any bands" if model.bands is None else f"{model.bands} bands"
        low, high = model.ratios
        weights = f"{model.record.weights:,} weights"
        typer.echo(f"{model.id}\t{model.network}\t{bands}\tratio {low:g}–{high:g}\t{weights}\t{model.folder}")


@models.command("show")
@guarded
def show_model(name: _Name, json: Json = False) -> None:
    """The card of a model; with --json its record."""
    from clippan_cli.modelstore.model import find_model
    from clippan_cli.modelstore.store import CARD

    model = find_model(name)
    if json:
        as_json(model.plain())
        return
    card = model.folder / CARD
    typer.echo(card.read_text("utf-8").rstrip() if card.is_file() else f"{model.id} has no {CARD}")


@models.command("verify")
@guarded
def verify_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ID|DIR]…", help="Models to check; all that ship if none is given.")
    ] = None,
    json: Json = False,
) -> None:
    """Check that weights are what their record says (sha256), and that they load."""
    from clippan_cli.modelstore.model import find_model, shipped

    checked = [find_model(name) for name in names] if names else shipped()
    for model in checked:
        model.load()
        if not json:
            typer.echo(f"{model.id}\tok\tsha256 {model.sha256}")
    if json:
        as_json({"verified": [{"id": model.id, "sha256": model.sha256} for model in checked]})
