"""The streaming pass: every candidate in every window, added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clippan_cli.assessment.candidate import Candidate, Pixels
from clippan_cli.assessment.convention import Convention
from clippan_cli.assessment.lattice import Cell, Lattice
from clippan_cli.assessment.tally import Maps, Sums, Window, against_truth, full_resolution, whole_blocks
from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.memory import Memory
from clippan_cli.base.pipeline import Clock, Pipeline
from clippan_cli.errors import Interrupted
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.opening.window import Window as Read
from clippan_cli.opening.window import read_window
from clippan_cli.scene.pair import Pair
from clippan_cli.scene.raster import Raster

BINS = 96
"""Of a histogram."""

LOOK = 720
"""Longest side of the small picture."""

_MARGIN = 6


@dataclass
class Histograms:
    """Counts of pixel values.

    Args:
        edges: ``(C, 2)`` lowest and highest value of each band, DN.
        ms: ``(C, BINS)`` counts of MS.
        fused: ``(C, BINS)`` counts of the first candidate, at some pixels.
    """

    edges: NDArray[np.float64]
    ms: NDArray[np.float64]
    fused: NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What a candidate should be.

    Args:
        raster: The file.
        inside: The PAN pixels that count.
        peak: The highest value that a pixel can have, in DN.
    """

    raster: Candidate
    inside: Box
    peak: float


