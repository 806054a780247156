"""A model's folder, as a training writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from clippan_cli.modelstore.model import RECORD, read_model, save_model
from clippan_cli.networks.network import Network
from clippan_cli.training.products.card import training_card


@dataclass(frozen=True, kw_only=True)
class ModelProduct:
    """A model's folder.

    Args:
        network: Name of the architecture.
        settings: What it was made with.
        ratios: Smallest and largest ratio that the model is for.
        recipe: What to say of the training in the model's record.
        lessons: What it learned from, in words, for its card.
    """

    network: str
    settings: Mapping[str, Any]
    ratios: tuple[float, float]
    recipe: Mapping[str, Any]
    lessons: str
    record: str = RECORD

    def read(self, folder: Path) -> dict[str, Any]:
        """See :class:`Product`."""
        return read_model(folder).document

    def clear(self, folder: Path) -> None:
        """See :meth:`Product.clear`."""

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        """See :meth:`Product.picture`."""

    def write(self, folder: Path, net: nn.Module, said: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`Product`."""
        assert isinstance(net, Network)
        whole = {**self.recipe, **said}
        return save_model(
            folder,
            net,
            name=self.network,
            settings=self.settings,
            ratios=self.ratios,
            record={"training": whole},
            card=training_card(folder.resolve().name, net, whole, self.lessons),
        ).document
