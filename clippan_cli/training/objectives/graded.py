"""Places seen as many images, from the truth to bad fusions, whose errors are known: what a CLIP is taught with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.errors import ClippanError
from clippan_cli.fusion.registry import method
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.networks.network import Network
from clippan_cli.physics.operators import Operators
from clippan_cli.supervision.prompts import KINDS
from clippan_cli.supervision.supervisor import DISTORTED
from clippan_cli.training.data.captions import say_damage, say_error, say_kind
from clippan_cli.training.data.damages import Damage, Fusion, spoil
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.simulated_pairs import Group, make_batch, margin
from clippan_cli.training.objectives.simulated import fuse
from clippan_cli.training.objectives.with_truth import back_project_pairs

_PAIRS = 4
_CLASSICAL = ("gsa", "bdsd-pc", "mtf-glp-fs", "mtf-glp-hpm-r", "brovey")
_STEPS = 2
_SPOILT, _PROJECTED = 9, 0.4
_SIDE = 112
_ENDS = (0.01, 0.99)
_LEAST_WIDTH, _LEAST_CONTRAST = 0.05, 0.02
_ALWAYS = 5
_ERRORS_TOLD = 0.3
_LIGHT, _LEVEL = (0.8, 1.25), 0.1


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One place, as interpolated MS, as PAN, and fused well and badly; all stretched, in half precision.

    Args:
        images: ``(N, C, H, W)``; the truth, MS, PAN, what a network and what a formula makes, then what was spoilt.
        damages: What was done to each image; None for the first five.
        ms: ``(C, H, W)``, the interpolated MS.
        pan: ``(H, W)``, PAN.
        contrast: ``(C,)``, the standard deviation of each band.
    """

    images: Tensor
    damages: tuple[Damage | None, ...]
    ms: Tensor
    pan: Tensor
    contrast: Tensor


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Images of several places, as a CLIP is shown them.

    Args:
        images: ``(N, C, S, S)``.
        ms: ``(N, C, S, S)``, the interpolated MS of each.
        pan: ``(N, 1, S, S)``, the PAN of each.
        truth: ``(N, C, S, S)``, the truth of each.
        contrast: ``(N, C)``, the standard deviation of each band.
        places: ``(N,)``, the place that each shows.
        kinds: ``(N,)``, the index of the kind that each is of; -1 where that is open.
        captions: What there is to say of each.
        alike: ``(N, N)``, True where a caption fits another image as well.
    """

    images: Tensor
    ms: Tensor
    pan: Tensor
    truth: Tensor
    contrast: Tensor
    places: Tensor
    kinds: Tensor
    captions: tuple[str, ...]
    alike: Tensor

    def errors(self, images: Tensor | None = None) -> Tensor:
        """Return how far images, or these, are from the truth: the root mean square over the contrast, ``(N,)``."""
        return _errors(self.images if images is None else images, self.truth, self.contrast)

    def pick(self, which: Tensor) -> Crops:
        """Return some of the images."""
        parts = ("images", "ms", "pan", "truth", "contrast", "places", "kinds")
        chosen = {name: getattr(self, name)[which] for name in parts}
        captions = tuple(self.captions[i] for i in which.tolist())
        return replace(self, **chosen, captions=captions, alike=self.alike[which][:, which])


def _errors(images: Tensor, truth: Tensor, contrast: Tensor) -> Tensor:
    apart = (images - truth) / contrast[..., None, None]
    return apart.square().mean((1, 2, 3)).sqrt()


def grade(groups: Sequence[Group], net: Network, draw: Draw) -> list[Graded]:
    """Make a few places: degrade sources, fuse the pairs, and spoil the fusions.

    Args:
        groups: Where pixels come from.
        net: A trained network, whose own images are among the fusions.
        draw: The source of every random choice.
    """
    batch = make_batch(groups, _PAIRS, draw)
    with torch.no_grad():
        learned = back_project_pairs(fuse(net, batch), batch, _STEPS)
        return [_grade_one(_single(batch, i), learned[i], draw) for i in range(_PAIRS)]


def _single(batch: Batch, index: int) -> Batch:
    """Return one pair of a batch; what is known of the scene as a whole stays that of the batch."""
    bands, one = batch.ms.shape[1], slice(index, index + 1)
    sampling = batch.operators.sampling.pick(range(index * bands, (index + 1) * bands))
    operators = Operators(sampling, batch.operators.pan_box, batch.operators.ms_box, device=batch.ms.device)
    parts = {name: getattr(batch, name)[one] for name in ("ms", "pan", "ms_up", "truth")}
    return replace(batch, **parts, operators=operators)


def _grade_one(pair: Batch, learned: Tensor, draw: Draw) -> Graded:
    truth, ms_up, pan = pair.truth[0], pair.ms_up[0], pair.pan[0, 0]
    low, width = _stretch(ms_up)
    dark, bright = _stretch(pan[None])
    as_pan = (pan - dark[0]) / bright[0] * width + low
    bases = truth, learned, _formula(pair, learned, draw)
    images: list[Tensor] = [truth, ms_up, as_pan, *bases[1:]]
    damages: list[Damage | None] = [None] * _ALWAYS
    deviation = truth.std((1, 2), keepdim=True).clamp(min=1e-6)
    for _ in range(_SPOILT):
        base = bases[draw.below(len(bases))]
        fusion = Fusion(image=base, ms_up=ms_up, pan=pan, deviation=deviation, ratio=pair.context.ratio)
        image, damage = spoil(fusion, draw)
        # Every product ends in back-projections: what is left after them shall be known too.
        images.append(back_project_pairs(image[None], pair, _STEPS)[0] if draw.chance(_PROJECTED) else image)
        damages.append(damage)
    whole = Box.whole(pan.shape)
    inner = whole.grown(-margin(pair.context.ratio))
    box = draw.box(inner, [min(_SIDE, size) for size in inner.shape])
    return Graded(
        images=box.cut(torch.stack([(image - low) / width for image in images]), whole).half(),
        damages=tuple(damages),
        ms=box.cut((ms_up - low) / width, whole).half(),
        pan=box.cut((pan - dark[0]) / bright[0], whole).half(),
        contrast=(deviation / width).flatten().clamp(min=_LEAST_CONTRAST),
    )


def _formula(pair: Batch, learned: Tensor, draw: Draw) -> Tensor:
    """Return what a classical method makes of a pair, or what the network made where that method cannot."""
    name = _CLASSICAL[draw.below(len(_CLASSICAL))]
    try:
        return fuse_whole(method(name), pair.ms[0], pair.pan[0, 0], pair.operators.sampling, _STEPS)
    except (ClippanError, ValueError, ArithmeticError):
        return learned


def _stretch(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the dark end of each plane, and how far the bright end lies above it: ``(C, 1, 1)`` each."""
    ends = torch.tensor(_ENDS).to(x)
    low, high = x.flatten(1)[:, ::5].quantile(ends, dim=1)
    width = torch.maximum(high - low, _LEAST_WIDTH * (high - low).max() + 1e-6)
    return low[:, None, None], width[:, None, None]


