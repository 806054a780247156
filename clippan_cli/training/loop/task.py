"""What a training is for, and what it leaves behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from clippan_cli.base.documents import Plain, as_plain
from clippan_cli.modelstore.records import ModelRecord, SupervisorRecord, as_table


class Task(ABC):
    """What is trained for: where samples come from, what is asked of the net, and how it is judged."""

    terms: tuple[str, ...]
    """The names of the losses."""

    checks: tuple[str, ...]
    """The names of what :meth:`validate` finds."""

    ranks: bool = False
    """Whether :meth:`score` says which net is the best; else the last one is kept."""

    @abstractmethod
    def draw(self, iteration: int, size: int) -> Any:
        """Make the sample of a step: so many pairs."""

    @abstractmethod
    def losses(self, net: nn.Module, sample: Any) -> dict[str, Tensor]:
        """Return each loss by its name, not weighted."""

    @abstractmethod
    def weights(self, progress: float) -> dict[str, float]:
        """Return the weight of each loss; ``progress`` goes from 0 to 1."""

    @abstractmethod
    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure how good the net is on what it does not learn from; no gradient is kept."""

    def score(self, found: Mapping[str, float]) -> float:
        """Return how bad the net is, where the task ranks nets, so that the best one is kept."""
        raise NotImplementedError

    def where(self, sample: Any) -> str:
        """Tell what a sample shows, for an error message."""
        return ""


Record = TypeVar("Record", bound=ModelRecord | SupervisorRecord, covariant=True)


@dataclass(frozen=True)
class Trained(Generic[Record]):
    """What a training has left behind.

    Args:
        output: The product's folder.
        record: The record in that folder.
    """

    output: str
    record: Record

    def plain(self) -> dict[str, Plain]:
        """Turn it into what JSON can hold: the folder, and the record beside it."""
        return {"output": self.output, **as_plain(as_table(self.record))}


@dataclass(frozen=True)
class Run:
    """What there is to say of a run of the loop.

    Args:
        version: The version of this program.
        torch: The version of torch.
        device: The device that computed it.
        minutes: The number of minutes that it took.
        best_iteration: The iteration whose weights were kept; None for the last one.
    """

    version: str
    torch: str
    device: str
    minutes: float
    best_iteration: int | None = None


class Product(Protocol[Record]):
    """What a training leaves behind."""

    @property
    def record(self) -> str:
        """The name of the file that comes last."""

    def read(self, folder: Path) -> Record:
        """Read the record of a folder."""

    def clear(self, folder: Path) -> None:
        """Remove what a former training left to look at."""

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        """Leave something to look at as the training goes on, if there is something; no gradient is kept."""

    def write(self, folder: Path, net: nn.Module, run: Run) -> Trained[Record]:
        """Write the folder, its record last."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a net is trained.

    Args:
        iterations: The number of steps of the optimiser.
        batch: The number of pairs in a step, over all processes.
        rate: The highest learning rate.
        every: The number of steps between checkpoints and validations.
    """

    iterations: int
    batch: int
    rate: float
    every: int
