"""A journal beside the unfinished file, so that a killed run can be continued exactly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from clippan_cli.errors import OutputError


class Journal:
    """Line 1 says what is being made; each further line, which rows of tiles are on disk and how long the file is.

    Args:
        output: The final name of the output.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.stem + ".partial.jsonl")

    def start(self, header: dict[str, Any]) -> None:
        """Begin anew."""
        with self.path.open("w", encoding="utf-8") as file:
            self._append(file, header)

    def note(self, row: int, counts: dict[str, int], data: Path) -> None:
        """Book a row of tiles, once the data file has been closed over it."""
        with self.path.open("a", encoding="utf-8") as file:
            self._append(file, {"row": row, "size": data.stat().st_size, **counts})

    def resume(self, key: dict[str, Any], data: Path) -> tuple[dict[str, Any], int, dict[str, int]] | None:
        """Find where a former run stopped; cut the data file back to its last sound state.

        Args:
            key: What must be the same: inputs, options, version.
            data: The unfinished file.

        Returns:
            The header, the number of finished rows and the counts so far; None where there is nothing to resume.

        Raises:
            OutputError: The former run was another one.
        """
        if not (self.path.exists() and data.exists()):
            return None
        lines = [self._parse(line) for line in self.path.read_text("utf-8").splitlines()]
        booked = [line for line in lines[1:] if line is not None]
        if not booked or lines[0] is None:
            return None
        header, last = lines[0], booked[-1]
        differing = [name for name in key if json.dumps(header["key"].get(name)) != json.dumps(key[name])]
        if differing:
            raise OutputError(
                f"{self.path.name} belongs to another run: {', '.join(differing)} differ",
                "repeat the options of the first run, or start again without --resume",
            )
        if data.stat().st_size < last["size"]:
            return None
        os.truncate(data, last["size"])
        self.path.write_text("".join(json.dumps(line) + "\n" for line in (header, *booked)), "utf-8")
        counts = {name: value for name, value in last.items() if name not in ("row", "size")}
        return header, last["row"] + 1, counts

    def remove(self) -> None:
        """The work is done."""
        self.path.unlink(missing_ok=True)

    @staticmethod
    def _append(file: Any, entry: dict[str, Any]) -> None:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())

    @staticmethod
    def _parse(line: str) -> dict[str, Any] | None:
        """A line that a crash cut short counts as not written."""
        try:
            document: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            return None
        return document
