"""A function made a command: its options are derived, its errors are spelled, its result is printed."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from clippan_cli.base.options import Entry, build, entries, spell
from clippan_cli.cli.console import Console, catch_signals, report_errors
from clippan_cli.errors import UsageError

_JSON = Annotated[
    bool, typer.Option("--json", envvar="CLIPPAN_JSON", help="Prints one JSON document on stdout, and nothing else.")
]
_QUIET = Annotated[int, typer.Option("-q", "--quiet", count=True, help="Says nothing but errors.", show_default=False)]


@dataclass(frozen=True)
class Call:
    """Holds one call of a command.

    Args:
        context: Typer's context.
        json: Whether the result is printed as JSON.
        loudness: The loudness; below 0 only errors are said.
        kinds: The dataclasses of options that the command takes.
    """

    context: typer.Context
    json: bool
    loudness: int
    kinds: tuple[type[Any], ...]

    def console(self, louder: int = 0) -> Console:
        """Return what talks to people."""
        return Console(self.loudness + louder, self.spell)

    @contextmanager
    def work(self) -> Iterator[tuple[Console, Event]]:
        """Talk to people, and let a signal stop the work."""
        with self.console() as console, catch_signals() as stop:
            yield console, stop

    def show(self, document: Any, text: str | Callable[[], None]) -> None:
        """Print the result: the document with ``--json``, else a text or whatever prints one."""
        if self.json:
            from clippan_cli.base.documents import as_json

            typer.echo(as_json(document))
        elif callable(text):
            text()
        else:
            typer.echo(text)

    def spell(self, text: str) -> str:
        """Spell the options that a text of the library names."""
        return spell(text, *self.kinds)

    def refuse(self, keys: tuple[str, ...], beside: str, why: str) -> None:
        """Refuse options that were given but would do nothing.

        Args:
            keys: The keys of the options.
            beside: What makes them idle.
            why: The hint for people.

        Raises:
            UsageError: One of them was given.
        """
        for key in keys:
            source = self.context.get_parameter_source(key)
            if source is not None and source.name == "COMMANDLINE":
                raise UsageError(f"`{key}` cannot stand beside {beside}", why)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function.

    A parameter whose type is a dataclass of options becomes an option of the command line for each of its fields; one
    of type :class:`Call` is filled in; ``--json`` and ``--quiet`` are added.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, list[Entry]] = {}
    for name, kind in hints.items():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not Call:
            groups[name] = list(entries(kind))
    kinds = tuple(hints[name] for name in groups)
    parameters: dict[str, inspect.Parameter] = {"context": _parameter("context", typer.Context)}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            parameters |= {entry.key: _parameter(entry.key, *_typed(entry)) for entry in groups[name]}
        elif hints[name] is not Call:
            parameters[name] = _parameter(name, hints[name], parameter.default)
    parameters |= {"json": _parameter("json", _JSON, False), "quiet": _parameter("quiet", _QUIET, 0)}

    @functools.wraps(function)
    def run(**given: Any) -> None:
        context, json, quiet = given.pop("context"), given.pop("json"), given.pop("quiet")
        call = Call(context, json, (context.obj or 0) - quiet, kinds)
        with report_errors(call.spell):
            made: dict[str, Any] = {}
            for name, group in groups.items():
                values = {entry.key: _read(entry, given.pop(entry.key)) for entry in group}
                made[name] = build(hints[name], values)
            function(**{name: call for name, kind in hints.items() if kind is Call}, **made, **given)

    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return run


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _typed(entry: Entry) -> tuple[Any, Any]:
    """Return the type that Typer sees, and the default."""
    stated, kind, default = entry.option, entry.kind, entry.default
    if stated.form is not None:
        kind = list[str] | None if stated.form.several else str | None
        default = None if stated.form.several or default in (None, ()) else stated.form.spell(default)
    elif _is_tuple(kind):
        kind, default = list[str] | None, None
    option = typer.Option(
        *entry.flags,
        help=stated.help,
        metavar=stated.metavar,
        envvar=entry.variable,
        min=stated.least,
        max=stated.most,
        show_default=default is not None,
    )
    return Annotated[kind, option], default


def _read(entry: Entry, given: Any) -> Any:
    """Return the value of an option from what Typer found."""
    form = entry.option.form
    if form is not None:
        return entry.default if given is None or given == [] else form.read(entry.key, given)
    return tuple(given or ()) if _is_tuple(entry.kind) else given


def _is_tuple(kind: Any) -> bool:
    parts = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return any(get_origin(part) is tuple for part in parts)


def defaults(table: Mapping[str, Any], parameters: list[Any], where: str) -> dict[str, Any]:
    """Turn a table of a configuration file into defaults of a command's parameters.

    Args:
        table: Values by the names of flags.
        parameters: The parameters of the command, as Typer made them.
        where: The file and the table, for an error message.

    Raises:
        UsageError: There is no such option.
    """
    names = {name.lstrip("-"): parameter for parameter in parameters for name in parameter.opts}
    unknown = [key for key in table if key not in names]
    if unknown:
        raise UsageError(f"{where} has no option {unknown[0]!r}", "known: " + ", ".join(sorted(names)))
    found = {}
    for key, value in table.items():
        many = names[key].multiple and not isinstance(value, list)
        found[names[key].name] = [str(value)] if many else value
    return found
