"""Stage I of CLIPPan: what the adapters learn, and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.fusion.consistency import back_project
from clippan_cli.supervision.adapters import TYPES
from clippan_cli.supervision.losses import alignment_loss, scene_loss, type_loss
from clippan_cli.supervision.prompts import KINDS
from clippan_cli.supervision.supervisor import HRMS, MS, PAN, Supervisor
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.data.tile_reader import TileStream
from clippan_cli.training.loop.task import Task

LOSSES = {"type": 1.0, "scene": 1.0, "fusion": 10.0}
"""InterMCL, IntraMCL and fusion alignment, with their weights (CLIPPan's Table 3)."""

REFERENCE = "bdsd-pc"
"""The method that makes HRMS images for stage I."""

_STEPS = 3
_OWN = ("ms", "pan", "hrms", "hrms")
_OTHERS = ("hrms", "ms", "pan", "ms")


@dataclass(frozen=True)
class Lesson:
    """Tiles, good fusions of them, and bad ones.

    Args:
        tiles: MS and PAN.
        hrms: ``(B, C, H, W)``, the good fusion of each tile.
        distorted: ``(B, C, H, W)``, the bad fusion of each tile.
    """

    tiles: Tiles
    hrms: Tensor
    distorted: Tensor


class Adapting(Task):
    """Weighs three losses on the features of triplets and of bad fusions.

    Args:
        stream: Gives the tiles of each step.
        held: The tiles to validate on.
        weights: The weight of each loss, by its name.
        temperatures: The temperatures τ_c and τ_i of the losses over types and over scenes.
        seed: The seed of what is distorted and how.
    """

    checks = (*(f"accuracy_{name}" for name in KINDS), "swapped", "noise", "retrieval", "cosine")

    def __init__(
        self,
        stream: TileStream,
        held: Sequence[Tiles],
        weights: Mapping[str, float],
        temperatures: tuple[float, float],
        seed: int,
    ) -> None:
        self._stream, self._held, self._weights = stream, held, weights
        self._temperatures, self._seed = temperatures, seed
        self.terms = tuple(name for name, weight in weights.items() if weight)

    def draw(self, iteration: int, size: int) -> Lesson:
        """See :meth:`Task.draw`."""
        return lesson(self._stream(iteration, size), Draw.of(self._seed, iteration))

    def losses(self, net: nn.Module, sample: Lesson) -> dict[str, Tensor]:
        """See :meth:`Task.losses`."""
        assert isinstance(net, Supervisor)
        texts, seen = net.texts(), _adapt(net, _look(net, sample), _OWN)
        size = len(sample.hrms)
        three = torch.cat(seen[:3])
        found = {}
        if "type" in self.terms:
            types = torch.arange(4, device=three.device).repeat_interleave(size)
            found["type"] = type_loss(torch.cat(seen), types, texts, self._temperatures[0])
        if "scene" in self.terms:
            scenes = torch.arange(size, device=three.device).repeat(3)
            alike = sample.tiles.overlaps.to(three.device).repeat(3, 3)
            found["scene"] = scene_loss(three, scenes, self._temperatures[1], alike)
        if "fusion" in self.terms:
            images = alignment_loss(net.adapters.fuse_images(seen[MS], seen[PAN]), seen[HRMS].detach())
            made = net.adapters.fuse_texts(texts[MS : MS + 1], texts[PAN : PAN + 1])
            found["fusion"] = images + alignment_loss(made, texts[HRMS : HRMS + 1].detach())
        return found

    def weights(self, progress: float) -> dict[str, float]:
        """See :meth:`Task.weights`."""
        return dict(self._weights)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure on tiles kept aside what is recognised, and how much of that is read from the image.

        ``accuracy_…`` is the share of each class that is recognised; ``swapped``, their mean where each image goes
        through the adapter of another type; ``noise``, how often noise is taken for the type whose adapter it goes
        through. ``retrieval`` is how often the HRMS of an MS is found; ``cosine``, how alike the two kinds of HRMS are.
        """
        assert isinstance(net, Supervisor)
        lessons = [lesson(tiles, Draw(i)) for i, tiles in enumerate(self._held)]
        texts = net.texts()
        looked = [torch.cat(parts) for parts in zip(*(_look(net, each) for each in lessons), strict=True)]
        seen, swapped = (_adapt(net, looked, kinds) for kinds in (_OWN, _OTHERS))
        found = [_recognised(part, kind, texts) for kind, part in enumerate(seen)]
        apart = [_recognised(part, kind, texts) for kind, part in enumerate(swapped)]
        return {
            **{f"accuracy_{name}": value for name, value in zip(KINDS, found, strict=True)},
            "swapped": sum(apart) / len(apart),
            "noise": sum(_noise_taken(net, each, texts) for each in lessons) / len(lessons),
            "retrieval": _retrieval(seen[MS], seen[HRMS]),
            "cosine": float((net.adapters.fuse_images(seen[MS], seen[PAN]) * seen[HRMS]).sum(1).mean()),
        }

    def where(self, sample: Lesson) -> str:
        """See :meth:`Task.where`."""
        return sample.tiles.where

    @property
    def skipped(self) -> int:
        """The number of scenes that could not be read to the end."""
        return len(self._stream.lost)


def lesson(tiles: Tiles, draw: Draw) -> Lesson:
    """Fuse tiles well, and spoil the result."""
    with torch.no_grad():
        good = [back_project(site.fitted[REFERENCE].fuse(tile), tile, _STEPS) for site, tile in tiles.singly()]
        hrms = torch.stack(good)
        bad = [distort(one, tiles.ms_up[i], draw) for i, one in enumerate(hrms)]
    return Lesson(tiles, hrms, torch.stack(bad))


def distort(hrms: Tensor, ms_up: Tensor, draw: Draw) -> Tensor:
    """Spoil a fusion as fusions fail: blurred, over-sharpened, in wrong colours, noisy, or with detail in wrong places.

    Args:
        hrms: ``(C, H, W)``, the good fusion.
        ms_up: ``(C, H, W)``, the interpolated MS.
        draw: The source of the way and of its amount.
    """
    way = draw.below(5)
    soft = F.avg_pool2d(F.pad(hrms[None], (2, 2, 2, 2), mode="reflect"), 5, 1)[0]
    if way == 0:
        return soft
    if way == 1:
        return hrms + draw.uniform(1.0, 2.0) * (hrms - soft)
    if way == 2:
        gains = (0.35 * draw.normal(len(hrms), 1, 1)).exp()
        return hrms * gains.to(hrms)
    if way == 3:
        deviation = hrms.std((1, 2), keepdim=True)
        return hrms + draw.between(0.1, 0.5) * deviation * draw.normal(*hrms.shape).to(hrms)
    moves = [(2 + draw.below(4)) * (1 if draw.chance(0.5) else -1) for _ in range(2)]
    return ms_up + (hrms - ms_up).roll(moves, (1, 2))


def _look(net: Supervisor, sample: Lesson) -> list[Tensor]:
    """Return the features of MS, PAN, HRMS and of what is distorted, as CLIP gives them."""
    tiles = sample.tiles
    ms, pan = tiles.bands(tiles.ms_up), tiles.pans(tiles.pan)
    return [
        net.look_at_bands(ms, ms, pan),
        net.look_at_pan(pan, ms),
        net.look_at_bands(tiles.bands(sample.hrms), ms, pan),
        net.look_at_bands(tiles.bands(sample.distorted), ms, pan),
    ]


def _adapt(net: Supervisor, looked: Sequence[Tensor], kinds: Sequence[str]) -> list[Tensor]:
    """Send features through the adapters of types, one for each class."""
    return [net.adapt(part, kind) for part, kind in zip(looked, kinds, strict=True)]


def _recognised(seen: Tensor, kind: int, texts: Tensor) -> float:
    """Return the share of images whose nearest text is that of their kind."""
    return float(((seen @ texts.T).argmax(1) == kind).float().mean())


def _noise_taken(net: Supervisor, sample: Lesson, texts: Tensor) -> float:
    """Return how often noise is taken for the type whose adapter it goes through."""
    tiles = sample.tiles
    ms, pan = tiles.bands(tiles.ms_up), tiles.pans(tiles.pan)
    noise = torch.rand(ms.shape, generator=torch.Generator().manual_seed(0)).to(ms)
    looked = net.look_at_bands(noise, ms, pan)
    seen = (net.adapt(looked, kind) for kind in TYPES)
    return sum(_recognised(part, kind, texts) for kind, part in enumerate(seen)) / len(TYPES)


def _retrieval(first: Tensor, second: Tensor) -> float:
    """Return how often the nearest of the second shows the same place."""
    nearest = (first @ second.T).argmax(1)
    return float((nearest == torch.arange(len(first), device=first.device)).float().mean())
