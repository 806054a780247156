"""The streaming pass: every candidate in every window, added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clippan_cli.assessment.candidate import Candidate
from clippan_cli.assessment.convention import Convention
from clippan_cli.assessment.lattice import Cell, Lattice
from clippan_cli.assessment.tally import Judged, Maps, Sums, against_truth, full_resolution, whole_blocks
from clippan_cli.base.geometry import Box
from clippan_cli.base.machine import Machine
from clippan_cli.base.pipeline import Clock, Pipeline
from clippan_cli.errors import Interrupted
from clippan_cli.fusion.method import make_tile
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.opening.window import read_window
from clippan_cli.physics.pixels import EVERYWHERE, Pixels, Validity, Window
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.raster import Raster

BINS = 96
"""The number of bins of a histogram."""

LOOK = 720
"""The longest side of the small picture, in its pixels."""

_MARGIN = 6


@dataclass
class Histograms:
    """Counts pixel values.

    Args:
        edges: The lowest and highest value of each band in DN, ``(C, 2)``.
        ms: The counts of MS, ``(C, BINS)``.
        fused: The counts of the first candidate, at some pixels, ``(C, BINS)``.
    """

    edges: NDArray[np.float64]
    ms: NDArray[np.float64]
    fused: NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Says what a candidate should be.

    Args:
        raster: The file.
        inside: The PAN pixels that count.
        peak: The highest value that a pixel can have, in DN.
    """

    raster: Candidate
    inside: Box
    peak: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """Says what is judged, and on what.

    Args:
        pair: The scene.
        convention: The way indices are computed.
        lattice: The windows.
        scale: The DN of one scene unit.
        everywhere: The candidates that are judged in every window.
        anchors: The candidates that are judged in ``chosen`` only.
        chosen: The windows of the anchors; the others are judged there once more, apart, to be compared.
        truth: The image that they should be; None where nobody knows.
        blind: Whether to leave out all that needs no truth.
    """

    pair: Pair
    convention: Convention
    lattice: Lattice
    scale: float
    everywhere: tuple[Candidate, ...]
    anchors: tuple[Candidate, ...]
    chosen: frozenset[Cell]
    truth: Truth | None = None
    blind: bool = False


@dataclass(kw_only=True)
class Findings:
    """Holds what the pass has found.

    Args:
        sums: The sums of each candidate, over all its windows.
        common: The sums of each candidate, over the windows that all share.
        maps: The maps of each candidate, over the whole area.
        histograms: The histograms of the first candidate.
        extremes: The pixels of the first candidate at the ends of its type, and all its pixels.
        look: A small picture of the first candidate in DN, NaN where invalid, ``(C, h, w)``.
    """

    sums: dict[str, Sums] = field(default_factory=dict)
    common: dict[str, Sums] = field(default_factory=dict)
    maps: dict[str, Maps] = field(default_factory=dict)
    histograms: Histograms | None = None
    extremes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    look: NDArray[np.float32] | None = None


@dataclass
class _Loaded:
    """Holds one window as the reader leaves it."""

    read: Window
    files: list[Pixels | None]
    truth: Pixels | None


@dataclass
class _Verdict:
    """Holds one window as the worker leaves it."""

    sums: dict[str, Sums]
    maps: dict[str, Maps]
    histograms: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    extremes: NDArray[np.int64] | None = None
    look: NDArray[np.float32] | None = None


