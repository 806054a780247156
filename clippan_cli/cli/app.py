"""The ``clippan`` command."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from clippan_cli.cli.ablate import ablate
from clippan_cli.cli.adapt import adapt
from clippan_cli.cli.assess import assess
from clippan_cli.cli.command import defaults
from clippan_cli.cli.console import fail
from clippan_cli.cli.info import info
from clippan_cli.cli.models import models
from clippan_cli.cli.pretrain import pretrain
from clippan_cli.cli.sharpen import sharpen
from clippan_cli.cli.teach import teach
from clippan_cli.cli.train import train
from clippan_cli.cli.tune import tune
from clippan_cli.errors import UsageError

_EPILOG = (
    "Exit codes: 0 ok · 1 internal error · 2 wrong usage · 3 input rejected · 4 model not usable · "
    "5 output not written · 7 quality below the gate · 8 device or memory · 130 interrupted. "
    "Results go to stdout, everything else to stderr. "
    "Options can be set in the environment as CLIPPAN_<OPTION>, where the help of a command says so, "
    "and in a TOML file (--config-file)."
)

app = typer.Typer(
    name="clippan",
    help="Pansharpening: fuse multispectral (MS) and panchromatic (PAN) satellite scenes into sharp, honest MS images.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(sharpen)
app.command()(assess)
app.command()(adapt)
app.command()(train)
app.command()(pretrain)
app.command()(tune)
app.command()(teach)
app.command()(ablate)
app.command()(info)
app.add_typer(models, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        from clippan_cli.base.version import __version__  # looks the package up

        typer.echo(f"clippan {__version__}")
        raise typer.Exit


@app.callback()
def group(
    context: typer.Context,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Says more; -vv shows tracebacks.", show_default=False)
    ] = 0,
    quiet: Annotated[
        int, typer.Option("-q", "--quiet", count=True, help="Says nothing but errors.", show_default=False)
    ] = 0,
    config_file: Annotated[
        str | None,
        typer.Option(
            envvar="CLIPPAN_CONFIG_FILE", help="Names a TOML file with defaults, one table per command.", metavar="FILE"
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Prints the version and exits.")
    ] = False,
) -> None:
    """Take the options of all commands."""
    context.obj = verbose - quiet
    if config_file is not None:
        try:
            context.default_map = _defaults(config_file, context.command.commands)  # type: ignore[attr-defined]
        except UsageError as error:
            raise fail(error) from error


def _defaults(path: str, commands: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read a configuration file: its tables, by command and parameter."""
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", "give a TOML file with one table per command") from error
    found: dict[str, dict[str, Any]] = {}
    for command, table in tables.items():
        if command not in commands or not isinstance(table, dict):
            raise UsageError(f"{path}: [{command}] is no table of a command", "known: " + ", ".join(commands))
        found[command] = defaults(table, commands[command].params, f"{path}: [{command}]")
    return found


def main() -> None:
    """Run the command line."""
    app()
