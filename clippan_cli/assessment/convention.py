"""What a fused image is compared with: the scene's own optics, or the fixed filters of the DLPan benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError, ResourceError
from clippan_cli.fusion.method import Tile
from clippan_cli.opening.window import read_pixels
from clippan_cli.physics.dlpan import dlpan_filter, imresize, interp23
from clippan_cli.physics.operators import Operators, blur
from clippan_cli.physics.pixels import Pixels, Validity
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.pair import Pair

_STRIP = 64
_DLPAN_REACH = 20
_INTERP23_REACH = 12


class View(ABC):
    """Shows one window of a scene as a convention sees it.

    Args:
        ms: The measured MS, ``(C, h, w)``.
        ms_up: The MS interpolated to PAN's grid, ``(C, H, W)``.
        pan: The PAN image, ``(H, W)``.
        pan_low: The PAN image without what MS cannot resolve, ``(1 or C, H, W)``.
    """

    def __init__(self, ms: Tensor, ms_up: Tensor, pan: Tensor, pan_low: Tensor) -> None:
        self.ms, self.ms_up, self.pan, self.pan_low = ms, ms_up, pan, pan_low

    @abstractmethod
    def filtered(self, fused: Tensor, valid: Validity) -> Tensor:
        """Filter ``(C, H, W)`` by the sensor's MTF; it stays on PAN's grid."""

    @abstractmethod
    def seen(self, fused: Tensor, valid: Validity) -> tuple[Tensor, Tensor]:
        """Return ``(C, H, W)`` as MS would see it, ``(C, h, w)``; and where it sees valid pixels only, ``(h, w)``."""


class Convention(ABC):
    """Says how the indices are computed.

    Args:
        sampling: The place of MS on PAN, in this convention.
        bands: The MS bands that are judged, counted from 0.
    """

    name: ClassVar[str]
    words: ClassVar[str]

    def __init__(self, sampling: Sampling, bands: Sequence[int]) -> None:
        self.sampling, self.bands = sampling, list(bands)

    @property
    @abstractmethod
    def reach(self) -> int:
        """The PAN pixels that the filters look beyond a pixel."""

    @abstractmethod
    def view(self, tile: Tile) -> View:
        """Return one window as the convention sees it."""

    @property
    @abstractmethod
    def border(self) -> int:
        """The PAN pixels along the edge of a scene that indices against a truth leave out."""

    def trusted(self, valid: Validity) -> Validity:
        """Return which of the valid pixels ``(H, W)`` the convention's filters leave untouched by invalid ones."""
        return valid

    def _measured(self, tile: Tile) -> Tensor:
        return tile.ms.values[self.bands]


class SceneConvention(Convention):
    """Takes the sensor's MTF at the phases measured on the scene."""

    name: ClassVar[str] = "scene"
    words: ClassVar[str] = (
        "the sensor's MTF gains as Gaussians, each band at its own phase; MS↑ by cubic interpolation; "
        "PAN lowered through each band's MTF"
    )

    @property
    def reach(self) -> int:
        """The reach of the MTF, and of lowering PAN, in PAN pixels."""
        return self.sampling.down_reach + self.sampling.up_reach + 1

    @property
    def border(self) -> int:
        """The PAN pixels where interpolation continues MS beyond its edge."""
        return self.sampling.up_reach + 2

    def view(self, tile: Tile) -> View:
        """Return one window as the convention sees it."""
        ms = self._measured(tile)
        operators = Operators(
            self.sampling.pick(self.bands), tile.operators.pan_box, tile.operators.ms_box, device=ms.device
        )
        low = operators.low_pass(tile.pan.values, tile.pan.valid)
        return _SceneView(ms, operators.up(ms), tile.pan.values, low, operators)


class _SceneView(View):
    def __init__(self, ms: Tensor, ms_up: Tensor, pan: Tensor, pan_low: Tensor, operators: Operators) -> None:
        super().__init__(ms, ms_up, pan, pan_low if pan_low.stride(0) else pan_low[:1])
        self._operators = operators

    def filtered(self, fused: Tensor, valid: Validity) -> Tensor:
        return blur(fused, self._operators.sampling, self._operators.pan_box, valid[None])

    def seen(self, fused: Tensor, valid: Validity) -> tuple[Tensor, Tensor]:
        operators = self._operators
        whole = operators.covered if valid.mask is None else operators.sees_only(valid.mask[None]).all(0)
        return operators.down(fused, valid[None]), whole


