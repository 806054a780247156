"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from clippan_cli.errors import OutputError


def check_parent(path: Path) -> None:
    """Refuse a file whose folder does not take it.

    Raises:
        OutputError: The folder does not exist, or is not writable.
    """
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist", f"create it: mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(
            f"the folder {path.parent} is not writable", "choose another folder, or change its permissions"
        )


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is whole, or as it was, whatever happens: beside it, to the disk, then renamed.

    Raises:
        OSError: It cannot be written; nothing is left beside it.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def replace_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as CSV, as :func:`replace_file` does.

    Raises:
        OSError: It cannot be written; nothing is left beside it.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    replace_file(path, text.getvalue().encode())
