"""Sums over windows, from which every index follows: windows are judged one by one and added up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clippan_cli.assessment.convention import View
from clippan_cli.assessment.lattice import Cell
from clippan_cli.base.geometry import Box, Span
from clippan_cli.metrics.blocks import BLOCK, Blocks
from clippan_cli.metrics.hypercomplex import q2n_map, quality_of_all
from clippan_cli.metrics.local import REACH, box_mean, local_correlation
from clippan_cli.metrics.qnr import against, between_bands
from clippan_cli.metrics.reference import SSIM_REACH, sobel, spectral_angles, ssim_map

_STRIP = 8 * BLOCK
_CORRELATED = 2048 * 2048

Maps = dict[str, NDArray[np.float32]]
"""Block by block, NaN where a block was skipped."""


@dataclass
class Sums:
    """Named sums, added up in double precision.

    Args:
        values: Each an array: a number a band, a pair of bands, or a single one.
    """

    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __iadd__(self, other: Sums) -> Sums:
        for name, value in other.values.items():
            self.values[name] = self.values[name] + value if name in self.values else value
        return self

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.values.get(name, np.zeros(1))

    def count(self, name: str) -> int:
        """A sum that counts."""
        return int(self[name].sum())

    def add(self, name: str, value: Tensor | float) -> None:
        """Set a sum of this window; a tensor keeps its first dimension."""
        if isinstance(value, Tensor):
            self.values[name] = value.reshape(len(value), -1).sum(1, dtype=torch.float64).cpu().numpy()
        else:
            self.values[name] = np.array([value], np.float64)


@dataclass(frozen=True)
class Window:
    """A candidate in one window.

    Args:
        cell: What is judged.
        pan_box: Where the arrays lie on PAN's grid.
        ms_box: Where MS lies on its own.
        view: What the candidate is compared with.
        fused: ``(C, H, W)``, MS interpolated where invalid.
        valid: ``(H, W)``; None where all are valid.
        ms_valid: ``(h, w)``; None where all are valid.
    """

    cell: Cell
    pan_box: Box
    ms_box: Box
    view: View
    fused: Tensor
    valid: Tensor | None
    ms_valid: Tensor | None

    @property
    def judged(self) -> tuple[slice, slice]:
        """The judged PAN pixels in the arrays."""
        return self.cell.pan.within(self.pan_box)


def full_resolution(window: Window, area: Box) -> tuple[Sums, Maps]:
    """Everything that needs no truth.

    Args:
        window: A candidate.
        area: The judged area on PAN's grid: windows of local correlation end there.
    """
    sums, maps = Sums(), Maps()
    _blocks_of_pan(window, sums, maps)
    _blocks_of_ms(window, sums, maps)
    _local_correlation(window, area, sums)
    return sums, maps


def _blocks_of_pan(window: Window, sums: Sums, maps: Maps) -> None:
    """Q between bands, Q with PAN, and Q2n of the filtered image: D_λ, D_s and D_λ^K (a)."""
    filtered = window.view.filtered(window.fused, window.valid)
    strips = [_strip_of_blocks(window, filtered, box) for box in _strips(window.cell.pan)]
    for part, _ in strips:
        sums += part
    for name in strips[0][1]:
        maps[name] = np.concatenate([part[name] for _, part in strips])


def _strip_of_blocks(window: Window, filtered: Tensor, box: Box) -> tuple[Sums, Maps]:
    sums, maps = Sums(), Maps()
    at = (slice(None), *box.within(window.pan_box))
    view = window.view
    good = whole_blocks(window.valid, at[1:], box.shape, window.fused.device)
    fused, ms_up = Blocks(window.fused[at]), Blocks(view.ms_up[at])
    pan, pan_low = Blocks(view.pan[None][at]), Blocks(view.pan_low[at])
    with_pan, with_pan_ms = against(fused, pan), against(ms_up, pan_low)
    consistent = quality_of_all(Blocks(filtered[at]), ms_up)
    sums.add("blocks", float(good.sum()))
    sums.add("blocks_skipped", float((~good).sum()))
    for name, value in (
        ("with_pan", with_pan),
        ("with_pan_ms", with_pan_ms),
        ("consistent", consistent[None]),
    ):
        sums.add(name, torch.where(good, value, 0.0))
    maps["d_s"] = _map((with_pan - with_pan_ms).abs().mean(0), good)
    if len(fused) > 1:
        between, between_ms = between_bands(fused), between_bands(ms_up)
        sums.add("between", torch.where(good, between, 0.0))
        sums.add("between_ms", torch.where(good, between_ms, 0.0))
        maps["d_lambda"] = _map((between - between_ms).abs().mean(0), good)
    maps["consistent"] = _map(consistent, good)
    return sums, maps


def _strips(box: Box) -> list[Box]:
    """Whole rows of blocks, few enough for the processor's cache; the last strip takes the rest."""
    count = max(1, box.rows.size // _STRIP)
    edges = [box.rows.start + _STRIP * i for i in range(count)] + [box.rows.stop]
    return [Box(Span(start, stop), box.cols) for start, stop in pairwise(edges)]


def _blocks_of_ms(window: Window, sums: Sums, maps: Maps) -> None:
    """The image seen through the sensor against the measured MS: D_λ^K (b) and the reprojection indices."""
    seen, whole = window.view.seen(window.fused, window.valid)
    at = window.cell.ms.within(window.ms_box)
    good = torch.ones(window.cell.ms.shape, dtype=torch.bool, device=seen.device) if whole is None else whole[at]
    if window.ms_valid is not None:
        good = good & window.ms_valid[at]
    seen, ms = seen[(slice(None), *at)], window.view.ms[(slice(None), *at)]
    _errors("low", seen, ms, good, sums)
    blocks = whole_blocks(good, (slice(None), slice(None)), window.cell.ms.shape, seen.device)
    quality = q2n_map(seen, ms)
    sums.add("low_blocks", float(blocks.sum()))
    sums.add("low_quality", torch.where(blocks, quality, 0.0)[None])


def _errors(name: str, ours: Tensor, truth: Tensor, good: Tensor, sums: Sums) -> None:
    """Squared error and mean of each band, and spectral angles."""
    angles, seen = spectral_angles(ours, truth)
    seen = seen & good
    sums.add(f"{name}_pixels", float(good.sum()))
    sums.add(f"{name}_error", torch.where(good, (ours - truth) ** 2, 0.0))
    sums.add(f"{name}_total", torch.where(good, truth, 0.0))
    sums.add(f"{name}_angles", float(seen.sum()))
    sums.add(f"{name}_angle", torch.where(seen, angles, 0.0)[None])


def _local_correlation(window: Window, area: Box, sums: Sums) -> None:
    every = correlation_step(area)
    for box in _strips(window.cell.pan):
        part = Sums()
        at = (slice(None), *_sampled(_grown(box, REACH, area), area, every).within(window.pan_box))
        correlation = local_correlation(window.fused[at], window.view.pan[None][at][0], REACH, every)
        good = _surely_valid(window.valid, at, REACH, every)
        part.add("rho", _kept(correlation, good))
        part.add("rho_pixels", float(correlation[0].numel() if good is None else good.sum()))
        sums += part


def correlation_step(area: Box) -> int:
    """Every how many-th pixel local correlation is taken: all of them up to some 2048 × 2048."""
    return max(1, round(math.sqrt(area.shape[0] * area.shape[1] / _CORRELATED)))


def _sampled(box: Box, area: Box, every: int) -> Box:
    """A box whose first inner pixel is one of every n-th of the area."""
    return Box(
        *(
            Span(span.start + -(span.start + REACH - outer.start) % every, span.stop)
            for span, outer in zip(box, area, strict=True)
        )
    )


def against_truth(window: Window, truth: Tensor, good: Tensor | None, inside: Box, peak: float) -> Sums:
    """Everything that needs a truth.

    Args:
        window: A candidate.
        truth: ``(C, H, W)``.
        good: Where the truth is valid, ``(H, W)``; None where all is.
        inside: The PAN pixels that count.
        peak: The highest value that a pixel can have, in scene units.
    """
    sums = Sums()
    box = window.cell.pan.intersection(inside)
    if min(box.shape) <= 0:
        return sums
    known = _both(window.valid, good)
    at = (slice(None), *box.within(window.pan_box))
    here = torch.ones(box.shape, dtype=torch.bool, device=truth.device) if known is None else known[at[1:]]
    _errors("truth", window.fused[at], truth[at], here, sums)
    _quality(window, truth, known, _blocks_of(window.cell.pan, inside), sums)
    _edges(window, truth, known, _grown(box, 1, inside), sums)
    _structure(window, truth, known, _grown(box, SSIM_REACH, inside), peak, sums)
    return sums


def _blocks_of(cell: Box, inside: Box) -> Box:
    """The whole blocks, anchored where ``inside`` begins, whose first pixels lie in a window."""
    spans = []
    for span, outer in zip(cell, inside, strict=True):
        start, stop = (
            outer.start + BLOCK * max(0, -(-(edge - outer.start) // BLOCK)) for edge in (span.start, span.stop)
        )
        spans.append(Span(start, min(stop, outer.stop - outer.size % BLOCK)))
    return Box(*spans)


def _quality(window: Window, truth: Tensor, known: Tensor | None, box: Box, sums: Sums) -> None:
    if min(box.shape) < BLOCK:
        return
    at = (slice(None), *box.within(window.pan_box))
    blocks = whole_blocks(known, at[1:], box.shape, truth.device)
    sums.add("truth_blocks", float(blocks.sum()))
    sums.add("truth_quality", torch.where(blocks, q2n_map(window.fused[at], truth[at]), 0.0)[None])


def _edges(window: Window, truth: Tensor, known: Tensor | None, box: Box, sums: Sums) -> None:
    at = (slice(None), *box.within(window.pan_box))
    ours, theirs = sobel(window.fused[at]), sobel(truth[at])
    good = _surely_valid(known, at, 1)
    for name, product in (("both", ours * theirs), ("ours", ours**2), ("theirs", theirs**2)):
        sums.add(f"sobel_{name}", _kept(product, good))


def _structure(window: Window, truth: Tensor, known: Tensor | None, box: Box, peak: float, sums: Sums) -> None:
    if min(box.shape) <= 2 * SSIM_REACH:
        return
    at = (slice(None), *box.within(window.pan_box))
    similarity = ssim_map(window.fused[at], truth[at], peak)
    good = _surely_valid(known, at, SSIM_REACH)
    sums.add("ssim", _kept(similarity, good))
    sums.add("ssim_pixels", float(similarity[0].numel() if good is None else good.sum()))


def whole_blocks(valid: Tensor | None, at: tuple[slice, ...], shape: tuple[int, int], device: torch.device) -> Tensor:
    """``(rows, cols)``, True for blocks all of whose pixels are valid."""
    rows, cols = shape[0] // BLOCK, shape[1] // BLOCK
    if valid is None:
        return torch.ones(rows, cols, dtype=torch.bool, device=device)
    inside = valid[at][: rows * BLOCK, : cols * BLOCK]
    return inside.reshape(rows, BLOCK, cols, BLOCK).all(3).all(1)


def _surely_valid(valid: Tensor | None, at: tuple[slice, ...], reach: int, every: int = 1) -> Tensor | None:
    """Where a filter of some reach sees valid pixels only; None where it always does."""
    if valid is None:
        return None
    return box_mean(valid[at[1:]][None].float(), reach)[0, ::every, ::every] > 1 - 0.5 / (2 * reach + 1) ** 2


def _kept(x: Tensor, good: Tensor | None) -> Tensor:
    return x if good is None else torch.where(good, x, 0.0)


def _grown(box: Box, by: int, limit: Box) -> Box:
    return Box(*(Span(span.start - by, span.stop + by) for span in box)).intersection(limit)


def _both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _map(values: Tensor, good: Tensor) -> NDArray[np.float32]:
    out: NDArray[np.float32] = torch.where(good, values, float("nan")).float().cpu().numpy()
    return out
