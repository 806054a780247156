"""Networks as fusion methods, the same to the engine as the classical ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import ModelError
from clippan_cli.fusion.method import Fitted, Method, Statistics, Tile
from clippan_cli.fusion.traits import FEATURES, Traits, as_context, from_moments
from clippan_cli.modelstore.model import Model
from clippan_cli.networks.network import Context, Network, padded
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.sampling import Sampling


class Learned(Method):
    """Fuses with a trained network.

    Args:
        model: The model, whose weights are checked and loaded at once.
        device: The device of the tiles to come.
        precision: How the network computes: ``"fp32"``, or ``"bf16"`` where its form allows it.

    Raises:
        ModelError: The weights are damaged.
    """

    def __init__(self, model: Model, device: torch.device | str = "cpu", precision: str = "fp32") -> None:
        self.model, self.network, self.name = model, model.load().to(device), model.id
        self._narrow = precision == "bf16" and self.network.narrow
        self.features = FEATURES if self.network.needs_context else ()

    def fit(self, statistics: Statistics) -> Fitted:
        """Describe the scene to the network; nothing is trained."""
        sampling = statistics.sampling
        self.check_fit(sampling)
        traits = from_moments(statistics.moments, sampling) if self.network.needs_context else None
        return _Learned(self.network, traits, sampling.common, self._narrow)

    def check_fit(self, sampling: Sampling) -> None:
        """Refuse a scene that the model was not made for.

        Raises:
            ModelError: The number of bands or the ratio does not fit, or tiles would not agree.
        """
        if not self.network.tile_safe:
            raise ModelError(
                f"{self.name} looks at whole images: tiles of a scene would not agree",
                "train it in its local form (scope=window, pooling=local)",
            )
        self.model.check_fit(len(sampling.gains), max(sampling.ratio))

    def planes(self, sampling: Sampling) -> int:
        """Count the planes of the network and of its inputs."""
        bands = len(sampling.gains)
        return self.network.planes(bands, max(sampling.ratio)) + 4 * (bands + 1)

    def halo(self, sampling: Sampling) -> int:
        """Add up the receptive field, and what PAN without its detail looks at."""
        field = self.network.receptive_field(len(sampling.gains)) or 0
        return field + self.network.multiple + sampling.up_reach + sampling.down_reach


@dataclass(frozen=True)
class _Learned(Fitted):
    network: Network
    traits: Traits | None
    common: Sampling
    narrow: bool

    @torch.no_grad()
    def fuse(self, tile: Tile) -> Tensor:
        low = self._low(tile)
        pan = tile.pan.valid.keep(tile.pan.values, low)
        whole = tile.operators.pan_box
        box = whole if tile.wanted is None else self._seen(tile.wanted, whole)
        cut = (..., *box.within(whole))
        # All tiles lie on one lattice of the network's own multiple.
        before = [span.start % self.network.multiple for span in box]
        planes = [padded(x[cut][None], (before[1], 0, before[0], 0)) for x in (tile.ms_up, pan[None], low[None])]
        with torch.autocast(pan.device.type, torch.bfloat16, enabled=self.narrow):
            out: Tensor = self.network(planes[0], planes[1], self._context(planes[2], tile))
        fused = out[0, :, before[0] :, before[1] :]
        if box == whole:
            return fused
        tile.ms_up[cut] = fused
        return tile.ms_up

    def _seen(self, wanted: Box, whole: Box) -> Box:
        """Return the pixels of a window that decide those wanted, out to the next lines of the lattice."""
        field, multiple = self.network.receptive_field(len(self.common.gains)), self.network.multiple
        assert field is not None
        rows, cols = (
            Span((want.start - field) // multiple * multiple, -(-(want.stop + field) // multiple) * multiple)
            for want in wanted
        )
        return Box(rows, cols).intersection(whole)

    def _low(self, tile: Tile) -> Tensor:
        """Return PAN without detail, the same for all bands: ``(H, W)``."""
        whole, pan = tile.operators, tile.pan.values
        one = Operators(self.common, whole.pan_box, whole.ms_box, device=pan.device, dtype=pan.dtype)
        return one.low_pass(pan, tile.pan.valid)[0]

    def _context(self, low: Tensor, tile: Tile) -> Context | None:
        if self.traits is None:
            return None
        return as_context(self.traits, low, max(self.common.ratio))
