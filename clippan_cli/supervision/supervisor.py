"""The supervisor: an adapted CLIP that says which way a fusion should go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.base.geometry import Box
from clippan_cli.errors import UsageError
from clippan_cli.supervision.adapters import Adapters
from clippan_cli.supervision.encoder import Encoder, digest
from clippan_cli.supervision.forms import SHARED
from clippan_cli.supervision.losses import directional_loss
from clippan_cli.supervision.projector import Shown
from clippan_cli.supervision.prompts import KINDS, Prompts

_SAME_BAND = 60.0  # nm
_ADAPT_ONE = "adapt one to scenes of this sensor, and train on these alone"

MS, PAN, HRMS, DISTORTED = range(len(KINDS))


class Supervisor(nn.Module):
    """Joins CLIP, projector and adapters. Its state is that of the latter two; CLIP moves between devices by itself.

    Args:
        encoder: The frozen CLIP.
        projector: The way from bands to pictures.
        prompts: The texts for the types.
        wavelengths: The wavelength of each MS band in nanometres; None where unknown, empty for any bands.
        adapters: The form of the adapters.
    """

    plain_texts: Tensor
    encoder: Encoder

    def __init__(
        self,
        encoder: Encoder,
        projector: Shown,
        prompts: Prompts,
        wavelengths: Sequence[float | None] = (),
        *,
        adapters: str = SHARED,
    ) -> None:
        super().__init__()
        self.wavelengths = tuple(wavelengths)
        # No part of the module: it is frozen, and 150 million weights do not belong into checkpoints.
        object.__setattr__(self, "encoder", encoder)
        self.projector, self.prompts = projector, prompts
        self.adapters = Adapters(encoder.width, adapters)
        self.register_buffer("plain_texts", encoder.texts(prompts.texts))

    @property
    def bands(self) -> int:
        """The number of MS bands that it looks at; 0 for any number."""
        return self.projector.bands

    def check_fit(self, scene: str, wavelengths: Sequence[float | None]) -> None:
        """Refuse a scene of other bands than it knows.

        Args:
            scene: The scene's name.
            wavelengths: The wavelength of each of its bands in nanometres; None where unknown.

        Raises:
            UsageError: The number of bands differs, or a wavelength.
        """
        if not self.bands:
            return
        if len(wavelengths) != self.bands:
            raise UsageError(f"the supervisor looks at {self.bands} bands, {scene} has {len(wavelengths)}", _ADAPT_ONE)
        for number, (own, other) in enumerate(zip(self.wavelengths, wavelengths, strict=True), 1):
            if own and other and abs(own - other) > _SAME_BAND:
                raise UsageError(
                    f"band {number} of {scene} lies at {other:g} nm, the supervisor's at {own:g} nm", _ADAPT_ONE
                )

    def texts(self) -> Tensor:
        """Return the adapted vectors ``(4, D)`` of the texts for MS, PAN, HRMS and what is distorted."""
        kinds = ("ms", "pan", "hrms", "hrms")
        return torch.cat([self.adapters.text[kind](self.plain_texts[i : i + 1]) for i, kind in enumerate(kinds)])

    def see_bands(self, bands: Tensor, ms: Tensor, pan: Tensor, kind: str) -> Tensor:
        """Return the adapted vectors of MS (``"ms"``) or of fused images (``"hrms"``).

        Args:
            bands: The images ``(B, C, H, W)`` on PAN's grid, 0 and 1 the scene's dark and bright end.
            ms: The interpolated MS that they were made of, stretched likewise.
            pan: PAN ``(B, 1, H, W)``, stretched likewise.
            kind: The type whose adapter is used.
        """
        return self.adapt(self.look_at_bands(bands, ms, pan), kind)

    def see_pan(self, pan: Tensor, ms: Tensor, kind: str = "pan") -> Tensor:
        """Return the adapted vectors of PAN ``(B, 1, H, W)`` beside interpolated MS, stretched likewise."""
        return self.adapt(self.look_at_pan(pan, ms), kind)

    def look_at_bands(self, bands: Tensor, ms: Tensor, pan: Tensor) -> Tensor:
        """Return the vectors of images as CLIP gives them; see :meth:`see_bands`."""
        return self._look(self.projector(*(self._middle(x) for x in (bands, ms, pan))))

    def look_at_pan(self, pan: Tensor, ms: Tensor) -> Tensor:
        """Return the vectors of PAN as CLIP gives them; see :meth:`see_pan`."""
        return self._look(self.projector.show_pan(self._middle(pan), self._middle(ms)))

    def adapt(self, vectors: Tensor, kind: str) -> Tensor:
        """Send vectors ``(B, D)`` of images through the adapter of a type."""
        adapted: Tensor = self.adapters.of_image(kind)(vectors)
        return adapted

    def digest(self) -> str:
        """Return the SHA-256 of all that it has learned."""
        return digest(self)

    def move_to(self, device: torch.device) -> Supervisor:
        """Move the supervisor to a device, and CLIP with it."""
        self.encoder.to(device)
        return self.to(device)

    def directional(self, fused: Tensor, ms: Tensor, pan: Tensor) -> Tensor:
        """Return L_d of fused images ``(B, C, H, W)`` beside interpolated MS and PAN: ``(B,)``.

        What is larger than CLIP looks at is looked at in parts.
        """
        count = len(fused)
        fused, ms, pan = (self.parts(x) for x in (fused, ms, pan))
        with torch.no_grad():
            texts = self.texts()
            sources = torch.stack([self.see_bands(ms, ms, pan, "ms"), self.see_pan(pan, ms)])
            directions = torch.stack([texts[HRMS] - texts[MS], texts[HRMS] - texts[PAN]])
        found = directional_loss(self.see_bands(fused, ms, pan, "hrms"), sources, directions)
        return found.view(count, -1).mean(1)

    @torch.no_grad()
    def score(self, images: Tensor, ms: Tensor, pan: Tensor) -> Tensor:
        """Return how far images ``(B, C, H, W)`` are towards HRMS from what is distorted, as texts say: ``(B,)``."""
        count = len(images)
        images, ms, pan = (self.parts(x) for x in (images, ms, pan))
        texts = self.texts()
        seen = self.see_bands(images, ms, pan, "hrms") @ F.normalize(texts[HRMS] - texts[DISTORTED], dim=0)
        return seen.view(count, -1).mean(1)

    def _look(self, shown: Tensor) -> Tensor:
        """Return the vectors ``(B, D)`` of pictures ``(B, N, 3, H, W)``, those of one image together."""
        vectors = self.encoder.images(shown.flatten(0, 1)).view(*shown.shape[:2], -1)
        return F.normalize(vectors.mean(1), dim=-1)

    def parts(self, x: Tensor) -> Tensor:
        """Cut images into as many parts as large as CLIP looks at as there is room for: ``(B · parts, …)``."""
        side, whole = self.encoder.side, Box.whole(x.shape)
        if min(whole.shape) < side:
            return x
        rows, cols = (size // side for size in whole.shape)
        inner = Box(whole.rows.middle(rows * side), whole.cols.middle(cols * side)).cut(x, whole)
        parts = inner.reshape(*x.shape[:2], rows, side, cols, side)
        return parts.permute(0, 2, 4, 1, 3, 5).reshape(-1, x.shape[1], side, side)

    def _middle(self, x: Tensor) -> Tensor:
        """Cut out the middle, as large as CLIP looks at: scaled down, HRMS could not be told from MS."""
        side, whole = self.encoder.side, Box.whole(x.shape)
        if min(whole.shape) < side:
            return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
        return whole.middle(side).cut(x, whole)
