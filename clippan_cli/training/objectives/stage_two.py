"""Stage II of CLIPPan: the losses, and how a network stands: before the truth, and beside formulas."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.method import Tile
from clippan_cli.fusion.registry import ANCHORS, method
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.data.pairs import Batch, Pairs
from clippan_cli.training.data.reduced_scene import ReducedScene
from clippan_cli.training.data.simulated_pairs import margin
from clippan_cli.training.data.surveyed_scenes import Site
from clippan_cli.training.data.tile_reader import TileStream
from clippan_cli.training.loop.task import Task
from clippan_cli.training.objectives.simulated import fuse
from clippan_cli.training.objectives.truth import TRUTH, Truth, means, over
from clippan_cli.training.objectives.with_truth import back_project_pairs, measure_errors
from clippan_cli.training.objectives.without_truth import (
    INDICES,
    anchor_loss,
    free_of_pan_gain,
    imitation_loss,
    judge,
    language_loss,
    quality_loss,
    spatial_loss,
    spectral_loss,
    structural_loss,
)
from clippan_cli.training.options import TrainOptions

LOSSES = {
    "truth": 1.0,
    "language": 0.0,
    "spectral": 1.0,
    "spatial": 0.0,
    "quality": 0.0,
    "structure": 0.0,
    "teacher": 0.0,
    "anchor": 100.0,
}
"""The losses with their weights: error and angle one scale down; then, at full resolution, L_d, L_spec, L_spat and
L_QNR (CLIPPan's Table 2), λ-PNN's structure, the teacher and the distance from the start.

A loss whose gradient does not point to the truth where a trained network stands (``clippan ablate gradient``) has no
weight: L_QNR, and the language. Structure points there, but trained networks have learned what it asks.
"""

ANEW = {"structure": 0.2, "teacher": 0.2, "anchor": 0.0}
"""What is different for a network that begins anew: it has no start to stay near, and a teacher to learn from."""

PAPER = {"language": 0.05, "spatial": 1.0, "quality": 0.2, "teacher": 0.2}
"""The weights of the paper's losses that have none by default, where its tables ask for them."""

_ABOVE = "above_start"
_TINY = 1e-9
_WARM = (0.2, 0.4)
_ANGLE = 1.0
_DRIFT = math.log(1.1)
"""How much more R-ERGAS, as a logarithm, a network may have than its start and still be taken for it."""


class Sample(NamedTuple):
    """What a step learns from.

    Args:
        tiles: Tiles at full resolution.
        pair: A pair one scale down; None where its loss is off.
    """

    tiles: Tiles
    pair: Batch | None


class FullResolution(Task):
    """Weighs the losses of stage II, and judges a network by the truth one scale down.

    Args:
        stream: Gives the tiles of each step.
        lessons: Scenes one scale down to learn from.
        held: The tiles to validate on.
        truth: Asks the truth, on what is kept aside; None in a process that does not validate.
        supervisor: The supervisor, on its device; None where the language loss is off.
        weights: The weight of each loss, by its name.
        options: What the user says of the rest.
        start: The network as it begins.
    """

    ranks = True

    def __init__(
        self,
        *,
        stream: TileStream,
        lessons: Sequence[ReducedScene],
        held: Sequence[Tiles],
        truth: Truth | None,
        supervisor: Supervisor | None,
        weights: Mapping[str, float],
        options: TrainOptions,
        start: nn.Module,
    ) -> None:
        self._stream, self._lessons, self._held, self._truth = stream, lessons, held, truth
        self._supervisor, self._weights, self._options = supervisor, weights, options
        self._start = copy.deepcopy(start).eval().requires_grad_(requires_grad=False)
        self.terms = tuple(name for name, weight in weights.items() if weight)
        self.checks = (_ABOVE, *TRUTH, *INDICES, *(("validation_language",) if supervisor is not None else ()))
        self.beside: dict[str, dict[str, float]] = {}
        if truth is not None:
            with torch.no_grad():
                self._stand_beside(truth)

    def _stand_beside(self, truth: Truth) -> None:
        """Judge interpolation, formulas and the start."""
        steps = self._options.consistency
        for name in ("exp", *ANCHORS):
            found = truth.measure_method(method(name), 0 if name == "exp" else steps)
            full = _means([self._judge(self._classical(name, tiles), tiles) for tiles in self._held])
            self.beside[name] = {**means(found), **full}
        self._began = truth.measure(lambda pair: self._out(self._start, pair))
        self.beside["start"] = {**means(self._began), **self._at_full_resolution(self._start)}

    def row(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return the indices of a table: what is measured of each image by itself."""
        return {name: found[name] for name in self.checks if name != _ABOVE}

    def draw(self, iteration: int, size: int) -> Sample:
        """See :meth:`Task.draw`."""
        chance = Draw.of(self._options.seed, iteration)
        pair = self._lessons[chance.below(len(self._lessons))].crop(chance) if "truth" in self.terms else None
        return Sample(self._stream(iteration, size), pair)

    def losses(self, net: nn.Module, sample: Sample) -> dict[str, Tensor]:
        """See :meth:`Task.losses`."""
        tiles = sample.tiles
        out = self._out(net, tiles)
        found = {
            "truth": lambda: self._error(net, sample.pair),
            "spectral": lambda: spectral_loss(out, tiles, self._options.degradation),
            "spatial": lambda: spatial_loss(out, tiles),
            "quality": lambda: quality_loss(out, tiles),
            "structure": lambda: structural_loss(out, tiles),
            "teacher": lambda: imitation_loss(out, self._taught(tiles), tiles),
            "anchor": lambda: anchor_loss(out, self._began_with(tiles), tiles),
            "language": lambda: self._language(out, tiles),
        }
        return {name: found[name]() for name in self.terms}

    def weights(self, progress: float) -> dict[str, float]:
        """Let the language's weight rise when there is something to see, and the teacher's fall to 0."""
        begin, end = _WARM
        rise = min(1.0, max(0.0, (progress - begin) / (end - begin)))
        fall = 1.0 if self._options.keep_teacher else 1 - progress
        shares = {"language": rise, "teacher": fall}
        return {name: weight * shares.get(name, 1.0) for name, weight in self._weights.items()}

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Ask the truth one scale down, and average what :func:`judge` finds over the tiles kept aside."""
        assert self._truth is not None
        found = self._truth.measure(lambda pair: self._out(net, pair))
        return {_ABOVE: over(found, self._began), **means(found), **self._at_full_resolution(net)}

    def score(self, found: Mapping[str, float]) -> float:
        """Return how much worse than its start the net is, by the truth; one that has left MS does not count.

        No index at full resolution is asked but R-ERGAS, and that one only sets a bound: all of them can be had by
        making an image worse.
        """
        drift = math.log(max(found["r_ergas"], _TINY) / max(self.beside["start"]["r_ergas"], _TINY)) - _DRIFT
        return found[_ABOVE] if drift <= 0 else math.inf

    def beats_start(self, net: nn.Module) -> bool:
        """Tell whether a network is better than the start, before the truth."""
        with torch.no_grad():
            return self.score(self.validate(net)) < 0

    def where(self, sample: Sample) -> str:
        """See :meth:`Task.where`."""
        return sample.tiles.where

    def shown(self, net: nn.Module) -> tuple[Tensor, Tiles]:
        """Fuse the first tile that is kept aside: ``(C, H, W)``, and what it was made of."""
        tiles = self._held[0]
        return self._out(net, tiles)[0], tiles

    @property
    def skipped(self) -> int:
        """The number of scenes that could not be read to the end."""
        return len(self._stream.lost)

    def _at_full_resolution(self, net: nn.Module) -> dict[str, float]:
        return _means([self._judge(self._out(net, tiles), tiles) for tiles in self._held])

    def _out(self, net: nn.Module, pairs: Pairs) -> Tensor:
        return back_project_pairs(fuse(net, pairs), pairs, self._options.consistency)

    def _error(self, net: nn.Module, pair: Batch | None) -> Tensor:
        assert pair is not None
        error, angle = measure_errors(self._out(net, pair), pair, margin(pair.context.ratio))
        return error + _ANGLE * angle

    def _judge(self, out: Tensor, tiles: Tiles) -> dict[str, float]:
        row = judge(out, tiles)
        if self._supervisor is not None:
            row["validation_language"] = float(language_loss(out, self._supervisor, tiles))
        return row

    def _language(self, out: Tensor, tiles: Tiles) -> Tensor:
        assert self._supervisor is not None
        return free_of_pan_gain(partial(language_loss, supervisor=self._supervisor, tiles=tiles), out, tiles)

    def _taught(self, tiles: Tiles) -> Tensor:
        with torch.no_grad():
            return torch.stack([self._product(site, "teacher", tile) for site, tile in tiles.singly()])

    def _began_with(self, tiles: Tiles) -> Tensor:
        with torch.no_grad():
            return self._out(self._start, tiles)

    def _classical(self, name: str, tiles: Tiles) -> Tensor:
        if name == "exp":
            return tiles.ms_up
        return torch.stack([self._product(site, name, tile) for site, tile in tiles.singly()])

    def _product(self, site: Site, name: str, tile: Tile) -> Tensor:
        return back_project(site.fitted[name].fuse(tile), tile, self._options.consistency)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
