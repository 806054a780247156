"""The engine that fuses a planned scene tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box
from clippan_cli.base.pipeline import Clock, Pipeline
from clippan_cli.errors import Interrupted
from clippan_cli.fusion.consistency import back_project, back_projection_halo
from clippan_cli.fusion.method import Fitted, make_tile
from clippan_cli.physics.pixels import Validity, Window
from clippan_cli.scene.writer import Writer
from clippan_cli.sharpening.blend import Blender
from clippan_cli.sharpening.job import Job
from clippan_cli.sharpening.quantiser import Changes, Quantiser

_Fused = tuple[NDArray[np.float32] | None, Validity]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Turns a plan into pixels.

    Args:
        job: The scene and the plan.
        fitted: The method, which knows the scene.
        quantiser: The quantiser to the output's pixel type.
        writer: The writer of the output.
        clock: The clock that books the times.
        stop: The event that stops the run after the row of tiles in work.
    """

    job: Job
    fitted: Fitted
    quantiser: Quantiser
    writer: Writer
    clock: Clock
    stop: Event = field(default_factory=Event)

    def run(
        self, first_row: int, changes: Changes, booked: Callable[[int], None], progress: Callable[[int], None]
    ) -> None:
        """Fuse all rows of tiles from ``first_row`` on.

        Args:
            first_row: The first row that is not on disk yet; the one before it is fused again for its seam.
            changes: The counts to which values clipped and moved are added.
            booked: The function that hears a row's number once it is on disk.
            progress: The function that hears of the PAN pixels done.

        Raises:
            Interrupted: ``stop`` was set.
        """
        plan = self.job.plan
        begin = max(0, first_row - 1)
        done = plan.finished(begin, 0).rows.start - plan.box.rows.start
        progress(done * plan.box.cols.size)
        blender = Blender(plan, self.job.scene.pair.ms.count, begin)
        for row in range(begin, plan.rows):
            fresh = row >= first_row
            if fresh:
                with self.writer.session():
                    self._row(row, blender, changes, progress, write=True)
                booked(row)
            else:
                self._row(row, blender, changes, progress, write=False)
            if self.stop.is_set() and row + 1 < plan.rows:
                raise Interrupted(f"stopped after row {row + 1} of {plan.rows}", "continue with `resume`")

    def _row(
        self, row: int, blender: Blender, changes: Changes, progress: Callable[[int], None], *, write: bool
    ) -> None:
        plan, machine = self.job.plan, self.job.scene.machine

        def finish(job: tuple[int, Box], fused: _Fused) -> None:
            col, box = job
            done = plan.finished(row, col)
            pixels, valid = fused
            if pixels is None:
                pixels = np.zeros((self.job.scene.pair.ms.count, *box.shape), np.float32)
            pixels = blender.add(row, col, pixels)
            if write:
                keep = valid.cut(done, box).pick(self.quantiser.bands).mask
                mask = None if keep is None else keep.cpu().numpy()
                out = self.quantiser(pixels, mask, changes)
                self.writer.write(done.relative_to(plan.box), out, None if mask is None else np.logical_or.reduce(mask))
            machine.memory.check()
            progress(done.pixels)

        Pipeline(self._read, self._fuse, finish, machine.workers, self.clock).run(enumerate(plan.tiles(row)))

    def _read(self, job: tuple[int, Box]) -> Window:
        scene = self.job.scene
        pan_box = job[1].grow(self.job.plan.halo, scene.pair.pan.grid.shape)
        return scene.read(scene.sampling.ms_box(pan_box, scene.pair.ms.grid.shape), pan_box)

    def _fuse(self, job: tuple[int, Box], window: Window) -> _Fused:
        """Fuse one tile: pixels ``(C, H, W)`` in DN, None where none is valid, and their validity."""
        scene, steps, aoi = self.job.scene, self.job.options.consistency, self.job.aoi
        reach = back_projection_halo(scene.sampling, steps)
        used = job[1].grow(reach, scene.pair.pan.grid.shape)
        device = scene.machine.device
        tile = make_tile(window.divided(scene.known.scale), scene.sampling, device, used)
        shown = tile.valid
        if aoi is not None:
            shown = shown & Validity(torch.from_numpy(aoi.inside(window.pan_box)).to(device)[None])
        kept = shown.cut(job[1], window.pan_box).simplified()
        if not kept.anywhere:
            return None, kept
        with torch.inference_mode():
            out = job[1].cut(back_project(self.fitted.fuse(tile), tile, steps), window.pan_box)
            pixels = torch.mul(out, scene.known.scale).cpu().numpy()
        return pixels, kept
