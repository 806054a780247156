"""Options, each stated once: a field of a dataclass says its type, default, help, flag, variable and identity.

The command line, the configuration file, the environment, the key that guards ``--resume`` and the command that a card
prints are derived from it. A dataclass may hold others (a scene's options, a machine's): they are laid flat.

Texts of the library name an option by its key, as Python has it, between single backticks: src_nodata=none. The roof
spells it for the place where it is read: --src-nodata none.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from clippan_cli.base.values import Form, spell_number

_Options = TypeVar("_Options")

_OPTION = "option"
_NAMED = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


@dataclass(frozen=True, kw_only=True)
class Option:
    """Says of an option what its type and its default do not.

    Args:
        help: A sentence that says what the option does.
        flags: The flags that set it; none for the field's own name, as ``--own-name``.
        metavar: The word that stands for its value in the help; None for the type's name.
        form: The form of its value as a text; None where the command line knows the type by itself.
        least: The smallest number allowed.
        most: The largest number allowed.
        variable: Whether ``CLIPPAN_<FLAG>`` in the environment sets it.
        identity: Whether a run with another value is another run.
        repeated: Whether a command that is printed repeats it; None for what ``identity`` says.
        place: Whether it names a file or a folder, of which a command that is printed gives the name alone.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    form: Form[Any] | None = None
    least: float | None = None
    most: float | None = None
    variable: bool = False
    identity: bool = True
    repeated: bool | None = None
    place: bool = False


def option(default: Any, help: str, *flags: str, **more: Any) -> Any:  # noqa: A002
    """State an option as a field of a dataclass; see :class:`Option`.

    Args:
        default: The value where nothing is said; a dictionary is copied for each owner.
        help: A sentence that says what the option does.
        flags: The flags that set it; none for the field's own name.
        more: Further fields of :class:`Option`.
    """
    stated = {_OPTION: Option(help=help, flags=flags, **more)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=stated)
    return dataclasses.field(default=default, metadata=stated)


@dataclass(frozen=True)
class Entry:
    """Holds an option as its dataclass states it.

    Args:
        path: The names of the fields that lead to it, its own last.
        kind: The type of its value.
        default: The value where nothing is said.
        option: All else that is said of it.
    """

    path: tuple[str, ...]
    kind: Any
    default: Any
    option: Option

    @property
    def key(self) -> str:
        """The name by which texts of the library call it."""
        return self.path[-1]

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that set it; a boolean that is on by default can be switched off."""
        long = f"--{self.key.replace('_', '-')}"
        return self.option.flags or ((f"{long}/--no-{long[2:]}" if self.default is True else long),)

    @property
    def flag(self) -> str:
        """The long flag."""
        return max((flag.split("/")[0] for flag in self.flags), key=lambda flag: (flag.startswith("--"), -len(flag)))

    @property
    def variable(self) -> str | None:
        """The variable of the environment that sets it; None where none does."""
        longest = max((flag.split("/")[0] for flag in self.flags), key=len)
        return f"CLIPPAN_{longest.lstrip('-').replace('-', '_').upper()}" if self.option.variable else None

    @property
    def repeated(self) -> bool:
        """Whether a command that is printed repeats it."""
        stated = self.option
        return stated.identity if stated.repeated is None else stated.repeated

    def value(self, options: Any) -> Any:
        """Return its value in an instance of its dataclass."""
        for name in self.path:
            options = getattr(options, name)
        return options

    def text(self, value: Any) -> str:
        """Write a value as the command line takes it."""
        if self.option.place and isinstance(value, str):
            return Path(value).name
        if self.option.form is not None and value is not None:
            return self.option.form.spell(value)
        return spell_number(value)


def entries(kind: type[Any], path: tuple[str, ...] = ()) -> Iterator[Entry]:
    """List the options of a dataclass, those of dataclasses within it laid flat, in the order in which they stand."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        here = (*path, field.name)
        if _OPTION in field.metadata:
            default = field.default if field.default is not dataclasses.MISSING else _made(field.default_factory)
            yield Entry(here, hints[field.name], default, field.metadata[_OPTION])
        elif dataclasses.is_dataclass(hints[field.name]):
            yield from entries(hints[field.name], here)


def build(kind: type[_Options], values: Mapping[str, Any]) -> _Options:
    """Make a dataclass of options from values by their keys; what is not named keeps its default."""
    made = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if _OPTION in field.metadata:
            if field.name in values:
                made[field.name] = values[field.name]
        elif dataclasses.is_dataclass(hints[field.name]):
            made[field.name] = build(hints[field.name], values)
    return kind(**made)


def stated(options: Any) -> dict[str, Any]:
    """Return all options by their keys."""
    return {entry.key: entry.value(options) for entry in entries(type(options))}


def identity(options: Any) -> dict[str, Any]:
    """Return by their keys the options with which a run is another run."""
    return {entry.key: entry.value(options) for entry in entries(type(options)) if entry.option.identity}


def spelled(options: Any, *left_out: str) -> list[str]:
    """Return the words that repeat options on a command line: those whose value is not the default.

    Args:
        options: An instance of a dataclass of options.
        left_out: The keys of options that are not repeated.
    """
    words: list[str] = []
    for entry in entries(type(options)):
        value = entry.value(options)
        if value == entry.default or entry.key in left_out or not entry.repeated:
            continue
        if isinstance(value, bool):
            words.append(entry.flag if value else f"--no-{entry.flag[2:]}")
        elif isinstance(value, Mapping):
            words += [word for key, item in value.items() for word in (entry.flag, entry.text({key: item}))]
        elif isinstance(value, tuple) and entry.option.form is None:
            words += [word for item in value for word in (entry.flag, entry.text(item))]
        else:
            words += [entry.flag, entry.text(value)]
    return words


def spell(text: str, *kinds: type[Any]) -> str:
    """Replace the keys of options in a text by the flags that set them.

    Args:
        text: A text of the library, keys between backticks.
        kinds: The dataclasses of options, the first before the others. A key that none knows is spelled by its name.
    """
    flags = {entry.key: entry.flag for kind in reversed(kinds) for entry in entries(kind)}

    def flag(found: re.Match[str]) -> str:
        key, value = found.groups()
        name = flags.get(key, f"--{key.replace('_', '-')}")
        if value is None or value == "true":
            return name
        return f"--no-{name[2:]}" if value == "false" else f"{name} {value}"

    return _NAMED.sub(flag, text)


def _made(factory: Callable[[], Any] | Any) -> Any:
    return factory()
