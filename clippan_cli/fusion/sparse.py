"""SR-D: sparse representation of details (Vicinanza et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.fusion.method import Classical, Fitted, Method, Statistics, Tile
from clippan_cli.physics.operators import Operators, blur
from clippan_cli.physics.pixels import Pixels, Validity, Window
from clippan_cli.physics.sampling import Sampling

_SIDE = 7
_STEP = 3
_ATOMS = 10
_DICTIONARY = 512
_BATCH = 4096


class SrD(Method):
    """Writes each band's details as a sparse sum of PAN's one scale down, and carries it over to PAN's scale.

    The dictionary is drawn once from windows all over the scene, the patches lie on one grid for the whole scene, and
    the first atom of each is PAN's detail in the same place: so the tiles agree.
    """

    name = "sr-d"

    def fit(self, statistics: Statistics) -> Fitted:
        """Draw the dictionary."""
        parts = [_atoms(sample, statistics.sampling) for sample in statistics.samples]
        low = torch.cat([part[0] for part in parts])
        high = torch.cat([part[1] for part in parts])
        energy = low.norm(dim=1)
        strongest = float(energy.max()) if len(energy) else 0.0
        kept = torch.nonzero(energy > 1e-6 * max(strongest, 1e-12))[:, 0]
        generator = np.random.default_rng(0)
        picked = np.sort(generator.permutation(len(kept))[:_DICTIONARY])
        chosen = kept[torch.from_numpy(picked)]
        return _SrD(
            values={"atoms": [float(len(chosen))]}, sampling=statistics.sampling, low=low[chosen], high=high[chosen]
        )

    def halo(self, sampling: Sampling) -> int:
        """Add up patches that reach over the edge, and the filters twice."""
        patch = math.ceil((_SIDE + _STEP) * max(sampling.ratio))
        return (
            patch + sampling.up_reach + 2 * sampling.down_reach + math.ceil(max(sampling.ratio) * sampling.down_reach)
        )


@dataclass(frozen=True, kw_only=True)
class _SrD(Classical):
    sampling: Sampling
    low: Tensor
    high: Tensor

    def fuse(self, tile: Tile) -> Tensor:
        ms_box = tile.operators.ms_box
        places = _places(ms_box.rows.start, ms_box.rows.size), _places(ms_box.cols.start, ms_box.cols.size)
        if not places[0] or not places[1]:
            return tile.ms_up
        ms = tile.ms
        detail = ms.valid.keep(ms.values - blur(ms.values, self.sampling, ms_box, ms.valid))
        pan_low, pan_high = _pan_details(tile.pan, tile.operators, self.sampling)
        own_low, own_high = _cut(pan_low, pan_high, places, tile.operators, self.sampling)
        wanted = _low_patches(detail, places)
        bands, count = wanted.shape[:2]
        out = tile.ms_up
        for band in range(bands):
            made = torch.cat(
                [
                    self._represent(
                        wanted[band, at : at + _BATCH], own_low[at : at + _BATCH], own_high[at : at + _BATCH]
                    )
                    for at in range(0, count, _BATCH)
                ]
            )
            out[band] += _assemble(made, places, tile.operators, self.sampling)
        return out

    def _represent(self, wanted: Tensor, own_low: Tensor, own_high: Tensor) -> Tensor:
        """Match many patches at once by orthogonal pursuit; return their details at PAN's scale."""
        low, high = self.low.to(wanted), self.high.to(wanted)
        unit = F.normalize(low, dim=1)
        basis, partner = own_low[:, None], own_high[:, None]
        taken = torch.zeros(len(wanted), len(low), dtype=torch.bool, device=wanted.device)
        coefficients = _solve(basis, wanted)
        for _ in range(min(_ATOMS - 1, len(low))):
            rest = wanted - (coefficients[:, None] @ basis)[:, 0]
            match = (rest @ unit.T).abs().masked_fill(taken, -1)
            best = match.argmax(1)
            taken[torch.arange(len(best)), best] = True
            basis = torch.cat([basis, low[best][:, None]], 1)
            partner = torch.cat([partner, high[best][:, None]], 1)
            coefficients = _solve(basis, wanted)
        return (coefficients[:, None] @ partner)[:, 0]


def _solve(basis: Tensor, wanted: Tensor) -> Tensor:
    """Fit each patch to its atoms by least squares, lightly damped: ``(patches, atoms)``."""
    gram = basis @ basis.transpose(1, 2)
    energy = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    damping = 1e-2 * energy[:, None, None] * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    solution: Tensor = torch.linalg.solve(gram + damping, basis @ wanted[:, :, None])
    return solution[:, :, 0]


