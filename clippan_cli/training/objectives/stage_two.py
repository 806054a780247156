"""Stage II of CLIPPan: the losses at full resolution, and how a network stands beside formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.method import Tile
from clippan_cli.fusion.registry import ANCHORS
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.data.surveyed_scenes import Site
from clippan_cli.training.data.tile_reader import TileStream
from clippan_cli.training.loop.task import Task
from clippan_cli.training.objectives.simulated import fuse
from clippan_cli.training.objectives.with_truth import back_project_pairs
from clippan_cli.training.objectives.without_truth import (
    INDICES,
    imitation_loss,
    judge,
    quality_loss,
    spatial_loss,
    spectral_loss,
    structural_loss,
)
from clippan_cli.training.options import TrainOptions

LOSSES = {"language": 0.05, "spectral": 1.0, "spatial": 0.0, "quality": 0.2, "structure": 0.2, "teacher": 0.2}
"""L_d, L_spec, L_spat, L_QNR, λ-PNN's structure and the teacher, with their weights (CLIPPan's Table 2).

The teacher is for networks that begin anew: one that begins as its own teacher would only be held back.
"""

_WARM = (0.2, 0.4)


class FullResolution(Task):
    """Weighs the losses of stage II, and compares a network with interpolation and formulas on tiles kept aside.

    Args:
        stream: Gives the tiles of each step.
        held: The tiles to validate on.
        supervisor: The supervisor, on its device; None where the language loss is off.
        weights: The weight of each loss, by its name.
        options: What the user says of the rest.
        init: The network as it begins; None where it has learned nothing before.
    """

    def __init__(
        self,
        *,
        stream: TileStream,
        held: Sequence[Tiles],
        supervisor: Supervisor | None,
        weights: Mapping[str, float],
        options: TrainOptions,
        init: nn.Module | None,
    ) -> None:
        self._stream, self._held, self._supervisor = stream, held, supervisor
        self._weights, self._options = weights, options
        self.terms = tuple(name for name, weight in weights.items() if weight)
        self.checks = (*INDICES, *(("validation_language",) if supervisor is not None else ()))
        self.beside: dict[str, dict[str, float]] = {}
        with torch.no_grad():
            for name in ("exp", *ANCHORS) if held else ():
                self.beside[name] = _means([self._judge(self._classical(name, tiles), tiles) for tiles in held])
            if init is not None and held:
                self.beside["init"] = self.validate(init)

    def draw(self, iteration: int, size: int) -> Tiles:
        """See :meth:`Task.draw`."""
        return self._stream(iteration, size)

    def losses(self, net: nn.Module, sample: Tiles) -> dict[str, Tensor]:
        """See :meth:`Task.losses`."""
        out = self._out(net, sample)
        found = {
            "spectral": lambda: spectral_loss(out, sample, self._options.degradation),
            "spatial": lambda: spatial_loss(out, sample),
            "quality": lambda: quality_loss(out, sample),
            "structure": lambda: structural_loss(out, sample),
            "teacher": lambda: imitation_loss(out, self._taught(sample), sample),
            "language": lambda: self._language(out, sample).mean(),
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
        """Average what :func:`judge` finds over the tiles kept aside."""
        return _means([self._judge(self._out(net, tiles), tiles) for tiles in self._held])

    def score(self, found: Mapping[str, float]) -> float:
        """Return how much worse than the better formula the net is, on three indices alike (logarithms)."""
        theirs = [self.beside[name] for name in ANCHORS]
        parts = [_loss(name, found[name]) - min(_loss(name, row[name]) for row in theirs) for name in INDICES]
        return sum(parts) / len(parts)

    def where(self, sample: Tiles) -> str:
        """See :meth:`Task.where`."""
        return sample.where

    def shown(self, net: nn.Module) -> tuple[Tensor, Tiles]:
        """Fuse the first tile that is kept aside: ``(C, H, W)``, and what it was made of."""
        tiles = self._held[0]
        return self._out(net, tiles)[0], tiles

    @property
    def skipped(self) -> int:
        """The number of scenes that could not be read to the end."""
        return len(self._stream.lost)

    def _out(self, net: nn.Module, tiles: Tiles) -> Tensor:
        return back_project_pairs(fuse(net, tiles), tiles, self._options.consistency)

    def _judge(self, out: Tensor, tiles: Tiles) -> dict[str, float]:
        row = judge(out, tiles)
        if self._supervisor is not None:
            row["validation_language"] = float(self._language(out, tiles))
        return row

    def _language(self, out: Tensor, tiles: Tiles) -> Tensor:
        assert self._supervisor is not None
        return self._supervisor.directional(tiles.bands(out), tiles.bands(tiles.ms_up), tiles.pans(tiles.pan))

    def _taught(self, tiles: Tiles) -> Tensor:
        with torch.no_grad():
            return torch.stack([self._product(site, "teacher", tile) for site, tile in tiles.singly()])

    def _classical(self, name: str, tiles: Tiles) -> Tensor:
        if name == "exp":
            return tiles.ms_up
        return torch.stack([self._product(site, name, tile) for site, tile in tiles.singly()])

    def _product(self, site: Site, name: str, tile: Tile) -> Tensor:
        return back_project(site.fitted[name].fuse(tile), tile, self._options.consistency)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _loss(name: str, value: float) -> float:
    apart = 1 - value if name == "hqnr" else value
    return math.log(max(1e-6, apart)) if math.isfinite(apart) else math.inf
