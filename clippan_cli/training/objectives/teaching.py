"""How a small CLIP is taught what is wrong with a fusion: by captions, by kinds, by the order of errors, by attack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.supervision.losses import type_loss
from clippan_cli.supervision.projector import Differences
from clippan_cli.supervision.prompts import KINDS
from clippan_cli.supervision.supervisor import DISTORTED, HRMS, PAN
from clippan_cli.training.data.captions import say_kind
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.loop.task import Task
from clippan_cli.training.objectives.graded import Crops, Graded, crop

_IMAGES, _BANDS = 9, 2
_TEXTS = 4
_FLOOR = 0.03
_SCALE, _MOST_SCALE = 12.0, 50.0
_SETTLED = 0.4
_UNATTACKED = 0.15
_ATTACKS, _STRENGTH = 2, (0.005, 0.08)
_BEND, _BEND_ATTACKED = 0.3, 0.1
_KEPT, _CHECKS, _CHECK_SEED = 40, 8, 1 << 40


class Pupil(nn.Module):
    """Holds a CLIP that learns.

    Args:
        clip: The CLIP, as open_clip makes it.
        tokenize: Its tokenizer.
        width: The length of its vectors.
    """

    def __init__(self, clip: Any, tokenize: Any, width: int) -> None:
        super().__init__()
        self.clip, self._tokenize, self._show = clip, tokenize, Differences()
        self.scale = nn.Parameter(torch.tensor(_SCALE).log())
        # Reads the error straight from a vector: what texts are to point along is found much sooner.
        self.reader = nn.Linear(width, 1)

    def images(self, shown: Crops, images: Tensor) -> Tensor:
        """Return the vectors of images beside their MS and PAN, ``(N, D)`` of length 1."""
        pictures = (self._show(images, shown.ms, shown.pan) - MEAN) / DEVIATION
        vectors = F.normalize(self.clip.encode_image(pictures.flatten(0, 1)), dim=-1)
        return F.normalize(vectors.view(*pictures.shape[:2], -1).mean(1), dim=-1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors of texts, ``(N, D)`` of length 1."""
        tokens = self._tokenize(list(texts)).to(self.scale.device)
        return F.normalize(self.clip.encode_text(tokens), dim=-1)

    def kinds(self, draw: Draw) -> Tensor:
        """Return the vectors of the four kinds, each the mean of a few texts: ``(4, D)``."""
        texts = self.texts([say_kind(kind, draw) for kind in KINDS for _ in range(_TEXTS)])
        return F.normalize(texts.view(len(KINDS), _TEXTS, -1).mean(1), dim=-1)

    def score(self, vectors: Tensor, kinds: Tensor) -> Tensor:
        """Return how good images are, as texts say: from ``distorted`` to ``hrms``, ``(N,)``."""
        return vectors @ F.normalize(kinds[HRMS] - kinds[DISTORTED], dim=-1) * self.scale.exp()


MEAN, DEVIATION = 0.5, 0.25
"""The statistics that the images of this CLIP are brought to."""


