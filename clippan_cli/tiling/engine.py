"""Fusing a planned scene tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clippan_cli.errors import Interrupted, ResourceError
from clippan_cli.fusion.consistency import back_project, back_projection_halo
from clippan_cli.fusion.method import Fitted, Method
from clippan_cli.physics.sampling import Box, Sampling, Span
from clippan_cli.scene.aoi import Aoi
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.writer import Writer
from clippan_cli.tiling.blend import Blender
from clippan_cli.tiling.memory import Memory
from clippan_cli.tiling.pipeline import Clock, Pipeline
from clippan_cli.tiling.plan import Plan
from clippan_cli.tiling.survey import Survey
from clippan_cli.tiling.window import Window, read_window

_Fused = tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]


@dataclass(frozen=True)
class Quantiser:
    """From floats to the output's pixel type.

    Args:
        dtype: NumPy name.
        nodata: The value that valid pixels must not take; None if there is none.
        bands: The bands to keep, counted from 0.
        bits: How many bits of an integer are kept; None for all.
    """

    dtype: str
    nodata: float | None
    bands: tuple[int, ...]
    bits: int | None = None

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_] | None, counts: dict[str, int]
    ) -> NDArray[Any]:
        """Round, clip, keep valid pixels off the nodata value and put it where there are no data.

        Args:
            pixels: ``(C, h, w)`` in DN; overwritten.
            valid: ``(1 or bands kept, h, w)``; None where all are valid.
            counts: ``clipped`` and ``moved_off_nodata`` are added up here.
        """
        chosen = list(self.bands)
        pixels = np.ascontiguousarray(pixels) if chosen == list(range(len(pixels))) else pixels[chosen]
        kind: np.dtype[Any] = np.dtype(self.dtype)
        known = np.True_ if valid is None else valid
        if not np.issubdtype(kind, np.integer):
            out = pixels.astype(kind)
        else:
            low, high = np.iinfo(kind).min, np.iinfo(kind).max if self.bits is None else 2**self.bits - 1
            lowest, highest = (float(edge) for edge in torch.from_numpy(pixels).aminmax())
            if lowest < low - 0.5 or highest > high + 0.5:
                outside = (pixels < low - 0.5) | (pixels > high + 0.5)
                counts["clipped"] += int(np.count_nonzero(outside & known))
                np.clip(pixels, low, high, out=pixels)
            if high < 2**24:
                out = np.empty(pixels.shape, kind)
                np.rint(pixels, out=out, casting="unsafe")
            else:
                # Beyond 24 bits the largest float below the limit is not the limit itself.
                out = np.clip(np.rint(pixels.astype(np.float64)), low, high).astype(kind)
        if self.nodata is not None and not math.isnan(self.nodata):
            taken = out == kind.type(self.nodata)
            if taken.any():
                taken &= known
                counts["moved_off_nodata"] += int(np.count_nonzero(taken))
                out[taken] = self._beside(kind)
        if valid is not None:
            np.copyto(out, kind.type(0 if self.nodata is None else self.nodata), where=~valid)
        return out

    def _beside(self, kind: np.dtype[Any]) -> Any:
        """The value next to nodata, towards the inside of the type's range."""
        assert self.nodata is not None
        value = kind.type(self.nodata)
        if np.issubdtype(kind, np.integer):
            return kind.type(int(value) + (1 if int(value) < np.iinfo(kind).max else -1))
        return np.nextafter(value, kind.type(0) if value != 0 else kind.type(1))


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


def total_halo(method: Method, sampling: Sampling, consistency: int) -> int:
    """PAN pixels that a tile must look beyond itself."""
    return method.halo(sampling) + back_projection_halo(sampling, consistency) + 2


def choose_device(name: str) -> torch.device:
    """``auto`` takes a GPU when there is one.

    Raises:
        ResourceError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ResourceError(f"device {name!r} is not available here", "use --device cpu or auto") from error
    return device
