"""Documents: frozen dataclasses inside, JSON at the edge, and the schema that says what the JSON looks like."""

from __future__ import annotations

import inspect
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

_Document = TypeVar("_Document")

Plain = bool | int | float | str | None | list[Any] | dict[str, Any]
"""A value that JSON and TOML can hold: that of an option, as it is written down."""

# A float; but the schema must allow for the text that stands for it in JSON.
if TYPE_CHECKING:
    Number = float
else:
    Number = float | str
"""A number that JSON may lack: then it is written by its name, as ``"nan"``."""

_FIELD = re.compile(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", re.MULTILINE)


def as_plain(document: Any) -> Any:
    """Turn a document into dictionaries, lists and numbers; a number that JSON lacks becomes its name, as ``"nan"``."""
    return _finite(msgspec.to_builtins(document))


def as_json(document: Any) -> str:
    """Turn a document into text, two spaces a level."""
    return json.dumps(as_plain(document), indent=2, allow_nan=False)


def from_plain(kind: type[_Document], plain: Any) -> _Document:
    """Make a document of what :func:`as_plain` made; keys that it does not know are passed over.

    Raises:
        ValueError: Something is missing or of another type.
    """
    return msgspec.convert(plain, kind)


def read_json(kind: type[_Document], path: Path) -> _Document:
    """Read a document from a JSON file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds no such document.
    """
    return from_plain(kind, json.loads(path.read_text("utf-8")))


def schema(kind: type[Any], title: str) -> dict[str, Any]:
    """Return the JSON schema (2020-12) of a document, described by the docstrings of its dataclasses.

    Args:
        kind: The dataclass of the document.
        title: The document's name.
    """
    found: dict[str, Any] = msgspec.json.schema(kind)
    parts = found["$defs"]
    for part in parts.values():
        part["description"], words = _described(part["description"])
        _describe_fields(part, words)
    for base in kind.__mro__:
        _describe_fields(parts[kind.__name__], _described(base.__doc__)[1])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **found}


def _described(docstring: str | None) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of a dataclass, and of each of its fields."""
    summary, _, fields = inspect.cleandoc(docstring or "").partition("\n\nArgs:\n")
    return " ".join(summary.split()), {name: " ".join(text.split()) for name, text in _FIELD.findall(fields)}


def _describe_fields(part: dict[str, Any], words: dict[str, str]) -> None:
    """Give words to those fields that have none yet."""
    for name, field in part["properties"].items():
        if name in words:
            field.setdefault("description", words[name])


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
