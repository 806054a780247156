"""Is what a network makes of a scene at least as good as what a formula makes of it?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from clippan_cli.fusion.consistency import back_project, residual
from clippan_cli.fusion.method import Fitted, Tile
from clippan_cli.metrics.local import local_correlation
from clippan_cli.physics.operators import Operators, fill_invalid
from clippan_cli.physics.registration import Sample
from clippan_cli.physics.sampling import Sampling

ANCHORS = ("mtf-glp-hpm-r", "gsa")
"""Classical methods to compare with; the first is the one to fall back to."""

_SIDE = 64
_MOST = 4
_WORSE_SPECTRUM = 2.0
_LEAST_SPECTRUM = 0.1
_WORSE_STRUCTURE = 0.1


@dataclass(frozen=True)
class Score:
    """Of one method on the sample windows.

    Args:
        r_ergas: The product through the MTF against the measured MS, in percent.
        d_rho: 1 - local correlation with PAN.
    """

    r_ergas: float
    d_rho: float


@dataclass(frozen=True)
class Verdict:
    """Network beside formulas.

    Args:
        learned: The network's score.
        classical: The worse of the anchors, index by index.
        reason: Why the network is not to be trusted here; None where it is.
    """

    learned: Score
    classical: Score
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """For the record; what is not finite is None."""
        scores = {
            name: {key: value if math.isfinite(value) else None for key, value in asdict(score).items()}
            for name, score in (("learned", self.learned), ("classical", self.classical))
        }
        return {**scores, "reason": self.reason}


def judge(
    learned: Fitted,
    anchors: Sequence[Fitted],
    samples: Sequence[Sample],
    sampling: Sampling,
    steps: int,
    device: torch.device | None = None,
) -> Verdict:
    """Compare on a few windows, all with the same back-projections.

    Args:
        learned: The network.
        anchors: Classical methods.
        samples: Windows spread over the scene.
        sampling: Where MS lies on PAN.
        steps: Back-projections.
        device: Where to compute; None for where the samples are.
    """
    chosen = [samples[round(i)] for i in torch.linspace(0, len(samples) - 1, min(_MOST, len(samples))).tolist()]
    ours, *theirs = (_score(fitted, chosen, sampling, steps, device) for fitted in (learned, *anchors))
    worst = Score(max(score.r_ergas for score in theirs), max(score.d_rho for score in theirs))
    return Verdict(ours, worst, _reason(ours, worst))


def _reason(ours: Score, worst: Score) -> str | None:
    # A network may know better than the stated MTF, which R-ERGAS believes, and than PAN: only clearly worse is worse.
    if not math.isfinite(ours.r_ergas + ours.d_rho):
        return "it is not finite"
    if ours.r_ergas > max(_WORSE_SPECTRUM * worst.r_ergas, worst.r_ergas + _LEAST_SPECTRUM):
        return f"R-ERGAS {ours.r_ergas:.2f} against {worst.r_ergas:.2f}"
    if ours.d_rho > worst.d_rho + _WORSE_STRUCTURE:
        return f"D_ρ {ours.d_rho:.3f} against {worst.d_rho:.3f}"
    return None


def _score(
    fitted: Fitted, samples: Sequence[Sample], sampling: Sampling, steps: int, device: torch.device | None
) -> Score:
    errors, structure, pixels = 0.0, 0.0, 0
    with torch.inference_mode():
        for sample in samples:
            tile = _tile(sample, sampling, device or sample.ms.device)
            out = back_project(fitted.fuse(tile), tile, steps)
            measured = tile.measured.expand_as(tile.ms)
            count = measured.sum((1, 2)).clamp(min=1)
            mean = torch.where(measured, tile.ms, 0).sum((1, 2)) / count
            error = residual(out, tile).square().sum((1, 2)) / count
            errors += float((error / mean.square().clamp(min=1e-12)).mean())
            valid = tile.valid
            if min(tile.pan.shape) < 5:
                continue
            alike = local_correlation(out, tile.pan).mean(0)
            inside = torch.ones_like(alike, dtype=torch.bool) if valid is None else valid.all(0)[2:-2, 2:-2]
            structure += float(torch.where(inside, 1 - alike, 0).sum())
            pixels += int(inside.sum())
    ratio = math.sqrt(sampling.ratio[0] * sampling.ratio[1])
    return Score(100 / ratio * math.sqrt(errors / len(samples)), structure / max(1, pixels))


def _tile(sample: Sample, sampling: Sampling, device: torch.device) -> Tile:
    """The middle of a sample."""
    ms_box = sample.ms_box.middle(_SIDE)
    pan_box = sampling.pan_box(
        ms_box, math.ceil(max(sampling.ratio) / 2), (sample.pan_box.rows.stop, sample.pan_box.cols.stop)
    )
    pan_box = pan_box.intersection(sample.pan_box)
    cut, pan_cut = ms_box.within(sample.ms_box), pan_box.within(sample.pan_box)
    valid, pan_valid = sample.ms_valid[(slice(None), *cut)], sample.pan_valid[pan_cut]
    ms = fill_invalid(sample.ms[(slice(None), *cut)], valid, 3 + sampling.largest_shift)
    whole = bool(valid.all()), bool(pan_valid.all())
    return Tile(
        ms.to(device),
        sample.pan[pan_cut].to(device),
        Operators(sampling, pan_box, ms_box, device=device, dtype=ms.dtype),
        None if whole[0] else valid.to(device),
        None if whole[1] else pan_valid.to(device),
    )
