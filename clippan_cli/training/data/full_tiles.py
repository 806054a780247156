"""Tiles at full resolution, as they are read and as a batch that networks take."""

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
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.training.data.pairs import Stretched
from clippan_cli.training.data.surveyed_scenes import Site


class RawTile(NamedTuple):
    """One tile as it was read.

    Args:
        site: The index of its scene.
        window: Its pixels, in scene units, and where they lie.
        lost: The scenes that could not be read on the way, and why.
    """

    site: int
    window: Window
    lost: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tiles(Stretched):
    """A batch of tiles.

    Args:
        sites: The scene of each tile.
        boxes: The MS and the PAN box of each tile, in its scene.
    """

    sites: tuple[Site, ...]
    boxes: tuple[tuple[Box, Box], ...]

    def singly(self) -> Iterator[tuple[Site, Tile]]:
        """Yield one tile after the other, as fusion methods take them, each with its scene."""
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
        """What the tiles show, for people."""
        parts = [
            f"{site.files.name} at MS row {ms_box.rows.start}, column {ms_box.cols.start}"
            for site, (ms_box, _) in zip(self.sites, self.boxes, strict=True)
        ]
        return "tiles " + "; ".join(parts)


def assemble(sites: Sequence[Site], raws: Sequence[RawTile], device: torch.device) -> Tiles:
    """Make a batch of tiles of one kind of scene."""
    chosen, windows = tuple(sites[raw.site] for raw in raws), [raw.window for raw in raws]
    boxes = tuple((window.ms_box, window.pan_box) for window in windows)
    ms = torch.stack([window.ms.values for window in windows]).to(device)
    pan = torch.stack([window.pan.values for window in windows])[:, None].to(device)
    parts = [site.sampling.within(*both) for site, both in zip(chosen, boxes, strict=True)]
    whole, small = Box.whole(pan.shape), Box.whole(ms.shape)
    operators = Operators(_join_bands(parts), whole, small, device=device)
    one = Operators(_join_bands([part.common for part in parts]), whole, small, device=device)
    low = one.up(one.down(pan[:, 0]))[:, None]
    traits = Traits(*(torch.cat(values) for values in zip(*(site.traits for site in chosen), strict=True)))
    return Tiles(
        ms=ms,
        pan=pan,
        ms_up=operators.up(ms.flatten(0, 1)).view(*ms.shape[:2], *pan.shape[2:]),
        context=as_context(traits, low, max(chosen[0].sampling.ratio)),
        operators=operators,
        sites=chosen,
        boxes=boxes,
        low=torch.stack([site.low for site in chosen]).to(device),
        high=torch.stack([site.high for site in chosen]).to(device),
        mixture=torch.stack([site.mixture for site in chosen]).to(device),
    )


def _join_bands(parts: Sequence[Sampling]) -> Sampling:
    """Return the sampling of the bands of all tiles, one after the other."""
    phases = tuple(phase for part in parts for phase in part.phases)
    return replace(parts[0], phases=phases, gains=tuple(gain for part in parts for gain in part.gains))
