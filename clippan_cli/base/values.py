"""The forms in which values of options are written as texts, and read back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from clippan_cli.errors import UsageError

_Value = TypeVar("_Value")
_LARGEST = 1 << 63

Register = str | tuple[float, float]
"""A shift: ``"auto"``, ``"off"``, or rows and columns in MS pixels."""

Nodata = float | str | None
"""A nodata value, ``"none"`` for none at all, or None where nothing is said."""

Setting = int | float | str | tuple[int, ...]
"""The value of a setting of a network."""


@dataclass(frozen=True)
class Form(Generic[_Value]):
    """Reads and writes one kind of text.

    Args:
        read: The function that makes a value of a text, or of a list of texts where there may be several; its first
            argument is the option's key, for error messages.
        spell: The function that makes the text again.
        several: Whether the option may be given more than once.
    """

    read: Callable[[str, Any], _Value]
    spell: Callable[[_Value], str]
    several: bool = False


def _read_shift(key: str, text: str) -> Register:
    if text in ("auto", "off"):
        return text
    try:
        row, col = map(float, text.split(","))
        if not math.isfinite(row + col):
            raise ValueError(text)
    except ValueError as error:
        raise UsageError(f"`{key}` {text!r} is not auto, off or DY,DX", f"for example `{key}=-0.5,0.25`") from error
    return row, col


def _read_nodata(key: str, text: str) -> Nodata:
    if text.lower() in ("none", "null"):
        return "none"
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"`{key}` {text!r} is not a number, nan or none", f"for example `{key}=0`") from error


def _read_size(key: str, text: str) -> int:
    match = re.fullmatch(r"\s*([\d.]+)\s*([KMGT]?)(i?B)?\s*", text, re.IGNORECASE)
    try:
        number = float(match[1]) if match else 0.0
    except ValueError:
        number = 0.0
    if match is None or not 0 < number < _LARGEST / 1024 ** " KMGT".index(match[2].upper() or " "):
        raise UsageError(f"{text!r} is not an amount of memory", f"for example `{key}=2G`")
    return int(number * 1024 ** " KMGT".index(match[2].upper() or " "))


def _spell_size(size: int) -> str:
    for power, letter in ((3, "G"), (2, "M"), (1, "K")):
        if size % 1024**power == 0:
            return f"{size // 1024**power}{letter}"
    return str(size)


def _read_threads(key: str, text: str) -> int:
    if text.upper() == "ALL_CPUS":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"`{key}` {text!r} is not a number of threads", "a number, or ALL_CPUS")
    return int(text)


def _read_bands(key: str, texts: list[str]) -> tuple[int, ...] | None:
    bands: list[int] = []
    for part in ",".join(texts).split(",") if texts else ():
        match = re.fullmatch(r"\s*(\d+)(?:\.\.(\d+))?\s*", part)
        if match is None:
            raise UsageError(f"`{key}` {part!r} is not a band", f"for example `{key}=3,2,1` or `{key}=1..4`")
        chosen = range(int(match[1]), int(match[2] or match[1]) + 1)
        if not chosen:
            raise UsageError(f"`{key}` {part!r} runs backwards", f"for example `{key}=3,2,1` or `{key}=1..4`")
        bands += chosen
    return tuple(bands) or None


def read_pairs(key: str, texts: list[str], example: str = "NAME=VALUE") -> dict[str, str]:
    """Read texts of the form ``NAME=VALUE``; names become upper case.

    Raises:
        UsageError: A text has no name or no ``=``.
    """
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UsageError(f"`{key}` {text!r} is not NAME=VALUE", f"for example `{key}={example}`")
        pairs[name.upper()] = value
    return pairs


def _read_weights(key: str, texts: list[str]) -> dict[str, float]:
    weights = {}
    for name, text in read_pairs(key, texts, "language=0.1").items():
        try:
            weights[name.lower()] = float(text)
            if not 0 <= weights[name.lower()] < math.inf:
                raise ValueError(text)
        except ValueError as error:
            raise UsageError(f"`{key}={name.lower()}={text}`: not a weight", "0, or a number above it") from error
    return weights


def _read_settings(key: str, texts: list[str]) -> dict[str, Setting]:
    return {name.lower(): _setting(text) for name, text in read_pairs(key, texts, "width=32").items()}


def _setting(text: str) -> Setting:
    """Read a number, numbers with commas between them, or a word."""
    for kind in (int, float, _numbers):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def spell_number(value: Any) -> str:
    """Write a number as shortly as it can be read back; several have commas between them."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(spell_number, value))
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value or math.isnan(value) else repr(value)


def _read_names(key: str, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UsageError(f"`{key}` names no method", f"`{key}=gsa,mtf-glp-hpm-r`")
    return names


def _spell_pairs(pairs: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={spell_number(value)}" for name, value in pairs.items())


SHIFT = Form(_read_shift, lambda shift: shift if isinstance(shift, str) else spell_number(shift))
"""The form of a shift: ``auto``, ``off``, or two numbers."""

NODATA = Form(_read_nodata, spell_number)
"""The form of a nodata value: a number, ``nan``, or ``none``."""

SIZE = Form(_read_size, _spell_size)
"""The form of an amount of memory: ``2G``, ``512M`` or ``1.5GiB``."""

THREADS = Form(_read_threads, lambda count: str(count) if count else "ALL_CPUS")
"""The form of a number of threads; ``ALL_CPUS`` is 0."""

BANDS = Form(_read_bands, lambda bands: ",".join(map(str, bands or ())), several=True)
"""The form of band numbers: ``3``, ``1,2,3`` and ``2..4``."""

CREATION = Form(lambda key, texts: read_pairs(key, texts, "COMPRESS=ZSTD"), _spell_pairs, several=True)
"""The form of GDAL creation options."""

CONFIG = Form(lambda key, texts: read_pairs(key, texts, "GDAL_HTTP_TIMEOUT=30"), _spell_pairs, several=True)
"""The form of GDAL configuration options."""

WEIGHTS = Form(_read_weights, _spell_pairs, several=True)
"""The form of weights of losses by their names."""

SETTINGS = Form(_read_settings, _spell_pairs, several=True)
"""The form of settings of a network; numbers are numbers."""

NAMES = Form(_read_names, ",".join)
"""The form of names of methods, with commas between them."""
