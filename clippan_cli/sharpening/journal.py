"""A journal beside the unfinished file, so that a killed run can be continued exactly."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clippan_cli.errors import OutputError


@dataclass(frozen=True)
class Progress:
    """What a former run left.

    Args:
        header: What it wrote when it began.
        rows: Rows of tiles that are on disk.
        counts: Pixels clipped and moved so far.
    """

    header: dict[str, Any]
    rows: int
    counts: dict[str, int]


class Journal:
    """Two small files: what is being made, and how far it is.

    The second holds the length of the data file after the last finished row of tiles, and its first bytes: a TIFF
    keeps there where its blocks lie, and rewrites that in place. With both, the data file can be brought back to that
    moment whatever happened to it since. Each is replaced whole or not at all.

    Args:
        data: The unfinished file.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._header = data.with_name(data.name + ".journal")
        self._state = data.with_name(data.name + ".state")
        self._head = 0

    def start(self, header: dict[str, Any]) -> None:
        """Begin anew, with a data file that holds no pixels yet."""
        self._state.unlink(missing_ok=True)
        self._head = self._data.stat().st_size
        _replace(self._header, json.dumps({**header, "head": self._head}).encode() + b"\n")

    def note(self, row: int, counts: dict[str, int]) -> None:
        """Book a row of tiles, once the data file has been closed over it."""
        entry = {"rows": row + 1, "size": self._data.stat().st_size, "counts": counts}
        with self._data.open("rb") as file:
            _replace(self._state, json.dumps(entry).encode() + b"\n" + file.read(self._head))

    def resume(self, key: dict[str, Any]) -> Progress | None:
        """Find where a former run stopped; bring the data file back to that moment.

        Args:
            key: What must be the same: inputs, options, version.

        Returns:
            None where there is nothing to resume.

        Raises:
            OutputError: The former run was another one.
        """
        if not (self._header.exists() and self._state.exists() and self._data.exists()):
            return None
        header: dict[str, Any] = json.loads(self._header.read_bytes())
        check_key(header["key"], key, self._data.name)
        line, _, head = self._state.read_bytes().partition(b"\n")
        entry = json.loads(line)
        if self._data.stat().st_size < entry["size"]:
            return None
        self._head = header["head"]
        with self._data.open("r+b") as file:
            file.write(head)
            file.truncate(entry["size"])
        return Progress(header, entry["rows"], entry["counts"])

    def remove(self) -> None:
        """Leave nothing behind."""
        self._header.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)


def check_key(former: dict[str, Any], key: dict[str, Any], what: str) -> None:
    """Compare what two runs must have in common.

    Raises:
        OutputError: They differ, and in what.
    """
    differing = [name for name in key if json.dumps(former.get(name)) != json.dumps(key[name])]
    if differing:
        raise OutputError(
            f"{what} belongs to another run: {', '.join(differing)} differ",
            "repeat the inputs and options of the first run, or start again with --overwrite",
        )


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or as it was."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
