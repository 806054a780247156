"""Sums over windows, from which every index follows: windows are judged one by one and added up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

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
from clippan_cli.physics.pixels import Pixels, Validity

_STRIP = 8 * BLOCK
_CORRELATED = 2048 * 2048

Maps = dict[str, NDArray[np.float32]]
"""The values block by block, by the name of the map; NaN where a block was skipped."""


@dataclass
class Sums:
    """Holds named sums, added up in double precision.

    Args:
        values: The sums by name, each an array: a number a band, a pair of bands, or a single one.
    """

    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __iadd__(self, other: Sums) -> Sums:
        for name, value in other.values.items():
            self.values[name] = self.values[name] + value if name in self.values else value
        return self

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.values.get(name, np.zeros(1))

    def count(self, name: str) -> int:
        """Return a sum that counts."""
        return int(self[name].sum())

    def add(self, name: str, value: Tensor | float) -> None:
        """Set a sum of this window; a tensor keeps its first dimension."""
        if isinstance(value, Tensor):
            self.values[name] = value.reshape(len(value), -1).sum(1, dtype=torch.float64).cpu().numpy()
        else:
            self.values[name] = np.array([value], np.float64)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Holds a candidate in one window.

    Args:
        cell: The pixels that are judged.
        pan_box: The pixels of PAN's grid that the arrays cover.
        ms_box: The pixels of its own grid that MS covers.
        view: The window as the convention sees it, with which the candidate is compared.
        fused: The candidate ``(C, H, W)``, interpolated MS where invalid; its validity ``(H, W)`` is that of all bands.
        ms_valid: The pixels where all bands of MS are valid, ``(h, w)``.
    """

    cell: Cell
    pan_box: Box
    ms_box: Box
    view: View
    fused: Pixels
    ms_valid: Validity

    def cut(self, planes: Tensor, box: Box) -> Tensor:
        """Cut a box of PAN's grid out of an array that covers the window."""
        return box.cut(planes, self.pan_box)

    @property
    def inner(self) -> Pixels:
        """The candidate in the judged PAN pixels."""
        return self.fused.cut(self.cell.pan, self.pan_box)


def full_resolution(window: Judged, area: Box) -> tuple[Sums, Maps]:
    """Add up everything that needs no truth.

    Args:
        window: The candidate in one window.
        area: The judged area on PAN's grid: windows of local correlation end there.
    """
    sums, maps = Sums(), Maps()
    _blocks_of_pan(window, sums, maps)
    _blocks_of_ms(window, sums, maps)
    _local_correlation(window, area, sums)
    return sums, maps


def _blocks_of_pan(window: Judged, sums: Sums, maps: Maps) -> None:
    """Add up Q between bands, Q with PAN, and Q2n of the filtered image: D_λ, D_s and D_λ^K (a)."""
    filtered = window.view.filtered(window.fused.values, window.fused.valid)
    strips = [_strip_of_blocks(window, filtered, box) for box in _strips(window.cell.pan)]
    for part, _ in strips:
        sums += part
    for name in strips[0][1]:
        maps[name] = np.concatenate([part[name] for _, part in strips])


