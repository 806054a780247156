"""What a network is taught by."""

from __future__ import annotations

from torch import Tensor

from clippan_cli.training.data.pairs import Batch, Pairs

_LEAST_ERROR = 1e-6
_LEAST_ANGLE = 1e-4


def back_projected(out: Tensor, batch: Pairs, steps: int) -> Tensor:
    """As every product ends: ``out ← out + U(m - D(out))``, inside the graph.

    Args:
        out: ``(B, C, H, W)``.
        batch: What it was made of.
        steps: How often.
    """
    flat, ms = out.flatten(0, 1), batch.ms.flatten(0, 1)
    for _ in range(steps):
        flat = flat + batch.operators.up(ms - batch.operators.down(flat))
    return flat.view_as(out)


def supervised(out: Tensor, batch: Batch, margin: int) -> tuple[Tensor, Tensor]:
    """How far from the truth, as ratios count: the logarithms of the relative error and of the spectral angle.

    A logarithm makes each pair count alike, easy or hard, as the geometric mean over scenes does that we judge by.

    Args:
        out: ``(B, C, H, W)``.
        batch: With the truth.
        margin: PAN pixels at the edges that do not count.

    Returns:
        Half the mean of log(MSE / variance) over bands and samples; the mean of log(mean sine of the angle).
    """
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    fused, truth = out[inner], batch.truth[inner]
    error = ((fused - truth) / batch.context.deviation[..., None, None]).square().mean((2, 3))
    dot, norms = (fused * truth).sum(1), fused.square().sum(1) * truth.square().sum(1)
    sine = (1 - dot.square() / norms.clamp(min=1e-12)).clamp(min=0).add(1e-10).sqrt()
    return 0.5 * (error + _LEAST_ERROR).log().mean(), (sine.mean((1, 2)) + _LEAST_ANGLE).log().mean()
