"""``clippan models``."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.cli.command import Call, command

models = typer.Typer(help="List, show and verify the models and supervisors that ship.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(metavar="ID|DIR", help="An id of what ships, or a folder.")]
_Names = Annotated[
    list[str] | None, typer.Argument(metavar="ID|DIR", help="What to check; without one, all that ships.")
]


@models.command("list")
@command
def list_models(call: Call) -> None:
    """Print one line for each model that ships, and one for each supervisor."""
    from clippan_cli.modelstore.model import shipped
    from clippan_cli.modelstore.supervisor import STORE, plain_supervisor

    lines = []
    for model in shipped():
        bands = "any bands" if model.bands is None else f"{model.bands} bands"
        ratios = "ratio {:g}–{:g}".format(*model.ratios)
        weights = f"{model.record.weights:,} weights"
        lines.append("\t".join([model.id, model.network, bands, ratios, weights, str(model.folder)]))
    folders = STORE.shipped()
    lines += ["\t".join([folder.name, "supervisor", str(folder)]) for folder in folders]
    document = {
        "models": [model.plain() for model in shipped()],
        "supervisors": [plain_supervisor(folder) for folder in folders],
    }
    call.show(document, "\n".join(lines))


@models.command("show")
@command
def show_model(call: Call, *, name: _Name) -> None:
    """Print the card of a model or of a supervisor; with --json its record."""
    from clippan_cli.modelstore.model import find_model
    from clippan_cli.modelstore.store import CARD
    from clippan_cli.modelstore.supervisor import STORE, plain_supervisor

    folder = STORE.find(name)
    if folder is not None:
        document = plain_supervisor(folder)
    else:
        model = find_model(name)
        folder, document = model.folder, model.plain()
    card = folder / CARD
    call.show(document, card.read_text("utf-8").rstrip() if card.is_file() else f"{folder.name} has no {CARD}")


@models.command("verify")
@command
def verify_models(call: Call, *, names: _Names = None) -> None:
    """Check that weights are what their record says (sha256), and that they load."""
    from clippan_cli.modelstore.model import find_model, shipped
    from clippan_cli.modelstore.supervisor import STORE, verify_supervisor

    found = {name: STORE.find(name) for name in names or ()}
    watching = [folder for folder in found.values() if folder] if names else STORE.shipped()
    checked = [find_model(name) for name, folder in found.items() if not folder] if names else shipped()
    for model in checked:
        model.load()
    verified = [{"id": model.id, "sha256": model.sha256} for model in checked]
    verified += [{"id": folder.name, "sha256": verify_supervisor(folder).sha256} for folder in watching]
    call.show({"verified": verified}, "\n".join(f"{each['id']}\tok\tsha256 {each['sha256']}" for each in verified))
