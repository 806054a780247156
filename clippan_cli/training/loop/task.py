"""What a training is for, and what it leaves behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class Task(ABC):
    """What is trained for: where samples come from, what is asked of the net, and how it is judged."""

    terms: tuple[str, ...]
    """Names of the losses."""

    checks: tuple[str, ...]
    """Names of what :meth:`validate` finds."""

    @abstractmethod
    def draw(self, iteration: int, size: int) -> Any:
        """The sample of a step: so many pairs."""

    @abstractmethod
    def losses(self, net: nn.Module, sample: Any) -> dict[str, Tensor]:
        """The terms, not weighted."""

    @abstractmethod
    def weights(self, progress: float) -> dict[str, float]:
        """Of the terms; ``progress`` goes from 0 to 1."""

    @abstractmethod
    def validate(self, net: nn.Module) -> dict[str, float]:
        """How good the net is on what it does not learn from; no gradient is kept."""

    def score(self, found: Mapping[str, float]) -> float | None:
        """The less the better: the best net is kept. None: the last one is."""
        return None

    def where(self, sample: Any) -> str:
        """What a sample shows, for an error message."""
        return ""


class Product(Protocol):
    """What a training leaves behind."""

    @property
    def record(self) -> str:
        """The file that comes last."""

    def read(self, folder: Path) -> dict[str, Any]:
        """Its document."""

    def clear(self, folder: Path) -> None:
        """Remove what a former training left to look at."""

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        """Leave something to look at as the training goes on, if there is something; no gradient is kept."""

    def write(self, folder: Path, net: nn.Module, said: Mapping[str, Any]) -> dict[str, Any]:
        """Write it; ``said`` is what there is to say of the training."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Args:
        iterations: Steps of the optimiser.
        batch: Pairs in a step, over all processes.
        rate: Highest learning rate.
        every: Steps between checkpoints and validations.
    """

    iterations: int
    batch: int
    rate: float
    every: int
