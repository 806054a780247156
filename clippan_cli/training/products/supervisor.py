"""A supervisor's folder, as a training writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from clippan_cli.modelstore.records import SupervisorRecord, TrainingRecord
from clippan_cli.modelstore.supervisor import RECORD, read_record, save_supervisor
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.loop.task import Run, Trained
from clippan_cli.training.objectives.stage_one import Adapting
from clippan_cli.training.products.card import supervisor_card


@dataclass(frozen=True, kw_only=True)
class SupervisorFolder:
    """Reads a supervisor's folder, and shows nothing on the way.

    Args:
        recipe: What to say of the training in the supervisor's record.
        record: The name of the supervisor's record.
    """

    recipe: TrainingRecord
    record: str = RECORD

    def read(self, folder: Path) -> SupervisorRecord:
        """See :meth:`Product.read`."""
        return read_record(folder)

    def clear(self, folder: Path) -> None:
        """See :meth:`Product.clear`."""

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        """See :meth:`Product.picture`."""


@dataclass(frozen=True, kw_only=True)
class SupervisorProduct(SupervisorFolder):
    """Writes a supervisor that was adapted.

    Args:
        task: The task that validates the supervisor.
    """

    task: Adapting

    def write(self, folder: Path, net: nn.Module, run: Run) -> Trained[SupervisorRecord]:
        """See :meth:`Product.write`."""
        assert isinstance(net, Supervisor)
        with torch.no_grad():
            found = {name: round(value, 4) for name, value in self.task.validate(net).items()}
        training = replace(self.recipe, skipped=self.task.skipped, **asdict(run))
        return Trained(str(folder), save_supervisor(folder, net, training, found, supervisor_card))
