"""The texts that stand for the types of images."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from clippan_cli.errors import UsageError

DEFAULT = "wald"

KINDS = ("ms", "pan", "hrms", "distorted")
"""What images are told apart as, in the order of the texts."""


@dataclass(frozen=True)
class Prompts:
    """Holds one text for each type.

    Args:
        name: The name of the wording of ``hrms``.
        ms: The text for MS.
        pan: The text for PAN.
        hrms: The text for a good fusion.
        distorted: The text for a bad one.
    """

    name: str
    ms: str
    pan: str
    hrms: str
    distorted: str

    @property
    def texts(self) -> list[str]:
        """The texts in the order of the types."""
        return [self.ms, self.pan, self.hrms, self.distorted]


def read_prompts(name: str = DEFAULT, file: str | Path | None = None) -> Prompts:
    """Read the wording of a name (the paper's Table 5, and those of a file).

    Args:
        name: The name of the text for HRMS.
        file: The TOML file, like the package's own, from which what it lacks is taken.

    Raises:
        UsageError: There is no such wording, or the file cannot be used.
    """
    table = _table((resources.files("clippan_cli.supervision") / "prompts.toml").read_text("utf-8"))
    if file is not None:
        try:
            mine = _table(Path(file).read_text("utf-8"))
        except (OSError, ValueError, AttributeError) as error:
            raise UsageError(f"cannot use the prompts of {file}: {error}", "see prompts.toml of the package") from error
        table = {**table, **mine}
    wordings = {key.removeprefix("hrms."): text for key, text in table.items() if key.startswith("hrms.")}
    if name not in wordings:
        raise UsageError(f"unknown prompt {name!r}", "known: " + ", ".join(wordings))
    return Prompts(name, table["ms"], table["pan"], wordings[name], table["distorted"])


def wordings() -> list[str]:
    """List the names of the package's own wordings."""
    table = _table((resources.files("clippan_cli.supervision") / "prompts.toml").read_text("utf-8"))
    return [key.removeprefix("hrms.") for key in table if key.startswith("hrms.")]


def _table(text: str) -> dict[str, str]:
    document = tomllib.loads(text)
    flat = {key: value for key, value in document.items() if key != "hrms"}
    flat |= {f"hrms.{key}": value for key, value in document.get("hrms", {}).items()}
    if not all(isinstance(value, str) and value for value in flat.values()):
        raise ValueError("every prompt is a text")
    return flat
