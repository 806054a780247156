"""Tiles read straight from the rasters by worker processes, valid pixels only."""

from __future__ import annotations

import os
import signal
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from rasterio.errors import RasterioError
from torch.utils.data import DataLoader, Dataset

from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.errors import ClippanError, InputError, ResourceError
from clippan_cli.opening.scene import open_files, set_up_gdal
from clippan_cli.opening.window import read_window
from clippan_cli.scene.pair import Pair
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.full_tiles import RawTile, Tiles, assemble
from clippan_cli.training.data.surveyed_scenes import Geometry, Site
from clippan_cli.training.loop.distributed import Group

HELD = 16
"""The number of tiles that are kept aside to validate on."""

_TRIES = 40
_DRAWS = 8
_MOST_OPEN = 32
_HELD_SEED = 1 << 20


class Unreadable(NamedTuple):
    """Stands for a tile that there is not: an exception would lose its hint on the way from a worker process.

    Args:
        what: What is wrong, for people.
    """

    what: str


class TileReader(Dataset[RawTile | Unreadable]):
    """Reads tiles by number: a seed and a number make a tile, in whatever process.

    Args:
        sites: The scenes.
        seed: The seed of all that is drawn.
        held: Whether to take tiles that are validated on instead of those that are learned from.
    """

    def __init__(self, sites: Sequence[Site], seed: int, *, held: bool = False) -> None:
        self._sites, self._seed, self._held = sites, seed, held
        self._open: OrderedDict[int, Pair] = OrderedDict()
        self._usable: list[list[int]] | None = None
        self._lost: dict[int, str] = {}
        kinds: dict[object, list[int]] = {}
        for index, site in enumerate(sites):
            if self._area(site) is not None:
                kinds.setdefault(site.kind, []).append(index)
        self._kinds = list(kinds.values())

    def __getitem__(self, number: tuple[int, int]) -> RawTile | Unreadable:
        """Read tile ``number[1]`` of batch ``number[0]``; those of a batch are of one kind of scene."""
        batch, place = number
        if not self._kinds:
            return Unreadable("there is no scene to take tiles from")
        if self._usable is None:
            # The same in all processes: a batch is of one kind.
            self._usable = [kind for kind in self._kinds if self._search(kind, 0) is not None]
        if self._usable:
            kind = self._usable[Draw(self._seed * 7_919 + batch).pick([float(len(kind)) for kind in self._usable])]
            found = self._search(kind, (self._seed * 1_000_003 + batch) * 1_009 + place)
            if found is not None:
                return found._replace(lost=tuple(self._lost.items()))
        lost = "; ".join(f"{self._sites[i].files.name}: {why}" for i, why in self._lost.items())
        return Unreadable(f"no tile without gaps was found{lost and f' ({lost})'}")

    def _search(self, kind: Sequence[int], seed: int) -> RawTile | None:
        """Read a tile of one of the scenes, tried in random order; what cannot be read is lost."""
        for index in (kind[i] for i in Draw(seed).order(len(kind)).tolist()):
            if index in self._lost:
                continue
            try:
                # Not the same generator for all: the draws must not depend on what is known to be lost.
                found = self._tile(index, Draw(seed * 4_099 + index))
            except (RasterioError, ClippanError, OSError) as error:
                self._lost[index] = str(error)
                continue
            if found is not None:
                return found
        return None

    def _tile(self, index: int, draw: Draw) -> RawTile | None:
        """Read a random tile of a scene without invalid pixels; return None after many tries."""
        site = self._sites[index]
        pair, area = self._pair(index), self._area(site)
        assert area is not None
        size = site.tile
        for _ in range(_TRIES):
            ms_box = draw.box(area, (size.ms, size.ms))
            pan_box = _pan_box(site, ms_box, size)
            if pan_box is None:
                continue
            window = read_window(pair, ms_box, pan_box)
            if window.valid:
                return RawTile(index, window.divided(site.scale))
        return None

    def _pair(self, index: int) -> Pair:
        """Open a scene's rasters; few stay open, for an archive has more scenes than a process may have files."""
        if index not in self._open:
            site = self._sites[index]
            with set_up_gdal(site.options):
                self._open[index] = open_files(site.files, site.options)
        self._open.move_to_end(index)
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return self._open[index]

    def _area(self, site: Site) -> Box | None:
        return site.held if self._held else site.learned


