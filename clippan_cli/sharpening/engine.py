"""Fusing a planned scene tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.memory import Memory
from clippan_cli.base.pipeline import Clock, Pipeline
from clippan_cli.errors import Interrupted
from clippan_cli.fusion.consistency import back_project, back_projection_halo
from clippan_cli.fusion.method import Fitted
from clippan_cli.opening.survey import Survey
from clippan_cli.opening.window import Window, read_window
from clippan_cli.scene.aoi import Aoi
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.writer import Writer
from clippan_cli.sharpening.blend import Blender
from clippan_cli.sharpening.plan import Plan
from clippan_cli.sharpening.quantiser import Quantiser

_Fused = tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]


@dataclass
class Engine:
    """Everything that turns a plan into pixels.

    Args:
        pair: The scene.
        known: Its survey.
        fitted: The method.
        consistency: Back-projections at the end.
        plan: The tiles.
        aoi: Where to sharpen; None for everywhere.
        quantiser: To the output's pixel type.
        writer: The output.
        device: Where to compute.
        clock: Where times are booked.
        memory: Kept below its bound.
        stop: Set from outside to stop after the row of tiles in work.
    """

    pair: Pair
    known: Survey
    fitted: Fitted
    consistency: int
    plan: Plan
    aoi: Aoi | None
    quantiser: Quantiser
    writer: Writer
    device: torch.device
    clock: Clock
    memory: Memory
    stop: Event = field(default_factory=Event)

    def run(
        self,
        first_row: int,
        counts: dict[str, int],
        booked: Callable[[int], None],
        progress: Callable[[int], None],
    ) -> None:
        """Fuse all rows of tiles from ``first_row`` on.

        Args:
            first_row: Rows before it are on disk already; the last of them is fused again for its seam.
            counts: Pixels clipped and moved, added up.
            booked: Called with a row's number once it is on disk.
            progress: Called with the PAN pixels done.

        Raises:
            Interrupted: ``stop`` was set.
        """
        begin = max(0, first_row - 1)
        done = self.plan.finished(begin, 0).rows.start - self.plan.box.rows.start
        progress(done * self.plan.box.cols.size)
        blender = Blender(self.plan, self.pair.ms.count, begin)
        for row in range(begin, self.plan.rows):
            fresh = row >= first_row
            if fresh:
                with self.writer.session():
                    self._row(row, blender, counts, progress, write=True)
                booked(row)
            else:
                self._row(row, blender, counts, progress, write=False)
            if self.stop.is_set() and row + 1 < self.plan.rows:
                raise Interrupted(f"stopped after row {row + 1} of {self.plan.rows}", "continue with --resume")

    def _row(
        self, row: int, blender: Blender, counts: dict[str, int], progress: Callable[[int], None], *, write: bool
    ) -> None:
        origin = self.plan.box

        def finish(job: tuple[int, Box], fused: _Fused) -> None:
            col, box = job
            done = self.plan.finished(row, col)
            pixels, valid = fused
            if pixels is None:
                pixels = np.zeros((self.pair.ms.count, *box.shape), np.float32)
            pixels = blender.add(row, col, pixels)
            if write:
                keep = valid if valid is None else valid[:, : done.shape[0], : done.shape[1]]
                if keep is not None and len(keep) > 1:
                    keep = keep[list(self.quantiser.bands)]
                out = self.quantiser(pixels, keep, counts)
                place = Box(
                    Span(done.rows.start - origin.rows.start, done.rows.stop - origin.rows.start),
                    Span(done.cols.start - origin.cols.start, done.cols.stop - origin.cols.start),
                )
                self.writer.write(place, out, None if keep is None else np.logical_or.reduce(keep))
            self.memory.check()
            progress(done.shape[0] * done.shape[1])

        Pipeline(self._read, self._fuse, finish, self.plan.workers, self.clock).run(enumerate(self.plan.tiles(row)))

    def _read(self, job: tuple[int, Box]) -> Window:
        pan_box = job[1].grow(self.plan.halo, self.pair.pan.grid.shape)
        ms_box = self.known.sampling.ms_box(pan_box, self.pair.ms.grid.shape)
        return read_window(self.pair, ms_box, pan_box)

    def _fuse(self, job: tuple[int, Box], window: Window) -> _Fused:
        """One tile: pixels ``(C, H, W)`` in DN, None where nothing is valid; validity, None where everything is."""
        reach = back_projection_halo(self.known.sampling, self.consistency)
        wanted = job[1].grow(reach, self.pair.pan.grid.shape)
        tile = window.tile(self.known.sampling, self.known.scale, self.device, wanted)
        cut = (slice(None), *job[1].within(window.pan_box))
        shown = tile.valid
        if self.aoi is not None:
            inside = torch.from_numpy(self.aoi.inside(window.pan_box)).to(self.device)[None]
            shown = inside if shown is None else shown & inside
        kept = None if shown is None else shown[cut].cpu().numpy()
        if kept is not None and not kept.any():
            return None, kept
        with torch.inference_mode():
            out = back_project(self.fitted.fuse(tile), tile, self.consistency)[cut]
            pixels = torch.mul(out, self.known.scale).cpu().numpy()
        return pixels, None if kept is None or kept.all() else kept