class Judge:
    """Judges a case.

    Args:
        case: The case to judge.
        machine: The device that computes, the number of windows at once, and the memory for them.
        limits: The lowest and highest DN of the first candidate's pixel type; None for floats.
        edges: The range of the histograms in DN, ``(C, 2)``; None for no histograms.
        stop: The event that stops the pass; it is set from outside.
    """

    def __init__(
        self,
        case: Case,
        machine: Machine,
        *,
        limits: tuple[float, float] | None = None,
        edges: NDArray[np.float64] | None = None,
        stop: Event | None = None,
    ) -> None:
        self._case, self._device, self._workers, self._memory = case, machine.device, machine.workers, machine.memory
        self._limits, self._edges, self._stop = limits, edges, stop or Event()
        self._look_step = -(-max(case.lattice.area.shape) // LOOK)

    def run(self, progress: Callable[[int], None], clock: Clock | None = None) -> Findings:
        """Judge all windows, in order.

        Args:
            progress: The function that is called with the PAN pixels judged.
            clock: The clock that books the times.

        Raises:
            Interrupted: ``stop`` was set.
        """
        case, found = self._case, Findings()
        if self._edges is not None:
            empty = np.zeros((len(self._edges), BINS))
            found.histograms = Histograms(self._edges, empty, empty.copy())
        cells = case.lattice.cells if case.everywhere else [cell for cell in case.lattice.cells if cell in case.chosen]

        def collect(cell: Cell, verdict: _Verdict) -> None:
            self._collect(found, cell, verdict)
            self._memory.check()
            progress(cell.pan.shape[0] * cell.pan.shape[1])
            if self._stop.is_set():
                raise Interrupted("the assessment was stopped before its end", "start it again")

        Pipeline(self._read, self._compute, collect, self._workers, clock or Clock()).run(cells)
        return found

    def window(self, box: Box, candidates: Sequence[Candidate]) -> tuple[Window, dict[str, Tensor]]:
        """Return every candidate's pixels ``(C, H, W)`` in DN for a window of PAN's grid, for pictures."""
        outer = box.grow(self._margin(candidates), self._case.pair.pan.grid.shape)
        ms_box = self._case.convention.sampling.ms_box(outer, self._case.pair.ms.grid.shape)
        read = read_window(self._case.pair, ms_box, outer)
        tile = make_tile(read.divided(self._case.scale), self._case.convention.sampling, self._device)
        with torch.inference_mode():
            ms_up = self._case.convention.view(tile).ms_up
            out = {}
            for each in candidates:
                seen = each.pixels(tile, ms_up, each.read(outer), self._case.scale)
                known = seen.valid.joint().keep(seen.values, float("nan"))
                out[each.name] = box.cut(known, outer).cpu() * self._case.scale
        return read, out

    def _candidates(self, cell: Cell) -> tuple[Candidate, ...]:
        return self._case.everywhere + (self._case.anchors if cell in self._case.chosen else ())

    def _margin(self, candidates: Sequence[Candidate]) -> int:
        # Blocks of the truth begin where its border ends, and may reach beyond a window by all but a pixel.
        beyond = 0 if self._case.truth is None else BLOCK
        return max(self._case.convention.reach + beyond, _MARGIN) + max(each.halo for each in candidates)

    def _read(self, cell: Cell) -> _Loaded:
        sampling, pair = self._case.convention.sampling, self._case.pair
        candidates = self._candidates(cell)
        judged = cell.pan.hull(sampling.pan_box(cell.ms, 0, pair.pan.grid.shape))
        pan_box = judged.grow(self._margin(candidates), pair.pan.grid.shape)
        ms_box = sampling.ms_box(pan_box, pair.ms.grid.shape).hull(cell.ms)
        truth = self._case.truth
        return _Loaded(
            read_window(pair, ms_box, pan_box),
            [each.read(pan_box) for each in candidates],
            None if truth is None else truth.raster.read(pan_box),
        )

    def _compute(self, cell: Cell, loaded: _Loaded) -> _Verdict:
        with torch.inference_mode():
            return self._judge(cell, loaded)

    def _judge(self, cell: Cell, loaded: _Loaded) -> _Verdict:
        case, read = self._case, loaded.read
        tile = make_tile(read.divided(case.scale), case.convention.sampling, self._device)
        view = case.convention.view(tile)
        candidates = self._candidates(cell)
        images = [
            each.pixels(tile, view.ms_up, files, case.scale)
            for each, files in zip(candidates, loaded.files, strict=True)
        ]
        # All are judged on the same pixels: those that every one of them and the scene itself have.
        valid = case.convention.trusted(_all_valid([tile.valid, *(image.valid for image in images)]))
        verdict = _Verdict({}, {})
        for each, image in zip(candidates, images, strict=True):
            window = Judged(
                cell=cell,
                pan_box=read.pan_box,
                ms_box=read.ms_box,
                view=view,
                fused=Pixels(valid.keep(image.values, view.ms_up), valid),
                ms_valid=tile.ms.valid.joint(),
            )
            verdict.sums[each.name] = Sums()
            if not case.blind:
                verdict.sums[each.name], verdict.maps[each.name] = full_resolution(window, case.lattice.area)
            if case.truth is not None:
                verdict.sums[each.name] += self._against(case.truth, window, loaded)
            if each is candidates[0] and self._edges is not None:
                verdict.histograms = self._histograms(window)
                verdict.extremes = self._extremes(window)
                verdict.look = self._look(window)
        return verdict

    def _against(self, truth: Truth, window: Judged, loaded: _Loaded) -> Sums:
        assert loaded.truth is not None
        known = loaded.truth.to(self._device).divided(self._case.scale)
        known = Pixels(known.values, known.valid.joint())
        return against_truth(window, known, truth.inside, truth.peak / self._case.scale)

    def _histograms(self, window: Judged) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Count the values of MS and of the image."""
        ratios = self._case.convention.sampling.ratio
        rows, cols = (max(round(ratio), self._look_step) for ratio in ratios)
        step = max(1, round(rows / ratios[0]))
        ms = Pixels(window.view.ms, window.ms_valid).cut(window.cell.ms, window.ms_box)
        return self._counted(_thinned(ms, step, step)), self._counted(_thinned(window.inner, rows, cols))

    def _counted(self, x: Pixels) -> NDArray[np.float64]:
        assert self._edges is not None
        mask, rows = x.valid.of(x.values[0]), []
        for plane, (low, high) in zip(x.values, self._edges / self._case.scale, strict=True):
            rows.append(torch.histc(plane[mask].float().cpu(), BINS, float(low), float(high)).double().numpy())
        return np.stack(rows)

    def _extremes(self, window: Judged) -> NDArray[np.int64]:
        """Count pixels (of any band) at the lowest and at the highest value of the type, and all valid pixels."""
        inner = window.inner
        fused, total = inner.values, inner.valid.count(inner.values[0])
        if self._limits is None:
            return np.array([0, 0, total])
        low, high = (limit / self._case.scale for limit in self._limits)
        lowest, highest = (float(end) for end in fused.aminmax())
        known = inner.valid.of(fused[0])
        ends = (
            int(((fused <= low).any(0) & known).sum()) if lowest <= low else 0,
            int(((fused >= high).any(0) & known).sum()) if highest >= high else 0,
        )
        return np.array([*ends, total])

    def _look(self, window: Judged) -> NDArray[np.float32]:
        """Take every n-th pixel of a window, counted from the area's first."""
        rows, cols = (
            slice(-(span.start - outer.start) % self._look_step, None, self._look_step)
            for span, outer in zip(window.cell.pan, self._case.lattice.area, strict=True)
        )
        inner = window.inner
        seen = inner.valid.keep(inner.values, float("nan"))[:, rows, cols]
        small: NDArray[np.float32] = (seen * self._case.scale).cpu().numpy()
        return small

    def _collect(self, found: Findings, cell: Cell, verdict: _Verdict) -> None:
        common = cell in self._case.chosen
        for name, sums in verdict.sums.items():
            if common:
                shared = found.common.setdefault(name, Sums())
                shared += sums
            whole = found.sums.setdefault(name, Sums())
            whole += sums
        for name, maps in verdict.maps.items():
            self._place(found, cell, name, maps)
        if verdict.histograms is not None and found.histograms is not None:
            found.histograms.ms += verdict.histograms[0]
            found.histograms.fused += verdict.histograms[1]
        if verdict.extremes is not None:
            found.extremes += verdict.extremes
        if verdict.look is not None:
            self._paint(found, cell, verdict.look)

    def _paint(self, found: Findings, cell: Cell, look: NDArray[np.float32]) -> None:
        area, step = self._case.lattice.area, self._look_step
        if found.look is None:
            found.look = np.full((len(look), *(-(-side // step) for side in area.shape)), np.nan, np.float32)
        row, col = (-(-(span.start - outer.start) // step) for span, outer in zip(cell.pan, area, strict=True))
        found.look[:, row : row + look.shape[1], col : col + look.shape[2]] = look

    def _place(self, found: Findings, cell: Cell, name: str, parts: Maps) -> None:
        """Lay a window's maps where they belong."""
        row, col = self._case.lattice.at(cell)
        for kind, part in parts.items():
            maps = found.maps.setdefault(name, {})
            if kind not in maps:
                maps[kind] = np.full(self._case.lattice.blocks, np.nan, np.float32)
            maps[kind][row : row + part.shape[0], col : col + part.shape[1]] = part


def holds_blocks(pair: Pair, convention: Convention, images: Sequence[Candidate], cell: Cell) -> bool:
    """Tell whether a window holds any whole block of valid pixels."""
    ms_box = convention.sampling.ms_box(cell.pan, pair.ms.grid.shape)
    tile = make_tile(read_window(pair, ms_box, cell.pan), convention.sampling, torch.device("cpu"))
    files = [pixels for pixels in (each.read(cell.pan) for each in images) if pixels is not None]
    valid = _all_valid([tile.valid, *(pixels.valid for pixels in files)])
    return bool(whole_blocks(valid, tile.pan.values[None]).any())


def whole_type(raster: Raster) -> tuple[float, float] | None:
    """Return the ends of an integer pixel type; None for floats."""
    if not raster.integer:
        return None
    limits = np.iinfo(raster.dtype)
    return float(limits.min), float(limits.max)


def _thinned(x: Pixels, rows: int, cols: int) -> Pixels:
    """Take every so many-th row and column."""
    index = (..., slice(None, None, rows), slice(None, None, cols))
    return Pixels(x.values[index], x.valid[index])


def _all_valid(parts: Sequence[Validity]) -> Validity:
    """Return where all bands of all parts are valid: ``(H, W)``."""
    valid = EVERYWHERE
    for part in parts:
        valid = valid & part.joint()
    return valid.simplified()
