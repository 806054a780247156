"""Training with a truth: simulated pairs, or real ones one scale down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clippan_cli.networks.model import RECORD, read_model, save_model
from clippan_cli.networks.network import Network
from clippan_cli.training.card import training_card
from clippan_cli.training.loop import Task
from clippan_cli.training.losses import back_projected, supervised
from clippan_cli.training.samples import Batch, Pairs, margin

_VALIDATION, _VALIDATION_SEED = 12, 1 << 40


class Supervised(Task):
    """Error and spectral angle, as ratios count.

    Args:
        draw: Makes the sample of a number: so many pairs.
        angle: Weight of the spectral angle.
        consistency: Back-projections inside the graph.
    """

    terms = ("error", "angle")
    checks = ("validation_error", "validation_angle")

    def __init__(self, draw: Callable[[int, int], Batch], angle: float, consistency: int) -> None:
        self._draw, self._angle, self._consistency = draw, angle, consistency
        self._validation: list[Batch] = []

    def draw(self, iteration: int, size: int) -> Batch:
        """See :meth:`Task.draw`."""
        return self._draw(iteration, size)

    def losses(self, net: nn.Module, sample: Batch) -> dict[str, Tensor]:
        """See :meth:`Task.losses`."""
        return self._judged(fused(net, sample), sample)

    def weights(self, progress: float) -> dict[str, float]:
        """See :meth:`Task.weights`."""
        return {"error": 1.0, "angle": self._angle}

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Error and angle beside those of interpolation: geometric means over pairs that are never learned from."""
        if not self._validation:
            self._validation = [self._draw(_VALIDATION_SEED + i, 1) for i in range(_VALIDATION)]
        apart = dict.fromkeys(self.terms, 0.0)
        for batch in self._validation:
            ours, plain = self.losses(net, batch), self._judged(batch.ms_up, batch)
            for name in self.terms:
                apart[name] += float(ours[name] - plain[name]) / len(self._validation)
        return {f"validation_{name}": math.exp(value) for name, value in apart.items()}

    def _judged(self, out: Tensor, batch: Batch) -> dict[str, Tensor]:
        error, angle = supervised(back_projected(out, batch, self._consistency), batch, margin(batch.context.ratio))
        return {"error": error, "angle": angle}


def fused(net: nn.Module, pairs: Pairs) -> Tensor:
    """What a network makes of pairs: ``(B, C, H, W)``, in bfloat16 inside where a GPU does it."""
    kind = pairs.pan.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
        out: Tensor = net(pairs.ms_up, pairs.pan, pairs.context)
    return out.float()


@dataclass(frozen=True)
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