@dataclass(frozen=True)
class Case:
    """What is judged, on what.

    Args:
        pair: The scene.
        convention: How.
        lattice: The windows.
        scale: DN of one scene unit.
        everywhere: Candidates that are judged in every window.
        anchors: Candidates that are judged in ``chosen`` only.
        chosen: Those windows; the others are judged there once more, apart, to be compared.
        truth: What they should be; None where nobody knows.
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


@dataclass
class Findings:
    """What the pass has found.

    Args:
        sums: Of each candidate, over all its windows.
        common: Of each candidate, over the windows that all share.
        maps: Of each candidate, over the whole area.
        histograms: Of the first candidate.
        extremes: Pixels of the first candidate at the ends of its type, and all its pixels.
        look: ``(C, h, w)``, a small picture of the first candidate in DN, NaN where invalid.
    """

    sums: dict[str, Sums] = field(default_factory=dict)
    common: dict[str, Sums] = field(default_factory=dict)
    maps: dict[str, Maps] = field(default_factory=dict)
    histograms: Histograms | None = None
    extremes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    look: NDArray[np.float32] | None = None


@dataclass
class _Loaded:
    """One window as the reader leaves it."""

    read: Read
    files: list[Pixels | None]
    truth: Pixels | None


@dataclass
class _Verdict:
    """One window as the worker leaves it."""

    sums: dict[str, Sums]
    maps: dict[str, Maps]
    histograms: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    extremes: NDArray[np.int64] | None = None
    look: NDArray[np.float32] | None = None


class Judge:
    """Judges a case.

    Args:
        case: What.
        device: Where to compute.
        workers: Windows at once.
        memory: Kept below its bound.
        limits: Lowest and highest DN of the first candidate's pixel type; None for floats.
        edges: ``(C, 2)``, the range of the histograms in DN; None for no histograms.
        stop: Set from outside to stop.
    """

    def __init__(
        self,
        case: Case,
        device: torch.device,
        workers: int,
        memory: Memory,
        limits: tuple[float, float] | None = None,
        edges: NDArray[np.float64] | None = None,
        stop: Event | None = None,
    ) -> None:
        self._case, self._device, self._workers, self._memory = case, device, workers, memory
        self._limits, self._edges, self._stop = limits, edges, stop or Event()
        self._look_step = -(-max(case.lattice.area.shape) // LOOK)

    def run(self, progress: Callable[[int], None], clock: Clock | None = None) -> Findings:
        """All windows, in order.

        Args:
            progress: Called with the PAN pixels judged.
            clock: Where the times are booked.

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

    def window(self, box: Box, candidates: Sequence[Candidate]) -> tuple[Read, dict[str, Tensor]]:
        """Every candidate's pixels ``(C, H, W)`` in DN for a window of PAN's grid, for pictures."""
        outer = box.grow(self._margin(candidates), self._case.pair.pan.grid.shape)
        ms_box = self._case.convention.sampling.ms_box(outer, self._case.pair.ms.grid.shape)
        read = read_window(self._case.pair, ms_box, outer)
        tile = read.tile(self._case.convention.sampling, self._case.scale, self._device)
        at = (slice(None), *box.within(outer))
        with torch.inference_mode():
            ms_up = self._case.convention.view(tile).ms_up
            out = {}
            for each in candidates:
                pixels, valid = each.pixels(tile, ms_up, each.read(outer), self._case.scale)
                known = pixels if valid is None else torch.where(valid.all(0), pixels, float("nan"))
                out[each.name] = known[at].cpu() * self._case.scale
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
        judged = _hull(cell.pan, sampling.pan_box(cell.ms, 0, pair.pan.grid.shape))
        pan_box = judged.grow(self._margin(candidates), pair.pan.grid.shape)
        ms_box = _hull(sampling.ms_box(pan_box, pair.ms.grid.shape), cell.ms)
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
        tile = read.tile(case.convention.sampling, case.scale, self._device)
        view = case.convention.view(tile)
        candidates = self._candidates(cell)
        images = [
            each.pixels(tile, view.ms_up, files, case.scale)
            for each, files in zip(candidates, loaded.files, strict=True)
        ]
        # All are judged on the same pixels: those that every one of them and the scene itself have.
        valid = case.convention.trusted(_all_valid([tile.valid, *(known for _, known in images)]))
        ms_valid = None if tile.ms_valid is None else tile.ms_valid.all(0)
        verdict = _Verdict({}, {})
        for each, (pixels, _) in zip(candidates, images, strict=True):
            fused = pixels if valid is None else torch.where(valid, pixels, view.ms_up)
            window = Window(cell, read.pan_box, read.ms_box, view, fused, valid, ms_valid)
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

    def _against(self, truth: Truth, window: Window, loaded: _Loaded) -> Sums:
        assert loaded.truth is not None
        pixels, valid = loaded.truth
        good = None if valid is None else valid.all(0).to(self._device)
        return against_truth(
            window,
            pixels.to(self._device) / self._case.scale,
            good,
            truth.inside,
            truth.peak / self._case.scale,
        )

    def _histograms(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Counts of MS and of the image."""
        assert self._edges is not None
        rows, cols = (max(round(ratio), self._look_step) for ratio in self._case.convention.sampling.ratio)
        at = window.judged
        fine = window.fused[(slice(None), *at)][:, ::rows, ::cols]
        known = None if window.valid is None else window.valid[at][::rows, ::cols]
        coarse = window.cell.ms.within(window.ms_box)
        step = max(1, round(rows / self._case.convention.sampling.ratio[0]))
        ms = window.view.ms[(slice(None), *coarse)][:, ::step, ::step]
        ms_known = None if window.ms_valid is None else window.ms_valid[coarse][::step, ::step]
        return self._counted(ms, ms_known), self._counted(fine, known)

    def _counted(self, x: Tensor, known: Tensor | None) -> NDArray[np.float64]:
        assert self._edges is not None
        rows = []
        for plane, (low, high) in zip(x, self._edges / self._case.scale, strict=True):
            values = (plane.flatten() if known is None else plane[known]).float().cpu()
            rows.append(torch.histc(values, BINS, float(low), float(high)).double().numpy())
        return np.stack(rows)

    def _extremes(self, window: Window) -> NDArray[np.int64]:
        """Pixels (of any band) at the lowest and at the highest value of the type, and all valid pixels."""
        fused = window.fused[(slice(None), *window.judged)]
        known = None if window.valid is None else window.valid[window.judged]
        total = fused[0].numel() if known is None else int(known.sum())
        if self._limits is None:
            return np.array([0, 0, total])
        low, high = (limit / self._case.scale for limit in self._limits)
        lowest, highest = (float(end) for end in fused.aminmax())
        ends = (
            _counted_pixels(fused <= low, known) if lowest <= low else 0,
            _counted_pixels(fused >= high, known) if highest >= high else 0,
        )
        return np.array([*ends, total])

    def _look(self, window: Window) -> NDArray[np.float32]:
        """Every n-th pixel of a window, counted from the area's first."""
        rows, cols = (
            slice(-(span.start - outer.start) % self._look_step, None, self._look_step)
            for span, outer in zip(window.cell.pan, self._case.lattice.area, strict=True)
        )
        fused = window.fused if window.valid is None else torch.where(window.valid, window.fused, float("nan"))
        small: NDArray[np.float32] = (
            (fused[(slice(None), *window.judged)][:, rows, cols] * self._case.scale).cpu().numpy()
        )
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
    """Whether a window holds any whole block of valid pixels."""
    ms_box = convention.sampling.ms_box(cell.pan, pair.ms.grid.shape)
    tile = read_window(pair, ms_box, cell.pan).tile(convention.sampling, 1.0, torch.device("cpu"))
    files = [pixels for pixels in (each.read(cell.pan) for each in images) if pixels is not None]
    valid = _all_valid([tile.valid, *(known for _, known in files)])
    return bool(whole_blocks(valid, (slice(None), slice(None)), cell.pan.shape, torch.device("cpu")).any())


def whole_type(raster: Raster) -> tuple[float, float] | None:
    """The ends of an integer pixel type; None for floats."""
    if not raster.integer:
        return None
    limits = np.iinfo(raster.dtype)
    return float(limits.min), float(limits.max)


def _counted_pixels(hit: Tensor, known: Tensor | None) -> int:
    """Valid pixels with a hit in any band."""
    pixels = hit.any(0)
    return int((pixels if known is None else pixels & known).sum())


def _hull(first: Box, second: Box) -> Box:
    return Box(*(Span(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True)))


def _all_valid(parts: Sequence[Tensor | None]) -> Tensor | None:
    """``(H, W)`` where all bands of all parts are valid; None where everything is."""
    known = [part.all(0) for part in parts if part is not None]
    if not known:
        return None
    valid = torch.stack(known).all(0)
    return None if bool(valid.all()) else valid