class Teaching(Task):
    """Weighs captions, kinds, order and attack.

    Args:
        places: The places; the first few are only validated on.
        side: The pixels a side that CLIP looks at.
        seed: The seed of every random choice.
        iterations: The number of steps of the training.
    """

    terms = ("captions", "kinds", "order", "reader", "attack")
    checks = ("spearman", "kinds_recognised", "captions_found")

    def __init__(self, places: Sequence[Graded], side: int, seed: int, iterations: int) -> None:
        self._held, self._places = places[:_KEPT], places[_KEPT:]
        self._side, self._seed, self._iterations = side, seed, iterations

    def draw(self, iteration: int, size: int) -> tuple[int, Draw, Crops]:
        """See :meth:`Task.draw`."""
        draw = Draw.of(self._seed, iteration)
        chosen = [self._places[draw.below(len(self._places))] for _ in range(size)]
        return iteration, draw, crop(chosen, self._side, _IMAGES, _BANDS, draw)

    def losses(self, net: nn.Module, sample: tuple[int, Draw, Crops]) -> dict[str, Tensor]:
        """See :meth:`Task.losses`."""
        assert isinstance(net, Pupil)
        iteration, draw, shown = sample
        # The statistics of batches, first helpful, would make what is attacked and what is seen two things.
        net.clip.train(iteration < _SETTLED * self._iterations)
        vectors, kinds = net.images(shown, shown.images), net.kinds(draw)
        scores, errors = net.score(vectors, kinds), shown.errors()
        known = shown.kinds >= 0
        return {
            "captions": _contrast(net, vectors, net.texts(shown.captions), shown.alike),
            "kinds": type_loss(vectors[known], shown.kinds[known], kinds),
            "order": _order(scores, errors, shown),
            "reader": _order(net.reader(8 * vectors)[:, 0], errors, shown),
            "attack": self._attack(net, kinds, scores, sample),
        }

    def weights(self, progress: float) -> dict[str, float]:
        """See :meth:`Task.weights`."""
        return {"captions": 0.5, "kinds": 0.5, "order": 2.0, "reader": 1.0, "attack": 3.0}

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Return how well errors are ordered within a place, and how often kinds and captions are recognised."""
        assert isinstance(net, Pupil)
        net.eval()
        found = []
        for i in range(_CHECKS):
            draw = Draw.of(_CHECK_SEED, i)
            places = [self._held[draw.below(len(self._held))] for _ in range(4)]
            shown = crop(places, self._side, _IMAGES + 3, _BANDS, draw)
            vectors, kinds = net.images(shown, shown.images), net.kinds(draw)
            scores, errors, known = net.score(vectors, kinds), shown.errors(), shown.kinds >= 0
            right = ((vectors @ kinds.T).argmax(1) == shown.kinds)[known]
            nearest = (vectors @ net.texts(shown.captions).T).argmax(1)
            own = shown.alike[torch.arange(len(nearest)), nearest]
            ranks = [_spearman(scores[here], -errors[here]) for here in _places(shown)]
            found.append((sum(ranks) / len(ranks), float(right.float().mean()), float(own.float().mean())))
        return dict(zip(self.checks, (sum(part) / len(found) for part in zip(*found, strict=True)), strict=True))

    def _attack(self, net: Pupil, kinds: Tensor, scores: Tensor, sample: tuple[int, Draw, Crops]) -> Tensor:
        """Change images so that they score higher, and ask that the score rises as far as the error falls.

        That is what a network does that is taught by the score: what pleases the text and not the truth is found, and
        unlearned.
        """
        iteration, draw, shown = sample
        if iteration < _UNATTACKED * self._iterations:
            return scores.sum() * 0
        which = draw.order(len(scores))[: len(scores) // 2].to(scores.device)
        victims = shown.pick(which)
        images = victims.images + _ascend(net, victims, kinds.detach(), draw)
        risen = net.score(net.images(victims, images), kinds) - scores[which]
        earned = _quality(victims.errors(images)) - _quality(victims.errors())
        return F.smooth_l1_loss(risen, earned, beta=_BEND_ATTACKED)


def _ascend(net: Pupil, shown: Crops, kinds: Tensor, draw: Draw) -> Tensor:
    """Return small changes of images along which their scores rise."""
    strength = torch.tensor([draw.between(*_STRENGTH) for _ in shown.captions]).to(shown.images)[:, None, None, None]
    change = 0.1 * strength * draw.normal(*shown.images.shape).to(shown.images)
    for _ in range(_ATTACKS):
        change.requires_grad_()
        (slope,) = torch.autograd.grad(net.score(net.images(shown, shown.images + change), kinds).sum(), change)
        with torch.no_grad():
            change = change + 0.7 * strength * slope / _size(slope)
            change = change * (strength / _size(change)).clamp(max=1)
    return change.detach()


def _size(x: Tensor) -> Tensor:
    return x.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)


def _quality(errors: Tensor) -> Tensor:
    """Return -log of errors; what is nearly the truth is as good as the truth."""
    return -(errors + _FLOOR).log()


def _contrast(net: Pupil, images: Tensor, texts: Tensor, alike: Tensor) -> Tensor:
    """Return CLIP's loss both ways; a caption that fits several images is right for all of them."""
    likely = images @ texts.T * net.clip.logit_scale.exp().clamp(max=_MOST_SCALE)
    wanted = alike.to(images) / alike.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(likely, wanted) + F.cross_entropy(likely.T, wanted))


def _order(scores: Tensor, errors: Tensor, shown: Crops) -> Tensor:
    """Return how far differences of scores are from those of quality, for images of one place; PAN is no fusion."""
    quality, fused = _quality(errors), shown.kinds != PAN
    same = (shown.places[:, None] == shown.places) & fused[:, None] & fused
    risen, earned = scores[:, None] - scores, quality[:, None] - quality
    return F.smooth_l1_loss(risen[same], earned[same], beta=_BEND)


def _places(shown: Crops) -> list[Tensor]:
    """Return the fusions of each place."""
    fused = shown.kinds != PAN
    return [
        torch.nonzero((shown.places == place) & fused).flatten() for place in torch.arange(int(shown.places.max()) + 1)
    ]


def _spearman(one: Tensor, other: Tensor) -> float:
    """Return the correlation of ranks."""
    ranks = torch.stack([x.argsort().argsort().float() for x in (one, other)])
    found = float(torch.corrcoef(ranks)[0, 1])
    return found if math.isfinite(found) else 0.0
