"""A model's folder, as a training writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

from clippan_cli.base.values import Setting
from clippan_cli.modelstore.model import RECORD, read_model, save_model
from clippan_cli.modelstore.records import ModelRecord, TrainingRecord
from clippan_cli.networks.network import Network
from clippan_cli.training.loop.task import Run, Trained
from clippan_cli.training.products.card import training_card


@dataclass(frozen=True, kw_only=True)
class ModelProduct:
    """Writes a model's folder.

    Args:
        network: The name of the architecture.
        settings: The settings that the architecture was made with.
        ratios: The smallest and the largest ratio that the model is for.
        recipe: What to say of the training in the model's record.
        lessons: What the model learned from, in words, for its card.
        record: The name of the model's record.
    """

    network: str
    settings: Mapping[str, Setting]
    ratios: tuple[float, float]
    recipe: TrainingRecord
    lessons: str
    record: str = RECORD

    def read(self, folder: Path) -> ModelRecord:
        """See :meth:`Product.read`."""
        return read_model(folder).record

    def clear(self, folder: Path) -> None:
        """See :meth:`Product.clear`."""

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        """See :meth:`Product.picture`."""

    def write(self, folder: Path, net: nn.Module, run: Run) -> Trained[ModelRecord]:
        """See :meth:`Product.write`."""
        assert isinstance(net, Network)
        training = replace(self.judge(folder, net, run), **asdict(run))
        model = save_model(
            folder,
            net,
            name=self.network,
            settings=self.settings,
            ratios=self.ratios,
            training=training,
            card=training_card(folder.resolve().name, net, training, self.lessons),
        )
        return Trained(str(folder), model.record)

    def judge(self, folder: Path, net: Network, run: Run) -> TrainingRecord:
        """Return the recipe with what is found out about the net: here nothing."""
        return self.recipe
