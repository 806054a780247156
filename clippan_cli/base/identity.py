"""What two parts of one run must have in common, so that a resumed run never mixes two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from clippan_cli.errors import ClippanError

Key = Mapping[str, Any]
"""The identity of a run: its options, inputs, weights and algorithms, as JSON can hold them."""


def check_same(former: Key, now: Key, what: str, error: type[ClippanError]) -> None:
    """Compare the keys of two parts of a run.

    Args:
        former: The key that the first part wrote.
        now: The key of the part that wants to go on.
        what: The file or folder that the first part left.
        error: The kind of error to raise.

    Raises:
        ClippanError: The keys differ; it says where.
    """
    ours = json.loads(json.dumps(now))
    apart = [
        f"another {name}: {_short(former.get(name))}, not {_short(value)}"
        for name, value in ours.items()
        if former.get(name) != value
    ]
    if apart:
        raise error(
            f"{what} belongs to another run, made with {'; '.join(apart)}",
            "repeat the inputs and options of the first run, or start again with `overwrite`",
        )


def tell_apart(names: Iterable[str]) -> str:
    """Say in a few letters which of all things these are, by their names: how many, and a digest."""
    said = list(names)
    return f"{len(said)} ({hashlib.sha256(chr(10).join(said).encode()).hexdigest()[:12]})"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