def _pan_box(site: Site, ms_box: Box, size: Geometry) -> Box | None:
    """Return the middle of what the MS pixels cover; None where that is not all on PAN."""
    corner = []
    for axis in (0, 1):
        ratio = site.sampling.ratio[axis]
        edge = site.sampling.nominal[axis] + ratio * (ms_box[axis].start - 0.5) + 0.5
        start, last = round(edge + (ratio * size.ms - size.pan) / 2), site.pan_shape[axis] - size.pan
        # A Landsat PAN ends within its last MS pixel.
        if -1 <= start <= last + 1 and last >= 0:
            start = min(max(start, 0), last)
        if not 0 <= start <= last:
            return None
        corner.append(start)
    return Box.at(corner, (size.pan, size.pan))


class TileStream:
    """Gives the tiles of one step after the other.

    Args:
        sites: The scenes.
        batch: The number of tiles in a step, over all processes of the group.
        seed: The seed of all that is drawn.
        workers: The number of processes that read; with 0 this one does.
        group: The processes that share the steps, and the device where batches go.
        hears: Hears of scenes that cannot be read.
    """

    def __init__(
        self,
        *,
        sites: Sequence[Site],
        batch: int,
        seed: int,
        workers: int,
        group: Group,
        hears: Listener,
    ) -> None:
        self._reader, self._sites = TileReader(sites, seed), sites
        self._batch, self._workers, self._group, self._hears = batch, workers, group, hears
        self._steps: Iterator[list[RawTile | Unreadable]] | None = None
        self._at, self._raws = -1, list[RawTile]()
        self.lost: dict[int, str] = {}

    def __call__(self, iteration: int, size: int) -> Tiles:
        """Return the tiles of a step, or, where memory is short, the first ``size`` of them."""
        if iteration != self._at:
            if self._steps is None or iteration != self._at + 1:
                self._steps = self._begin(iteration)
            try:
                found = next(self._steps)
            except RuntimeError as error:
                raise ResourceError(
                    f"a process that reads tiles has ended: {str(error).splitlines()[0]}", "fewer `jobs`, or `jobs=0`"
                ) from error
            self._at, self._raws = iteration, [_check_read(raw) for raw in found]
            self._warn()
        return assemble(self._sites, self._raws[:size], self._group.device)

    def _begin(self, first: int) -> Iterator[list[RawTile | Unreadable]]:
        loader = DataLoader(
            self._reader,
            batch_sampler=_Numbers(first, self._group.share(self._batch)),
            num_workers=min(self._workers, len(os.sched_getaffinity(0))),
            collate_fn=list,
            worker_init_fn=_ignore_interrupts,
        )
        return iter(loader)

    def _warn(self) -> None:
        """Name each scene once that could not be read."""
        for raw in self._raws:
            for index, why in raw.lost:
                if index not in self.lost:
                    self.lost[index] = why
                    self._hears.warn(f"scene {self._sites[index].files.name} is skipped from here on: {why}")


def _ignore_interrupts(_: int) -> None:
    """Leave Ctrl-C to the process that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_read(raw: RawTile | Unreadable) -> RawTile:
    """Return the tile, or raise what is wrong."""
    if isinstance(raw, Unreadable):
        raise InputError(raw.what, "give scenes with more valid pixels")
    return raw


@dataclass(frozen=True)
class _Numbers:
    """Numbers the tiles, step by step, without end.

    Args:
        first: The first step.
        places: The places in a step that this process reads.
    """

    first: int
    places: range

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self.first
        while True:
            yield [(step, place) for place in self.places]
            step += 1


def held_tiles(sites: Sequence[Site], count: int, device: torch.device, hears: Listener) -> list[Tiles]:
    """Read tiles to validate on, each by itself: always the same, whatever is trained; they do not overlap."""
    for held in (True, False):
        reader, apart = TileReader(sites, _HELD_SEED, held=held), list[RawTile]()
        for number in range(_DRAWS * count):
            raw = reader[number, 0]
            if isinstance(raw, Unreadable):
                break
            if not any(raw.site == one.site and raw.window.ms_box.meets(one.window.ms_box) for one in apart):
                apart.append(raw)
            if len(apart) == count:
                break
        if apart:
            break
        hears.warn("what is kept aside has no tile without gaps: validation is on what is learned from")
    if not apart:
        _check_read(raw)
    return [assemble(sites, [raw], device) for raw in apart]
