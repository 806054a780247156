"""A journal beside the unfinished file, so that a killed run can be continued exactly."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from clippan_cli.base.documents import Plain, as_plain, from_plain
from clippan_cli.base.files import replace_file
from clippan_cli.base.identity import check_same
from clippan_cli.errors import OutputError
from clippan_cli.fusion.guard import Verdict
from clippan_cli.fusion.moments import MomentsRecord
from clippan_cli.sharpening.quantiser import Changes


@dataclass(frozen=True, kw_only=True)
class Header:
    """Holds what a run writes when it begins.

    Args:
        key: The key that a run which continues it must share.
        moments: The statistics of the scene.
        method: The name of what makes the pixels.
        guard: The verdict on the model beside classical methods; None where it was not compared.
        head: The bytes of the data file before its first pixel.
    """

    key: dict[str, Plain]
    moments: MomentsRecord
    method: str
    guard: Verdict | None
    head: int = 0


@dataclass(frozen=True, kw_only=True)
class State:
    """Says how far a run is.

    Args:
        rows: The number of rows of tiles that are on disk.
        size: The bytes of the data file after the last of them.
        counts: The counts of values clipped and moved so far.
    """

    rows: int
    size: int
    counts: Changes


class Journal:
    """Keeps two small files: what is being made, and how far it is.

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

    def start(self, header: Header) -> None:
        """Begin anew beside a data file that holds no pixels yet."""
        self._state.unlink(missing_ok=True)
        self._head = self._data.stat().st_size
        _write(self._header, replace(header, head=self._head))

    def note(self, row: int, changes: Changes) -> None:
        """Book a row of tiles, once the data file has been closed over it."""
        with self._data.open("rb") as file:
            _write(
                self._state, State(rows=row + 1, size=self._data.stat().st_size, counts=changes), file.read(self._head)
            )

    def resume(self, key: dict[str, Plain]) -> tuple[Header, State] | None:
        """Find where a former run stopped; bring the data file back to that moment.

        Args:
            key: The key that must be the same: inputs, options, algorithms.

        Returns:
            The header and the state of the former run; None where there is nothing to resume, or nothing that can be
            read.

        Raises:
            OutputError: The former run was another one.
        """
        if not (self._header.exists() and self._state.exists() and self._data.exists()):
            return None
        try:
            former = json.loads(self._header.read_bytes())
            before = former["key"]
        except (ValueError, KeyError, TypeError):
            return None
        check_same(before, key, self._data.name, OutputError)
        try:
            header = from_plain(Header, former)
            line, _, head = self._state.read_bytes().partition(b"\n")
            state = from_plain(State, json.loads(line))
        except ValueError:
            return None
        if self._data.stat().st_size < state.size or len(head) < header.head:
            return None
        self._head = header.head
        with self._data.open("r+b") as file:
            file.write(head)
            file.truncate(state.size)
        return header, state

    def remove(self) -> None:
        """Remove both files."""
        self._header.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)


def _write(path: Path, document: Header | State, rest: bytes = b"") -> None:
    replace_file(path, json.dumps(as_plain(document)).encode() + b"\n" + rest)