class DlpanConvention(Convention):
    """Takes the benchmark's filters: 41-tap MTF at phase ``ratio // 2``, 23-tap interpolation, PAN lowered by imresize.

    MS and lowered PAN, a sixteenth of the scene at ratio 4, are held in memory, for the interpolation wraps round.

    Args:
        pair: The scene; PAN must be just ``ratio`` times as large as MS.
        bands: The MS bands that are judged, counted from 0.
        scale: The DN of one scene unit.
        memory: The bytes that the process may take.

    Raises:
        InputError: The scene has no such geometry.
        ResourceError: It does not fit into memory.
    """

    name: ClassVar[str] = "dlpan"
    words: ClassVar[str] = (
        "DLPan 1.0: 41-tap MTF kernels, decimation at 2::4 (ratio // 2), MS↑ by the 23-tap interpolator, "
        "PAN lowered by bicubic imresize"
    )

    def __init__(self, pair: Pair, bands: Sequence[int], scale: float, memory: int) -> None:
        ratio = round(pair.sampling.ratio[0])
        shape, fine = pair.ms.grid.shape, pair.pan.grid.shape
        if ratio not in (2, 4, 8, 16) or fine != (ratio * shape[0], ratio * shape[1]):
            raise InputError(
                f"PAN ({fine[1]} × {fine[0]} px) is not 2, 4, 8 or 16 times as large as MS "
                f"({shape[1]} × {shape[0]} px): DLPan's convention is not defined",
                "use `convention=scene`",
            )
        nested = (ratio - 1) / 2
        if max(abs(phase - nested) for phase in pair.sampling.nominal) > 1:
            row, col = (phase - nested for phase in pair.sampling.nominal)
            raise InputError(
                f"MS begins {row:+.2f}, {col:+.2f} PAN px (row, col) from where PAN begins: "
                "DLPan's convention is not defined",
                "use `convention=scene`",
            )
        held = 4 * (len(bands) + 1) * shape[0] * shape[1]
        if held > memory // 8:
            raise ResourceError(
                f"DLPan's convention holds MS in memory: {held / 2**20:.0f} MiB, an eighth of `memory` is "
                f"{memory / 2**23:.0f} MiB",
                "use `convention=scene`, or allow more with `memory`",
            )
        at = float(ratio // 2)
        super().__init__(
            Sampling.uniform((ratio, ratio), (at, at), pair.sampling.gains, pair.sampling.pan_gain), list(bands)
        )
        self._ratio, self._scale = ratio, scale
        self._ms = _filled(read_pixels(pair.ms, pair.ms.grid.box))[self.bands] / scale
        self._pan = _lowered(pair, ratio) / scale

    @property
    def reach(self) -> int:
        """The reach of the kernel, in PAN pixels."""
        return _DLPAN_REACH

    @property
    def border(self) -> int:
        """The PAN pixels that DLPan crops."""
        return 20

    def trusted(self, valid: Validity) -> Validity:
        """Leave out what filters and interpolation reach from invalid pixels, which they take for the band's mean."""
        return valid.changed(_eroded)

    def view(self, tile: Tile) -> View:
        """Return one window as the convention sees it."""
        box = tile.operators.pan_box
        ms = self._measured(tile)
        return _DlpanView(
            ms,
            self._interpolated(self._ms, box).to(ms.device),
            tile.pan.values,
            self._interpolated(self._pan, box).to(ms.device),
            ratio=self._ratio,
            gains=tuple(self.sampling.gains[k] for k in self.bands),
            operators=tile.operators,
        )

    def _interpolated(self, low: Tensor, box: Box) -> Tensor:
        """Return a window of the circular interpolation of a whole image."""
        picks, cuts = [], []
        for span, size in zip(box, low.shape[1:], strict=True):
            first = span.start // self._ratio - _INTERP23_REACH
            last = -(-span.stop // self._ratio) + _INTERP23_REACH
            picks.append(torch.from_numpy(np.arange(first, last) % size))
            cuts.append(slice(span.start - first * self._ratio, span.stop - first * self._ratio))
        return interp23(low[:, picks[0]][:, :, picks[1]], self._ratio)[:, cuts[0], cuts[1]]


class _DlpanView(View):
    def __init__(
        self,
        ms: Tensor,
        ms_up: Tensor,
        pan: Tensor,
        pan_low: Tensor,
        *,
        ratio: int,
        gains: tuple[float, ...],
        operators: Operators,
    ) -> None:
        super().__init__(ms, ms_up, pan, pan_low)
        self._ratio, self._gains, self._operators = ratio, gains, operators

    def filtered(self, fused: Tensor, valid: Validity) -> Tensor:
        return dlpan_filter(fused, self._ratio, self._gains)

    def seen(self, fused: Tensor, valid: Validity) -> tuple[Tensor, Tensor]:
        out = self._decimated(self.filtered(fused, valid))
        whole = valid.changed(lambda mask: self._decimated(mask[None])[0])
        return out, (Validity(self._operators.covered) & whole).of(self._operators.covered)

    def _decimated(self, x: Tensor) -> Tensor:
        """Return the samples at ``ratio // 2 + ratio·k`` that belong to the MS window, edges repeated."""
        picks = [
            torch.from_numpy((self._ratio // 2 + self._ratio * np.arange(*ms) - pan.start).clip(0, pan.size - 1))
            for ms, pan in zip(self._operators.ms_box, self._operators.pan_box, strict=True)
        ]
        return x[:, picks[0].to(x.device)][:, :, picks[1].to(x.device)]


def _filled(x: Pixels) -> Tensor:
    """Fill ``(C, H, W)`` with each band's mean where it is invalid: the filters know no gaps."""
    if x.valid.everywhere:
        return x.values
    known = x.valid.of(x.values)
    mean = (x.values * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
    return x.valid.keep(x.values, mean[:, None, None])


def _eroded(valid: Tensor) -> Tensor:
    """Return ``(H, W)``, valid as far as the kernel and, but for its negligible tail, the interpolation reach."""
    side = 2 * _DLPAN_REACH + 1
    invalid = (~valid)[None].float()
    return torch.nn.functional.max_pool2d(invalid, side, 1, side // 2)[0] == 0


def _lowered(pair: Pair, ratio: int) -> Tensor:
    """Bring PAN to MS's size by imresize, strip by strip: ``(1, h, w)`` in DN."""
    height, width = pair.ms.grid.shape
    halo, strips = 3, []
    for start in range(0, height, _STRIP):
        rows = Span(start, min(height, start + _STRIP))
        outer = rows.grow(halo, height)
        box = Box(Span(outer.start * ratio, outer.stop * ratio), Span(0, width * ratio))
        pan = _filled(read_pixels(pair.pan, box))
        strips.append(imresize(pan, ratio)[:, rows.start - outer.start : rows.stop - outer.start])
    return torch.cat(strips, 1)
