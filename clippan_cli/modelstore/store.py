"""Sealed folders: weights, their SHA-256 in a record that comes last, and a card for people."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Generic, TypeVar

import tomli_w
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from clippan_cli.base.documents import Plain, from_plain
from clippan_cli.base.files import replace_file
from clippan_cli.errors import ModelError, OutputError, UsageError
from clippan_cli.modelstore.records import ModelRecord, SupervisorRecord, as_table, sort_training

CARD = "CARD.md"

_INSIDE, _BESIDE = Path(__file__).parents[1] / "models", Path(__file__).parents[2] / "models"

_Record = TypeVar("_Record", ModelRecord, SupervisorRecord)


@dataclass(frozen=True)
class Store(Generic[_Record]):
    """A kind of sealed folder.

    Args:
        what: The word for what such a folder holds; its files are named after it.
        kind: The dataclass of its record.
    """

    what: str
    kind: type[_Record]

    @property
    def weights(self) -> str:
        """The name of the file of weights."""
        return f"{self.what}.safetensors"

    @property
    def record(self) -> str:
        """The name of the record."""
        return f"{self.what}.toml"

    @property
    def _again(self) -> str:
        return f"copy the {self.what}'s folder again"

    def shipped(self) -> list[Path]:
        """List the folders of this kind that come with the package; their names are ids."""
        home = _INSIDE if _INSIDE.is_dir() else _BESIDE
        return [path.parent for path in sorted(home.glob(f"*/{self.record}"))]

    def find(self, name: str) -> Path | None:
        """Find what ships by its id, or any folder of this kind by its path; return None where there is none.

        Raises:
            UsageError: The name is both.
        """
        known = {folder.name: folder for folder in self.shipped()}
        here = Path(name) if (Path(name) / self.record).is_file() else None
        if here is not None and here.resolve() != known.get(name, here).resolve():
            raise UsageError(
                f"{name!r} is a {self.what} that ships, and a folder here",
                f"write ./{name} for the folder, or rename it",
            )
        return known.get(name, here)

    def write(self, folder: Path, weights: bytes, record: _Record, card: str | None = None) -> None:
        """Write a folder; its record comes last, so that half a folder is none.

        Args:
            folder: The folder to write, made if need be.
            weights: The content of the file of weights, as :func:`pack` makes it.
            record: The record of the weights.
            card: The text of the card; None for no card.

        Raises:
            OutputError: The folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / self.record).unlink(missing_ok=True)
            replace_file(folder / self.weights, weights)
            if card is not None:
                replace_file(folder / CARD, card.encode())
            replace_file(folder / self.record, tomli_w.dumps(as_table(record)).encode())
        except OSError as error:
            raise OutputError(
                f"cannot write the {self.what} {folder}: {error}", "free some space, or choose another folder"
            ) from error

    def read(self, folder: Path) -> _Record:
        """Read a folder's record.

        Raises:
            ModelError: The record cannot be read, or lacks something.
        """
        path = folder / self.record
        try:
            table = tomllib.loads(path.read_text("utf-8"))
            return from_plain(self.kind, self._complete(table))
        except (OSError, TypeError, ValueError) as error:
            raise ModelError(f"cannot use {path}: {error}", self._again) from error

    def verify(self, folder: Path, record: _Record) -> bytes:
        """Return the file of weights, once it is what the record says.

        Raises:
            ModelError: The file cannot be read, or has another SHA-256.
        """
        path = folder / self.weights
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror}", self._again) from error
        if (found := digest(content)) != record.sha256:
            raise ModelError(
                f"{path} is not what {self.record} describes: sha256 {found[:12]}…, stated {record.sha256[:12]}…",
                f"the file is damaged or was changed; {self._again}",
            )
        return content

    def load(self, folder: Path, record: _Record) -> dict[str, Tensor]:
        """Return the weights by their names, verified, on the CPU.

        Raises:
            ModelError: The file of weights cannot be read, has another SHA-256, or holds no weights.
        """
        try:
            return load(self.verify(folder, record))
        except SafetensorError as error:
            raise ModelError(f"{folder / self.weights} holds no weights: {error}", self._again) from error

    def _complete(self, table: Mapping[str, Plain]) -> Mapping[str, Plain]:
        """Refuse a record that lacks something, and read an older one as one of today."""
        for each in fields(self.kind):
            if each.name not in table and each.default is MISSING and each.default_factory is MISSING:
                raise ValueError(f"it is not complete: it has no {each.name!r}")
        training = table.get("training", {})
        return {**table, "training": sort_training(training)} if isinstance(training, Mapping) else table


def pack(state: Mapping[str, Tensor], beside: dict[str, str] | None = None) -> bytes:
    """Turn weights into the content of their file.

    Args:
        state: The weights by their names.
        beside: What the header of the file says beside them.
    """
    return save({name: value.detach().cpu().contiguous() for name, value in state.items()}, beside)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()