def crop(places: Sequence[Graded], side: int, count: int, bands: int, draw: Draw) -> Crops:
    """Cut out a part of each place, turned somehow, in some of its images and bands.

    Args:
        places: The places.
        side: The pixels a side.
        count: The number of images of each place; the truth is always among them.
        bands: The number of bands of each.
        draw: The source of every random choice.
    """
    parts = [_crop_one(place, side, count, bands, draw) for place in places]
    told = [_tell(place, kept, part, draw) for place, (kept, part) in zip(places, parts, strict=True)]
    labels = [label for _, labelled, _ in told for label in labelled]
    stacked = {name: torch.cat([part[name] for _, part in parts]) for name in parts[0][1]}
    return Crops(
        **stacked,
        places=torch.arange(len(places)).repeat_interleave(count),
        kinds=torch.tensor([kind for _, _, kinds in told for kind in kinds]),
        captions=tuple(caption for captions, _, _ in told for caption in captions),
        alike=torch.tensor([[one == other for other in labels] for one in labels]),
    )


def _crop_one(place: Graded, side: int, count: int, bands: int, draw: Draw) -> tuple[list[int], dict[str, Tensor]]:
    whole = Box.whole(place.pan.shape)
    box, turns, flipped = draw.box(whole, (side, side)), draw.below(4), draw.chance(0.5)
    light, level = draw.uniform(*_LIGHT), draw.uniform(-_LEVEL, _LEVEL)
    kept = [0, *(1 + i for i in draw.order(len(place.images) - 1)[: count - 1].tolist())]
    chosen = (draw.order(len(place.ms)).tolist() * bands)[:bands]

    def cut(x: Tensor) -> Tensor:
        turned = torch.rot90(box.cut(x, whole).float(), turns, (-2, -1))
        return turned.flip(-1) if flipped else turned

    # Another window of the scene would have been stretched otherwise.
    images, ms, truth = (
        cut(x) * light + level for x in (place.images[kept][:, chosen], place.ms[chosen], place.images[0, chosen])
    )
    return kept, {
        "images": images,
        "ms": ms.expand_as(images),
        "pan": cut(place.pan).expand(count, 1, -1, -1),
        "truth": truth.expand_as(images),
        "contrast": (light * place.contrast[chosen]).expand(count, -1),
    }


_FIXED = {0: "hrms", 1: "ms", 2: "pan"}


def _tell(
    place: Graded, kept: Sequence[int], part: dict[str, Tensor], draw: Draw
) -> tuple[list[str], list[object], list[int]]:
    """Say of each image what it is: a caption, what makes captions alike, and its kind."""
    errors = _errors(part["images"], part["truth"], part["contrast"]).tolist()
    captions: list[str] = []
    labels: list[object] = []
    kinds: list[int] = []
    for index, error in zip(kept, errors, strict=True):
        damage = place.damages[index]
        if index in _FIXED:
            captions.append(say_kind(_FIXED[index], draw))
            labels.append(_FIXED[index])
        elif damage is None or draw.chance(_ERRORS_TOLD):
            captions.append(say_error(error, draw))
            labels.append(("error", round(4 * torch.tensor(error + 0.03).log().item())))
        else:
            captions.append(say_damage(damage, draw))
            labels.append((damage.way, round(4 * damage.share)))
        kinds.append(_kind(index, damage))
    return captions, labels, kinds


def _kind(index: int, damage: Damage | None) -> int:
    """Return the index of the kind of an image; -1 for a damage that is hardly seen."""
    if damage is None:
        return KINDS.index(_FIXED.get(index, "hrms"))
    return DISTORTED if damage.clear else -1
