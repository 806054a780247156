"""Refinement: the mixture of what bands get, found by least squares on scenes one scale down.

Nothing is searched for step by step: the error after back-projection is linear in the weights of the mixture. How
freely they may follow a scene is decided on parts of it that they were not found on; where nothing helps, nothing
changes.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.errors import Interrupted
from clippan_cli.networks.refined import Refined
from clippan_cli.physics.operators import Operators
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.reduced_scene import ReducedScene, reduce_through_all
from clippan_cli.training.objectives.with_truth import back_project_pairs

_BLOCK = 48
_LEAST_BLOCKS, _MOST_BLOCKS = 2, 4
_FOLDS = 2
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_TRUST = 0.6
_TINY = 1e-30
_LEAST_TO_LOOK_UP = 16


@dataclass(frozen=True)
class Sums:
    """Holds the sums of squares and products over one block of a scene.

    Args:
        fold: The part of the scene in which the block lies.
        forms: ``(C, K, K)``, the products of the forms of each band.
        answers: ``(C, K)``, the products of the forms and of what the product lacks of the truth.
        error: The squares of what it lacks, of all bands.
    """

    fold: int
    forms: Tensor
    answers: Tensor
    error: float

    def ratio(self, weights: Tensor) -> float:
        """Return by how much weights ``(C, K)`` change the error: the logarithm of a ratio."""
        square = torch.einsum("ck,ckl,cl->", weights, self.forms, weights)
        left = self.error + float(square - 2 * (weights * self.answers).sum())
        return 0.5 * math.log(max(left, _TINY) / max(self.error, _TINY))


def refine(
    net: Refined,
    lessons: Sequence[ReducedScene],
    *,
    consistency: int,
    hears: Listener,
    stop: Event,
    seconds: float = math.inf,
) -> Mapping[float, float]:
    """Find the mixture of a network, and leave it in the network.

    Other ground of the same sensor is not quite the same: the weights go a part of the way only.

    Args:
        net: The network.
        lessons: Scenes one scale down.
        consistency: The number of back-projections that follow.
        hears: Hears of progress.
        stop: Set it to stop after the block in work.
        seconds: After how many seconds no further blocks are looked at.

    Returns:
        For each ridge that was tried: the error on parts of the scenes that the weights were not found on, over that
        without them.

    Raises:
        Interrupted: ``stop`` was set.
    """
    blocks = _spread([(lesson, *block) for lesson in lessons for block in _blocks(lesson)])
    hears.begin("refining", len(blocks))
    sums: list[Sums] = []
    began = time.perf_counter()
    for lesson, fold, box in blocks:
        if stop.is_set():
            raise Interrupted("stopped while refining", "begin again: it takes seconds")
        if len({each.fold for each in sums}) == _FOLDS**2 and time.perf_counter() - began > seconds:
            hears.say(f"{len(sums)} of {len(blocks)} blocks were looked at in {seconds:g} s")
            break
        sums.append(_sum_up(net, lesson, fold, box, consistency))
        hears.advance(1)
    held_out = {ridge: _hold_out(sums, ridge) for ridge in _RIDGES}
    ridge = min(_RIDGES, key=held_out.__getitem__)
    with torch.no_grad():
        net.mixture.copy_(_TRUST * _solve(sums, ridge) if held_out[ridge] < 1 else torch.zeros_like(net.mixture))
    return held_out


def look_up(
    net: Refined, lessons: Sequence[ReducedScene], *, consistency: int, blind: bool, stop: Event
) -> float | None:
    """Ask of scenes whether what they teach holds one scale up: there the network is to work, and no truth is known.

    What is learned two scales down is judged one scale down.

    Args:
        net: The network; its mixture does not matter, and is kept.
        lessons: Scenes one scale down, each through the optics that are believed.
        consistency: The number of back-projections that follow.
        blind: Whether the optics are measured.
        stop: Set it to stop after the block in work.

    Returns:
        The error one scale down, over that without what was learned; None where the scenes are too small to ask.

    Raises:
        Interrupted: ``stop`` was set.
    """
    found = []
    for lesson in lessons:
        pair = lesson.pair
        if min(pair.ms.shape[1:]) < _LEAST_TO_LOOK_UP * max(pair.sampling.ratio):
            continue
        below = reduce_through_all(pair.ms.cpu(), pair.pan.cpu(), pair.sampling, blind=blind)
        pupil = copy.deepcopy(net)
        refine(pupil, [each.to(pair.ms.device) for each in below], consistency=consistency, hears=Deaf(), stop=stop)
        weights = pupil.mixture.detach().double()
        found += [_sum_up(net, lesson, fold, box, consistency).ratio(weights) for fold, box in _blocks(lesson)]
    return math.exp(sum(found) / len(found)) if found else None


def _hold_out(sums: Sequence[Sums], ridge: float) -> float:
    """Return the error where the weights were not found, over that without them: the geometric mean over blocks."""
    total = 0.0
    for fold in {each.fold for each in sums}:
        weights = _TRUST * _solve([each for each in sums if each.fold != fold], ridge)
        total += sum(each.ratio(weights) for each in sums if each.fold == fold)
    return math.exp(total / len(sums))


def _solve(sums: Sequence[Sums], ridge: float) -> Tensor:
    """Return the weights ``(C, K)`` of least squares, which a ridge draws to 0."""
    forms = torch.stack([each.forms for each in sums]).sum(0)
    answers = torch.stack([each.answers for each in sums]).sum(0)
    unit = forms.diagonal(dim1=1, dim2=2).clamp(min=_TINY).sqrt()
    alike = forms / (unit[:, :, None] * unit[:, None, :]) + ridge * torch.eye(unit.shape[1]).to(unit)
    weights: Tensor = torch.linalg.solve(alike, answers / unit) / unit
    return weights


def _spread(blocks: list[tuple[ReducedScene, int, Box]]) -> list[tuple[ReducedScene, int, Box]]:
    """Order blocks so that the first few come from everywhere: those that time is left for."""
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0))
    return [blocks[k] for k in order.tolist()]


def _blocks(lesson: ReducedScene) -> Iterator[tuple[int, Box]]:
    """Yield MS windows spread over a scene, each with the part of the scene in which it lies."""
    rows, cols = (_spans(size) for size in lesson.area.shape)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            fold = _FOLDS * (_FOLDS * i // len(rows)) + _FOLDS * j // len(cols)
            yield fold, Box(row, col).moved(*lesson.area.corner)


def _spans(size: int) -> list[Span]:
    """Return a few parts of a line, evenly spread."""
    count = min(max(size // _BLOCK, _LEAST_BLOCKS), _MOST_BLOCKS)
    side = min(_BLOCK, size // count)
    return [Span(start, start + side) for start in (round(k * (size - side) / (count - 1)) for k in range(count))]


@torch.inference_mode()
def _sum_up(net: Refined, lesson: ReducedScene, fold: int, box: Box, consistency: int) -> Sums:
    """Fuse a block with its surroundings, and compare the block with the truth."""
    batch, inner = lesson.surround(box)
    detail, common, own = net.forms(batch.ms_up, batch.pan, batch.context)
    lacking = (batch.truth - back_project_pairs(batch.ms_up + detail, batch, consistency))[0]
    level = batch.ms_up[0].square().mean(0)
    forms, answers, error = [], [], 0.0
    for band, mean in enumerate(batch.context.mean[0]):
        # What is wrong of a band (ERGAS), and of the colour of a pixel (SAM), counts alike.
        weight = (1 / mean.square().clamp(min=_TINY) + 1 / level.clamp(min=_TINY))[inner].flatten().double().sqrt()
        known = torch.cat([common[0], *(form[0, band : band + 1] for form in own)])
        unmeasured = _unmeasured(known, batch, band, consistency)
        x = unmeasured[(slice(None), *inner)].flatten(1).double() * weight
        y = lacking[(band, *inner)].flatten().double() * weight
        forms.append(x @ x.T)
        answers.append(x @ y)
        error += float(y @ y)
    return Sums(fold, torch.stack(forms), torch.stack(answers), error)


def _unmeasured(planes: Tensor, batch: Batch, band: int, steps: int) -> Tensor:
    """Take out of planes ``(K, H, W)`` what back-projection takes out of a band: what MS has measured."""
    all_of, count = batch.operators, len(planes)
    operators = Operators(all_of.sampling.pick([band] * count), all_of.pan_box, all_of.ms_box, device=planes.device)
    nothing = batch.ms.new_zeros(1, count, *batch.ms.shape[2:])
    return back_project_pairs(planes[None], replace(batch, ms=nothing, operators=operators), steps)[0]
