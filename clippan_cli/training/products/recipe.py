"""The recipe of a training: what a record says of it before it has run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from clippan_cli.base.identity import Key
from clippan_cli.base.options import spelled
from clippan_cli.base.version import ALGORITHM
from clippan_cli.modelstore.records import TrainingRecord


def make_recipe(words: str, folder: Path, options: Any, key: Key, *left_out: str) -> TrainingRecord:
    """Return the record of a training: its key, and the command that repeats it.

    Args:
        words: The command's first words, as ``"clippan tune --scenes SCENES"``.
        folder: The folder of the product, of which the command gives the name alone.
        options: The options of the training.
        key: What identifies the training.
        left_out: The keys of the options that the command does not repeat.
    """
    command = f"{words} {shlex.join(['-o', folder.resolve().name, *spelled(options, *left_out)])}"
    return TrainingRecord.of({**key, "algorithm": ALGORITHM, "command": command})
