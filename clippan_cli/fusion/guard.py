"""A guard that asks whether a network serves a scene at least as well as a formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from clippan_cli.fusion.consistency import back_project, residual
from clippan_cli.fusion.method import Fitted, Statistics, Tile, make_tile
from clippan_cli.metrics.local import local_correlation
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.sampling import Sampling

_SIDE = 64
_MOST = 4
_WORSE_SPECTRUM = 2.0
_LEAST_SPECTRUM = 0.1
_WORSE_STRUCTURE = 0.1


@dataclass(frozen=True)
class Score:
    """Says how good a method is on the sample windows.

    Args:
        r_ergas: The error of the product, seen through the MTF, against the measured MS, in percent; None where it is
            not finite.
        d_rho: The distance 1 - local correlation with PAN; None where it is not finite.
    """

    r_ergas: float | None
    d_rho: float | None


@dataclass(frozen=True)
class Verdict:
    """Says how a network stands beside formulas.

    Args:
        learned: The network's score.
        classical: The worst score of the anchors, index by index.
        reason: The reason not to trust the network here; None where there is none.
    """

    learned: Score
    classical: Score
    reason: str | None


def judge(
    learned: Fitted, anchors: Sequence[Fitted], statistics: Statistics, steps: int, device: torch.device | None = None
) -> Verdict:
    """Compare methods on a few windows, all with the same back-projections.

    Args:
        learned: The network.
        anchors: The classical methods to compare it with.
        statistics: What is known of the scene; its samples are the windows.
        steps: The number of back-projections.
        device: The device that computes; None for that of the samples.
    """
    samples, sampling = statistics.samples, statistics.sampling
    chosen = [samples[round(i)] for i in torch.linspace(0, len(samples) - 1, min(_MOST, len(samples))).tolist()]
    ours, *theirs = (_score(fitted, chosen, sampling, steps, device) for fitted in (learned, *anchors))
    worst = (max(score[0] for score in theirs), max(score[1] for score in theirs))
    return Verdict(Score(*map(_known, ours)), Score(*map(_known, worst)), _reason(ours, worst))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _reason(ours: tuple[float, float], worst: tuple[float, float]) -> str | None:
    # A network may know better than the stated MTF, which R-ERGAS believes, and than PAN: only clearly worse is worse.
    if not math.isfinite(sum(ours)):
        return "it is not finite"
    if ours[0] > max(_WORSE_SPECTRUM * worst[0], worst[0] + _LEAST_SPECTRUM):
        return f"R-ERGAS {ours[0]:.2f} against {worst[0]:.2f}"
    if ours[1] > worst[1] + _WORSE_STRUCTURE:
        return f"D_ρ {ours[1]:.3f} against {worst[1]:.3f}"
    return None


def _score(
    fitted: Fitted, samples: Sequence[Window], sampling: Sampling, steps: int, device: torch.device | None
) -> tuple[float, float]:
    """Return R-ERGAS in percent, and D_ρ."""
    errors, structure, pixels = 0.0, 0.0, 0
    with torch.inference_mode():
        for sample in samples:
            tile = _tile(sample, sampling, device or sample.ms.values.device)
            out = back_project(fitted.fuse(tile), tile, steps)
            measured = tile.measured
            count = measured.sum((1, 2)).clamp(min=1)
            mean = torch.where(measured, tile.ms.values, 0).sum((1, 2)) / count
            error = residual(out, tile).square().sum((1, 2)) / count
            errors += float((error / mean.square().clamp(min=1e-12)).mean())
            if min(tile.pan.values.shape) < 5:
                continue
            alike = local_correlation(out, tile.pan.values).mean(0)
            inside = tile.valid.joint()[2:-2, 2:-2]
            structure += float(inside.keep(1 - alike).sum())
            pixels += inside.count(alike)
    ratio = math.sqrt(sampling.ratio[0] * sampling.ratio[1])
    return (100 / ratio * math.sqrt(errors / len(samples)), structure / max(1, pixels))


def _tile(sample: Window, sampling: Sampling, device: torch.device) -> Tile:
    """Take the middle of a sample."""
    ms_box, whole = sample.ms_box.middle(_SIDE), sample.pan_box
    pan_box = sampling.pan_box(ms_box, math.ceil(max(sampling.ratio) / 2), (whole.rows.stop, whole.cols.stop))
    middle = sample.cut(ms_box, pan_box.intersection(whole))
    ms, pan = (Pixels(part.values, part.valid.simplified()) for part in (middle.ms, middle.pan))
    return make_tile(Window(ms, pan, middle.ms_box, middle.pan_box), sampling, device)
