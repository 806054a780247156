"""A model's folder, and how the model stands on the tiles kept aside: its table, its page, its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from clippan_cli.modelstore.records import TrainingRecord
from clippan_cli.networks.network import Network
from clippan_cli.training.loop.task import Run
from clippan_cli.training.objectives.stage_two import FullResolution
from clippan_cli.training.products.model import ModelProduct
from clippan_cli.training.products.page import PICTURES, draw_page, draw_tile, pictures


@dataclass(frozen=True, kw_only=True)
class JudgedModel(ModelProduct):
    """Writes a model, and how it stands on the tiles kept aside.

    Args:
        task: The task that judges the model.
    """

    task: FullResolution

    def clear(self, folder: Path) -> None:
        """See :meth:`Product.clear`."""
        for path in pictures(folder):
            path.unlink()

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        """Show before, after and PAN as the training goes on, and write the page that holds them."""
        draw_tile(*self.task.shown(net), folder / PICTURES / f"{done:06}.png")
        draw_page(folder, {**self.task.beside, "model": self.task.row(found)})

    def judge(self, folder: Path, net: Network, run: Run) -> TrainingRecord:
        """Return the recipe with the indices on the tiles kept aside, and write the page that shows them."""
        with torch.no_grad():
            table = {**self.task.beside, "model": self.task.row(self.task.validate(net))}
        draw_page(folder, table, run.best_iteration)
        rounded = {name: {index: round(value, 4) for index, value in row.items()} for name, row in table.items()}
        return replace(self.recipe, held_out=rounded, skipped=self.task.skipped)
