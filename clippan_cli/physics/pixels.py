"""Pixels and their validity as one value; and the same ground in MS and in PAN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box


@dataclass(frozen=True)
class Validity:
    """Says where pixels are valid: by a mask, or by none where all are. Who uses it need not know which.

    Args:
        mask: Whether each pixel is valid, ``(..., H, W)``; None where all are.
    """

    mask: Tensor | None = None

    @property
    def everywhere(self) -> bool:
        """Whether all pixels are valid."""
        return self.mask is None

    @property
    def anywhere(self) -> bool:
        """Whether any pixel is valid."""
        return self.mask is None or bool(self.mask.any())

    def __and__(self, other: Validity) -> Validity:
        """Return where both are valid."""
        if self.mask is None or other.mask is None:
            return other if self.mask is None else self
        return Validity(self.mask & other.mask)

    def __getitem__(self, index: object) -> Validity:
        """Return the validity of the pixels that an index picks from a tensor."""
        return self.changed(lambda mask: mask[index])  # type: ignore[index]

    def changed(self, change: Callable[[Tensor], Tensor]) -> Validity:
        """Return the validity whose mask a function made of this one's, if there is one."""
        return self if self.mask is None else Validity(change(self.mask))

    def simplified(self) -> Validity:
        """Return the validity without a mask if all pixels are valid."""
        return EVERYWHERE if self.mask is None or bool(self.mask.all()) else self

    def to(self, device: torch.device) -> Validity:
        """Return it on a device."""
        return self.changed(lambda mask: mask.to(device))

    def cut(self, box: Box, outer: Box) -> Validity:
        """Cut a box out; ``outer`` is what it covers."""
        return self.changed(lambda mask: box.cut(mask, outer))

    def pick(self, bands: Sequence[int]) -> Validity:
        """Pick bands; a mask that all bands share is kept."""
        return self.changed(lambda mask: mask if len(mask) == 1 else mask[list(bands)])

    def joint(self) -> Validity:
        """Return where all bands are valid: ``(C, H, W)`` to ``(H, W)``."""
        return self.changed(lambda mask: mask.all(0))

    def of(self, like: Tensor) -> Tensor:
        """Return a mask of the shape of ``like``, all True where there is none."""
        if self.mask is None:
            return torch.ones((), dtype=torch.bool, device=like.device).expand_as(like)
        return self.mask.expand_as(like)

    def keep(self, x: Tensor, fill: Tensor | float = 0.0) -> Tensor:
        """Return ``x`` where it is valid, ``fill`` elsewhere."""
        return x if self.mask is None else torch.where(self.mask, x, fill)

    def count(self, like: Tensor) -> int:
        """Count the valid pixels of an image of the shape of ``like``."""
        return like.numel() if self.mask is None else int(self.mask.expand_as(like).sum())


EVERYWHERE = Validity()
"""The validity of an image whose pixels are all valid."""


@dataclass(frozen=True)
class Pixels:
    """Holds an image with its validity.

    Args:
        values: The image, ``(..., H, W)``; values of invalid pixels mean nothing.
        valid: The validity of its pixels, ``(..., H, W)``.
    """

    values: Tensor
    valid: Validity = EVERYWHERE

    def to(self, device: torch.device) -> Pixels:
        """Return both on a device."""
        return Pixels(self.values.to(device), self.valid.to(device))

    def cut(self, box: Box, outer: Box) -> Pixels:
        """Cut a box out of both; ``outer`` is what they cover."""
        return Pixels(box.cut(self.values, outer), self.valid.cut(box, outer))

    def divided(self, scale: float) -> Pixels:
        """Return the image, given in DN, in scene units of ``scale`` DN."""
        return Pixels(self.values / scale, self.valid)

    def known(self, band: int | None = None) -> Tensor:
        """Return the valid values of a band, or of a single plane: ``(N,)``."""
        mask = self.valid.of(self.values)
        return self.values[mask] if band is None else self.values[band][mask[band]]


@dataclass(frozen=True)
class Window:
    """Holds the same ground in MS and in PAN.

    Args:
        ms: The MS image, ``(C, h, w)``.
        pan: The PAN image, ``(H, W)``.
        ms_box: The pixels of MS's grid that ``ms`` covers.
        pan_box: The pixels of PAN's grid that ``pan`` covers.
    """

    ms: Pixels
    pan: Pixels
    ms_box: Box
    pan_box: Box

    @property
    def valid(self) -> bool:
        """Whether all pixels of both are valid."""
        return self.ms.valid.everywhere and self.pan.valid.everywhere

    def divided(self, scale: float) -> Window:
        """Return the window, given in DN, in scene units of ``scale`` DN."""
        return Window(self.ms.divided(scale), self.pan.divided(scale), self.ms_box, self.pan_box)

    def cut(self, ms_box: Box, pan_box: Box) -> Window:
        """Cut a smaller window out."""
        return Window(self.ms.cut(ms_box, self.ms_box), self.pan.cut(pan_box, self.pan_box), ms_box, pan_box)
