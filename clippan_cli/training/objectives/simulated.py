"""Training with a truth: simulated pairs, or real ones one scale down."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from clippan_cli.training.data.pairs import Batch, Pairs
from clippan_cli.training.data.simulated_pairs import margin
from clippan_cli.training.loop.task import Task
from clippan_cli.training.objectives.with_truth import back_project_pairs, measure_errors

_VALIDATION, _VALIDATION_SEED = 12, 1 << 40


class Supervised(Task):
    """Weighs error and spectral angle, as ratios count.

    Args:
        draw: Makes the sample of a number: so many pairs.
        angle: The weight of the spectral angle.
        consistency: The number of back-projections inside the graph.
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
        return self._judge(fuse(net, sample), sample)

    def weights(self, progress: float) -> dict[str, float]:
        """See :meth:`Task.weights`."""
        return {"error": 1.0, "angle": self._angle}

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Divide error and angle by interpolation's: geometric means over pairs that are never learned from."""
        if not self._validation:
            self._validation = [self._draw(_VALIDATION_SEED + i, 1) for i in range(_VALIDATION)]
        apart = dict.fromkeys(self.terms, 0.0)
        for batch in self._validation:
            ours, plain = self.losses(net, batch), self._judge(batch.ms_up, batch)
            for name in self.terms:
                apart[name] += float(ours[name] - plain[name]) / len(self._validation)
        return {f"validation_{name}": math.exp(value) for name, value in apart.items()}

    def _judge(self, out: Tensor, batch: Batch) -> dict[str, Tensor]:
        product = back_project_pairs(out, batch, self._consistency)
        error, angle = measure_errors(product, batch, margin(batch.context.ratio))
        return {"error": error, "angle": angle}


def fuse(net: nn.Module, pairs: Pairs) -> Tensor:
    """Return what a network makes of pairs: ``(B, C, H, W)``, in bfloat16 inside where a GPU does it."""
    kind = pairs.pan.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
        out: Tensor = net(pairs.ms_up, pairs.pan, pairs.context)
    return out.float()
