"""A supervisor's folder, as a training writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clippan_cli.modelstore.supervisor import RECORD, read_record, save_supervisor
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.objectives.stage_one import Adapting


@dataclass(frozen=True)
class SupervisorProduct:
    """A supervisor's folder.

    Args:
        recipe: What to say of the training.
        task: Validates it.
    """

    recipe: Mapping[str, Any]
    task: Adapting
    record: str = RECORD

    def read(self, folder: Path) -> dict[str, Any]:
        """See :class:`Product`."""
        return read_record(folder)

    def clear(self, folder: Path) -> None:
        """See :meth:`Product.clear`."""

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        """See :meth:`Product.picture`."""

    def write(self, folder: Path, net: nn.Module, said: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`Product`."""
        assert isinstance(net, Supervisor)
        with torch.no_grad():
            found = {name: round(value, 4) for name, value in self.task.validate(net).items()}
        training = {**self.recipe, **said, "skipped": self.task.skipped}
        return save_supervisor(folder, net, {"training": training, "held_out": found})
