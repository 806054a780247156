"""Tiles at full resolution, read straight from the rasters by worker processes, valid pixels only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.method import Tile
from clippan_cli.fusion.traits import Traits, as_context
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels
from clippan_cli.physics.sampling import Sampling
from clippan_cli.training.data.pairs import Pairs
from clippan_cli.training.data.surveyed_scenes import Site


class RawTile(NamedTuple):
    """Pixels of one tile.

    Args:
        site: Index of its scene.
        ms_box: Where on MS's grid.
        pan_box: Where on PAN's grid.
        ms: ``(C, h, w)`` in scene units.
        pan: ``(H, W)`` in scene units.
        lost: Scenes that could not be read on the way, and why.
    """

    site: int
    ms_box: Box
    pan_box: Box
    ms: Tensor
    pan: Tensor
    lost: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tiles(Pairs):
    """A batch of tiles.

    Args:
        sites: The scene of each.
        boxes: MS and PAN box of each, in its scene.
        low: ``(B, C + 1)``, what is dark in MS and in PAN.
        high: ``(B, C + 1)``, what is bright.
    """

    sites: tuple[Site, ...]
    boxes: tuple[tuple[Box, Box], ...]
    low: Tensor
    high: Tensor

    def bands(self, x: Tensor) -> Tensor:
        """Bands ``(B, C, H, W)`` of which 0 and 1 are the dark and the bright end."""
        return self._stretched(x, slice(0, -1))

    def pans(self, x: Tensor) -> Tensor:
        """PAN ``(B, 1, H, W)`` likewise."""
        return self._stretched(x, slice(-1, None))

    def _stretched(self, x: Tensor, which: slice) -> Tensor:
        low, high = (end[:, which, None, None] for end in (self.low, self.high))
        return (x - low) / (high - low)

    def singly(self) -> Iterator[tuple[Site, Tile]]:
        """One after the other, as fusion methods take them."""
        for i, (site, (ms_box, pan_box)) in enumerate(zip(self.sites, self.boxes, strict=True)):
            operators = Operators(site.sampling, pan_box, ms_box, device=self.ms.device)
            yield site, Tile(Pixels(self.ms[i]), Pixels(self.pan[i, 0]), operators)

    @property
    def overlaps(self) -> Tensor:
        """``(B, B)``, True where two tiles share MS pixels."""
        places = [(site.files, ms_box) for site, (ms_box, _) in zip(self.sites, self.boxes, strict=True)]
        return torch.tensor([[one == other and a.meets(b) for other, b in places] for one, a in places])

    @property
    def where(self) -> str:
        """What it shows, for people."""
        parts = [
            f"{site.files.name} at MS row {ms_box.rows.start}, column {ms_box.cols.start}"
            for site, (ms_box, _) in zip(self.sites, self.boxes, strict=True)
        ]
        return "tiles " + "; ".join(parts)


def assemble(sites: Sequence[Site], raws: Sequence[RawTile], device: torch.device) -> Tiles:
    """A batch of tiles of one kind of scene."""
    chosen = tuple(sites[raw.site] for raw in raws)
    ms = torch.stack([raw.ms for raw in raws]).to(device)
    pan = torch.stack([raw.pan for raw in raws])[:, None].to(device)
    parts = [site.sampling.within(raw.ms_box, raw.pan_box) for site, raw in zip(chosen, raws, strict=True)]
    whole, small = Box.whole(pan.shape), Box.whole(ms.shape)
    operators = Operators(_joined(parts), whole, small, device=device)
    one = Operators(_joined([part.common for part in parts]), whole, small, device=device)
    low = one.up(one.down(pan[:, 0]))[:, None]
    traits = Traits(*(torch.cat(values) for values in zip(*(site.traits for site in chosen), strict=True)))
    return Tiles(
        ms,
        pan,
        operators.up(ms.flatten(0, 1)).view(*ms.shape[:2], *pan.shape[2:]),
        as_context(traits, low, max(chosen[0].sampling.ratio)),
        operators,
        sites=chosen,
        boxes=tuple((raw.ms_box, raw.pan_box) for raw in raws),
        low=torch.stack([site.low for site in chosen]).to(device),
        high=torch.stack([site.high for site in chosen]).to(device),
    )


def _joined(parts: Sequence[Sampling]) -> Sampling:
    """The bands of all tiles, one after the other."""
    phases = tuple(phase for part in parts for phase in part.phases)
    return replace(parts[0], phases=phases, gains=tuple(gain for part in parts for gain in part.gains))
