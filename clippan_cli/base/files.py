"""Files that appear whole or not at all."""

from __future__ import annotations

import os
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