def _pan_details(pan: Pixels, operators: Operators, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return PAN's details one scale down, ``(h, w)``, and at its own, ``(H, W)``; 0 where PAN is invalid."""
    low = operators.pan_down_filled(pan.values, pan.valid).mean(0, keepdim=True)
    mean = sum(sampling.gains) / len(sampling.gains)
    alone = Sampling.uniform(sampling.ratio, sampling.centre, (mean,))
    high = pan.values - operators.low_pass(pan.values, pan.valid).mean(0)
    return (low - blur(low, alone, operators.ms_box))[0], pan.valid.keep(high)


def _places(start: int, size: int) -> list[int]:
    """Return where patches begin, within a window: the multiples of the step on the whole scene's grid."""
    first = -start % _STEP
    return list(range(first, size - _SIDE + 1, _STEP))


def _low_patches(planes: Tensor, places: tuple[Sequence[int], Sequence[int]]) -> Tensor:
    """Cut ``(C, h, w)`` into ``(C, patches, side²)``."""
    rows, cols = places
    area = planes[:, rows[0] : rows[-1] + _SIDE, cols[0] : cols[-1] + _SIDE]
    return area.unfold(1, _SIDE, _STEP).unfold(2, _SIDE, _STEP).flatten(3).flatten(1, 2)


def _high_starts(axis: int, places: Sequence[int], operators: Operators, sampling: Sampling) -> Tensor:
    """Return the first PAN pixel of each patch, within the PAN window."""
    first = operators.ms_box[axis].start + np.array(places)
    edge = sampling.centre[axis] + sampling.ratio[axis] * (first - 0.5) + 0.5
    return torch.from_numpy(np.rint(edge).astype(np.int64) - operators.pan_box[axis].start)


def _high_index(
    places: tuple[Sequence[int], Sequence[int]], operators: Operators, sampling: Sampling
) -> tuple[Tensor, Tensor]:
    """Return rows and columns of each pixel of each high patch, ``(patches, pixels)``; they may lie outside."""
    sides = [math.ceil(_SIDE * ratio) for ratio in sampling.ratio]
    rows = _high_starts(0, places[0], operators, sampling)[:, None] + torch.arange(sides[0])
    cols = _high_starts(1, places[1], operators, sampling)[:, None] + torch.arange(sides[1])
    shape = (len(rows), len(cols), sides[0], sides[1])
    return (
        rows[:, None, :, None].expand(shape).flatten(2).flatten(0, 1),
        cols[None, :, None, :].expand(shape).flatten(2).flatten(0, 1),
    )


def _cut(
    low: Tensor, high: Tensor, places: tuple[Sequence[int], Sequence[int]], operators: Operators, sampling: Sampling
) -> tuple[Tensor, Tensor]:
    rows, cols = _high_index(places, operators, sampling)
    height, width = high.shape
    patches = high[rows.clamp(0, height - 1), cols.clamp(0, width - 1)]
    return _low_patches(low[None], places)[0], patches


def _atoms(sample: Window, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return all patches of one window that are valid throughout."""
    # With a mask the MTF is normalised where it reaches over the window's edge.
    ms, pan = sample.ms, Pixels(sample.pan.values, Validity(sample.pan.valid.of(sample.pan.values)))
    operators = Operators(sampling, sample.pan_box, sample.ms_box, dtype=ms.values.dtype)
    places = _places(0, sample.ms_box.rows.size), _places(0, sample.ms_box.cols.size)
    low, high = _pan_details(pan, operators, sampling)
    if not places[0] or not places[1]:
        sides = [math.ceil(_SIDE * ratio) for ratio in sampling.ratio]
        return low.new_zeros(0, _SIDE**2), low.new_zeros(0, sides[0] * sides[1])
    usable = ms.valid.of(ms.values).all(0) & operators.sees_only(pan.valid.of(pan.values)[None])[0]
    whole = _low_patches(usable[None].to(low.dtype), places)[0].min(1).values > 0
    low_patches, high_patches = _cut(low, high, places, operators, sampling)
    return low_patches[whole], high_patches[whole]


def _assemble(
    patches: Tensor, places: tuple[Sequence[int], Sequence[int]], operators: Operators, sampling: Sampling
) -> Tensor:
    """Average overlapping patches into a ``(H, W)`` plane, 0 where none lies."""
    rows, cols = _high_index(places, operators, sampling)
    height, width = operators.pan_box.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    index = (rows * width + cols)[inside]
    total = torch.zeros(height * width, dtype=patches.dtype).index_add_(0, index, patches[inside])
    count = torch.zeros(height * width, dtype=patches.dtype).index_add_(0, index, torch.ones_like(patches[inside]))
    return (total / count.clamp(min=1)).reshape(height, width)
