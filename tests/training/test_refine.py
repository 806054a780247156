"""Refinement: the mixture is what least squares says, and it never does harm where it can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from threading import Event
from typing import Any, cast

import pytest
import torch

from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Deaf
from clippan_cli.errors import Interrupted
from clippan_cli.modelstore.model import find_model
from clippan_cli.networks.refined import Refined, count_forms
from clippan_cli.opening.options import SceneOptions
from clippan_cli.scene.find import find_all
from clippan_cli.training import refine as refining
from clippan_cli.training.data.reduced_scene import CHANGES, ReducedScene, reduce_scene
from clippan_cli.training.objectives.simulated import fuse
from clippan_cli.training.objectives.with_truth import back_project_pairs
from clippan_cli.training.refine import look_up, refine
from tests.training.conftest import CPU, MakeScene, Said

BANDS = 3


@pytest.fixture
def lessons(make_scene: MakeScene) -> Sequence[ReducedScene]:
    return reduced(make_scene, size=128)


def reduced(make_scene: MakeScene, **more: Any) -> Sequence[ReducedScene]:
    (files,) = find_all([str(make_scene(count=BANDS, **more).folder)])
    return reduce_scene(files, SceneOptions(), CPU, Deaf())


@pytest.fixture
def net() -> Refined:
    model = find_model("injector-4")
    made = Refined(BANDS, **model.settings)
    made.load_state_dict(model.load().state_dict(), strict=False)
    return made.eval()


def errors(net: Refined, lessons: Sequence[ReducedScene]) -> list[float]:
    """What the product lacks of the truth, from scene to scene, without its edges."""
    found = []
    for lesson in lessons:
        batch = lesson.batch(Box.whole(lesson.pair.ms.shape))
        with torch.inference_mode():
            out = back_project_pairs(fuse(net, batch), batch, 2)
        relative = (out - batch.truth)[..., 10:-10, 10:-10] / batch.context.mean[..., None, None]
        found.append(float(relative.square().mean().sqrt()))
    return found


def test_a_mixture_of_nothing_changes_nothing(net: Refined, lessons: Sequence[ReducedScene]) -> None:
    batch = lessons[0].batch(Box.whole(lessons[0].pair.ms.shape))
    with torch.inference_mode():
        begun = find_model("injector-4").load()
        assert torch.equal(fuse(net, batch), fuse(begun, batch))


def test_the_sums_foretell_the_error(net: Refined, lessons: Sequence[ReducedScene]) -> None:
    lesson, box = lessons[1], Box.whole(lessons[1].pair.ms.shape)
    sums = refining._sum_up(net, lesson, 0, box, 2)
    torch.manual_seed(0)
    weights = 0.02 * torch.randn(BANDS, count_forms(BANDS))
    foretold = sums.ratio(weights.double())
    with torch.no_grad():
        net.mixture.copy_(weights)
    changed = refining._sum_up(net, lesson, 0, box, 2)
    # Sums of a refined network are those of what it began with: its product is asked for here.
    assert changed.error == sums.error
    batch, inner = lesson.surround(box)
    with torch.inference_mode():
        lacking = (batch.truth - back_project_pairs(fuse(net, batch), batch, 2))[0][(slice(None), *inner)].double()
    level = batch.ms_up[0].square().mean(0)[inner].double()
    weight = 1 / batch.context.mean[0].double().square()[:, None, None] + 1 / level
    assert 0.5 * torch.log((weight * lacking.square()).sum() / sums.error) == pytest.approx(foretold, abs=1e-4)


def test_what_is_spoiled_is_mended(net: Refined, lessons: Sequence[ReducedScene]) -> None:
    with torch.no_grad():
        for head in net.head.parameters():
            head.mul_(0.3)
    before = errors(net, lessons)
    held_out = refine(net, lessons, consistency=2, hears=Deaf(), stop=Event())
    after = errors(net, lessons)
    assert min(held_out.values()) < 0.9
    assert all(now < 0.9 * then for now, then in zip(after, before, strict=True))


def test_what_is_learned_below_is_judged_above(net: Refined, make_scene: MakeScene) -> None:
    middle = len(CHANGES) // 2
    large, small = (reduced(make_scene, size=size)[middle] for size in (256, 128))
    with torch.no_grad():
        for head in net.head.parameters():
            head.mul_(0.3)
        net.mixture.fill_(0.5)
    ask = partial(look_up, net, consistency=2, blind=True, stop=Event())
    found = ask([large])
    assert found is not None
    assert found < 0.95
    assert ask([large, small]) == found
    assert ask([small]) is None
    assert bool((net.mixture == 0.5).all())


def test_what_does_not_help_is_left_out(
    net: Refined, lessons: Sequence[ReducedScene], monkeypatch: pytest.MonkeyPatch
) -> None:
    def misled(*arguments: object) -> refining.Sums:
        torch.manual_seed(len(seen))
        seen.append(arguments)
        forms, noise = torch.randn(BANDS, count_forms(BANDS), 40).double(), torch.randn(BANDS, 40).double()
        answers = torch.einsum("ckn,cn->ck", forms, noise)
        return refining.Sums(cast(int, arguments[2]), forms @ forms.mT, answers, float(noise.square().sum()))

    seen: list[object] = []
    monkeypatch.setattr(refining, "_sum_up", misled)
    with torch.no_grad():
        net.mixture.fill_(1.0)
    assert min(refine(net, lessons, consistency=2, hears=Deaf(), stop=Event()).values()) >= 1
    assert not bool(net.mixture.any())


def test_the_same_scene_gives_the_same_mixture(net: Refined, lessons: Sequence[ReducedScene]) -> None:
    mixtures = []
    for _ in range(2):
        refine(net, lessons, consistency=2, hears=Deaf(), stop=Event())
        mixtures.append(net.mixture.detach().clone())
    assert torch.equal(*mixtures)
    assert bool(mixtures[0].any())


def test_brighter_scenes_are_refined_alike(net: Refined, make_scene: MakeScene) -> None:
    mixtures = []
    for peak in (1.0, 3.0):
        refine(net, reduced(make_scene, size=96, peak=peak, dtype="float32"), consistency=2, hears=Deaf(), stop=Event())
        mixtures.append(net.mixture.detach().clone())
    torch.testing.assert_close(*mixtures, rtol=1e-2, atol=1e-3)


def test_time_ends_a_refinement_when_every_part_was_seen(net: Refined, lessons: Sequence[ReducedScene]) -> None:
    said = Said()
    held_out = refine(net, lessons, consistency=2, hears=said, stop=Event(), seconds=0)
    (line,) = said.lines
    assert "blocks were looked at in 0 s" in line
    assert int(line.split()[0]) < int(line.split()[2])
    assert len(held_out) > 1


def test_a_refinement_stops(net: Refined, lessons: Sequence[ReducedScene]) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Interrupted, match="stopped while refining"):
        refine(net, lessons, consistency=2, hears=Deaf(), stop=stop)
    assert not bool(net.mixture.any())


@pytest.mark.parametrize("size", [16, 30, 100, 256, 1000])
def test_blocks_lie_within_and_in_every_part(lessons: Sequence[ReducedScene], size: int) -> None:
    spans = refining._spans(size)
    assert spans[0].start == 0
    assert spans[-1].stop == size
    assert all(before.start < after.start for before, after in pairwise(spans))
    assert {fold for fold, _ in refining._blocks(lessons[0])} == set(range(4))