def _strip_of_blocks(window: Judged, filtered: Tensor, box: Box) -> tuple[Sums, Maps]:
    sums, maps = Sums(), Maps()
    part, view = window.fused.cut(box, window.pan_box), window.view
    good = whole_blocks(part.valid, part.values)
    fused, ms_up = Blocks(part.values), Blocks(window.cut(view.ms_up, box))
    pan, pan_low = Blocks(window.cut(view.pan, box)[None]), Blocks(window.cut(view.pan_low, box))
    with_pan, with_pan_ms = against(fused, pan), against(ms_up, pan_low)
    consistent = quality_of_all(Blocks(window.cut(filtered, box)), ms_up)
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
    """Cut whole rows of blocks, few enough for the processor's cache; the last strip takes the rest."""
    count = max(1, box.rows.size // _STRIP)
    edges = [box.rows.start + _STRIP * i for i in range(count)] + [box.rows.stop]
    return [Box(Span(start, stop), box.cols) for start, stop in pairwise(edges)]


def _blocks_of_ms(window: Judged, sums: Sums, maps: Maps) -> None:
    """Compare the image seen through the sensor with the measured MS: D_λ^K (b) and the reprojection indices."""
    seen, whole = window.view.seen(window.fused.values, window.fused.valid)
    cell, outer = window.cell.ms, window.ms_box
    good = cell.cut((Validity(whole) & window.ms_valid).of(whole), outer)
    seen, ms = cell.cut(seen, outer), cell.cut(window.view.ms, outer)
    _errors("low", seen, ms, good, sums)
    blocks = whole_blocks(Validity(good), seen)
    quality = q2n_map(seen, ms)
    sums.add("low_blocks", float(blocks.sum()))
    sums.add("low_quality", torch.where(blocks, quality, 0.0)[None])


def _errors(name: str, ours: Tensor, truth: Tensor, good: Tensor, sums: Sums) -> None:
    """Add up the squared error and mean of each band, and spectral angles."""
    angles, seen = spectral_angles(ours, truth)
    seen = seen & good
    sums.add(f"{name}_pixels", float(good.sum()))
    sums.add(f"{name}_error", torch.where(good, (ours - truth) ** 2, 0.0))
    sums.add(f"{name}_total", torch.where(good, truth, 0.0))
    sums.add(f"{name}_angles", float(seen.sum()))
    sums.add(f"{name}_angle", torch.where(seen, angles, 0.0)[None])


def _local_correlation(window: Judged, area: Box, sums: Sums) -> None:
    every = correlation_step(area)
    for box in _strips(window.cell.pan):
        part = Sums()
        seen = _sampled(box.grown(REACH).intersection(area), area, every)
        fused = window.fused.cut(seen, window.pan_box)
        correlation = local_correlation(fused.values, window.cut(window.view.pan, seen), REACH, every)
        good = _surely_valid(fused.valid, REACH, every)
        part.add("rho", good.keep(correlation))
        part.add("rho_pixels", float(good.count(correlation[0])))
        sums += part


def correlation_step(area: Box) -> int:
    """Return the step between pixels whose local correlation is taken: all of them up to some 2048 × 2048."""
    return max(1, round(math.sqrt(area.shape[0] * area.shape[1] / _CORRELATED)))


def _sampled(box: Box, area: Box, every: int) -> Box:
    """Return a box whose first inner pixel is one of every n-th of the area."""
    return Box(
        *(
            Span(span.start + -(span.start + REACH - outer.start) % every, span.stop)
            for span, outer in zip(box, area, strict=True)
        )
    )


def against_truth(window: Judged, truth: Pixels, inside: Box, peak: float) -> Sums:
    """Add up everything that needs a truth.

    Args:
        window: The candidate in one window.
        truth: The truth, ``(C, H, W)``; its validity ``(H, W)`` is that of all bands.
        inside: The PAN pixels that count.
        peak: The highest value that a pixel can have, in scene units.
    """
    sums = Sums()
    box = window.cell.pan.intersection(inside)
    if box.empty:
        return sums
    both = Pixels(window.fused.values, window.fused.valid & truth.valid)

    def compared(part: Box) -> _Compared:
        return _Compared(both.cut(part, window.pan_box), window.cut(truth.values, part))

    here = compared(box)
    _errors("truth", here.ours.values, here.truth, here.ours.valid.of(here.truth[0]), sums)
    _quality(compared(_blocks_of(window.cell.pan, inside)), sums)
    _edges(compared(box.grown(1).intersection(inside)), sums)
    _structure(compared(box.grown(SSIM_REACH).intersection(inside)), peak, sums)
    return sums


class _Compared(NamedTuple):
    """Holds a candidate beside the truth: ``(C, H, W)`` each; valid ``(H, W)`` where both are."""

    ours: Pixels
    truth: Tensor

    def smaller(self, side: int) -> bool:
        """Tell whether a side has fewer pixels."""
        return min(self.truth.shape[-2:]) < side


def _blocks_of(cell: Box, inside: Box) -> Box:
    """Return the whole blocks, anchored where ``inside`` begins, whose first pixels lie in a window."""
    spans = []
    for span, outer in zip(cell, inside, strict=True):
        start, stop = (
            outer.start + BLOCK * max(0, -(-(edge - outer.start) // BLOCK)) for edge in (span.start, span.stop)
        )
        spans.append(Span(start, min(stop, outer.stop - outer.size % BLOCK)))
    return Box(*spans)


def _quality(pair: _Compared, sums: Sums) -> None:
    if pair.smaller(BLOCK):
        return
    blocks = whole_blocks(pair.ours.valid, pair.truth)
    sums.add("truth_blocks", float(blocks.sum()))
    sums.add("truth_quality", torch.where(blocks, q2n_map(pair.ours.values, pair.truth), 0.0)[None])


def _edges(pair: _Compared, sums: Sums) -> None:
    ours, theirs = sobel(pair.ours.values), sobel(pair.truth)
    good = _surely_valid(pair.ours.valid, 1)
    for name, product in (("both", ours * theirs), ("ours", ours**2), ("theirs", theirs**2)):
        sums.add(f"sobel_{name}", good.keep(product))


def _structure(pair: _Compared, peak: float, sums: Sums) -> None:
    if pair.smaller(2 * SSIM_REACH + 1):
        return
    similarity = ssim_map(pair.ours.values, pair.truth, peak)
    good = _surely_valid(pair.ours.valid, SSIM_REACH)
    sums.add("ssim", good.keep(similarity))
    sums.add("ssim_pixels", float(good.count(similarity[0])))


def whole_blocks(valid: Validity, like: Tensor) -> Tensor:
    """Return ``(rows, cols)``, True for blocks of an image ``(C, H, W)`` all of whose pixels are valid."""
    rows, cols = (side // BLOCK for side in like.shape[-2:])
    inside = valid.of(like[0])[: rows * BLOCK, : cols * BLOCK]
    return inside.reshape(rows, BLOCK, cols, BLOCK).all(3).all(1)


def _surely_valid(valid: Validity, reach: int, every: int = 1) -> Validity:
    """Return where a filter of some reach sees valid pixels only."""
    least = 1 - 0.5 / (2 * reach + 1) ** 2
    return valid.changed(lambda mask: box_mean(mask[None].float(), reach)[0, ::every, ::every] > least)


def _map(values: Tensor, good: Tensor) -> NDArray[np.float32]:
    out: NDArray[np.float32] = torch.where(good, values, float("nan")).float().cpu().numpy()
    return out
