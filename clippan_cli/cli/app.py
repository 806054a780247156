"""The ``clippan`` command."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from clippan_cli import __version__
from clippan_cli.cli.info import info
from clippan_cli.cli.sharpen import sharpen
from clippan_cli.errors import ExitCode

_EPILOG = (
    "Exit codes: 0 ok · 1 internal error · 2 wrong usage · 3 input rejected · 5 output not written · "
    "8 device or memory · 130 interrupted. Results go to stdout, everything else to stderr. "
    "Every option can be set in the environment as CLIPPAN_<OPTION>."
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
app.command()(info)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clippan {__version__}")
        raise typer.Exit


@app.callback()
def group(
    context: typer.Context,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Say more; -vv shows tracebacks.", show_default=False)
    ] = 0,
    quiet: Annotated[
        int, typer.Option("-q", "--quiet", count=True, help="Say nothing but errors.", show_default=False)
    ] = 0,
    config_file: Annotated[
        str | None,
        typer.Option(
            envvar="CLIPPAN_CONFIG_FILE", help="TOML file with defaults, one table per command.", metavar="FILE"
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options for all commands."""
    context.obj = verbose - quiet
    if config_file is not None:
        try:
            tables = tomllib.loads(Path(config_file).read_text("utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            typer.echo(f"error: cannot read {config_file}: {error}", err=True)
            raise typer.Exit(ExitCode.USAGE) from error
        context.default_map = {
            command: {option.replace("-", "_"): value for option, value in table.items()}
            for command, table in tables.items()
        }


def main() -> None:
    """Entry point."""
    app()
