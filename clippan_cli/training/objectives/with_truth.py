"""What a network is taught by where the truth is known, and how every product ends."""

from __future__ import annotations

from torch import Tensor

from clippan_cli.base.geometry import trim
from clippan_cli.training.data.pairs import Batch, Pairs

_LEAST_ERROR = 1e-6
_LEAST_ANGLE = 1e-4


def back_project_pairs(out: Tensor, batch: Pairs, steps: int) -> Tensor:
    """Back-project inside the graph, as every product ends: ``out ← out + U(m - D(out))``.

    Args:
        out: ``(B, C, H, W)``, the fused images.
        batch: The pairs that they were made of.
        steps: The number of back-projections.
    """
    flat, ms = out.flatten(0, 1), batch.ms.flatten(0, 1)
    for _ in range(steps):
        flat = flat + batch.operators.up(ms - batch.operators.down(flat))
    return flat.view_as(out)


def measure_errors(out: Tensor, batch: Batch, margin: int) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the relative error and of the spectral angle: distances from the truth, as ratios count.

    A logarithm makes each pair count alike, easy or hard, as the geometric mean over scenes does that we judge by.

    Args:
        out: ``(B, C, H, W)``, the fused images.
        batch: The pairs that they were made of, and their truth.
        margin: The number of PAN pixels at the edges that do not count.

    Returns:
        Half the mean of log(MSE / variance) over bands and samples; the mean of log(mean sine of the angle).
    """
    fused, truth = trim(out, margin), trim(batch.truth, margin)
    error = ((fused - truth) / batch.context.deviation[..., None, None]).square().mean((2, 3))
    dot, norms = (fused * truth).sum(1), fused.square().sum(1) * truth.square().sum(1)
    sine = (1 - dot.square() / norms.clamp(min=1e-12)).clamp(min=0).add(1e-10).sqrt()
    return 0.5 * (error + _LEAST_ERROR).log().mean(), (sine.mean((1, 2)) + _LEAST_ANGLE).log().mean()
