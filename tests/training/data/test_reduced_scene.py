"""Scenes one scale down, where the measured MS is the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError, UsageError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.physics.operators import Operators
from clippan_cli.scene.find import find_all
from clippan_cli.training.data import learned_scene
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.reduced_scene import CHANGES, ReducedScene, reduce_scene
from tests.conftest import Made, read
from tests.training.conftest import CPU, MakeScene, Said


def reduced_all(scene: Made, options: SceneOptions | None = None, said: Said | None = None) -> tuple[ReducedScene, ...]:
    (files,) = find_all([str(scene.folder)])
    return reduce_scene(files, options or SceneOptions(), CPU, said or Said())


def reduced(scene: Made, options: SceneOptions | None = None, said: Said | None = None) -> ReducedScene:
    """Return a scene through the very optics that are believed."""
    made = reduced_all(scene, options, said)
    return made[len(made) // 2]


@pytest.fixture
def small(make_scene: MakeScene) -> ReducedScene:
    return reduced(make_scene(size=72))


def test_the_truth_is_what_was_measured(make_scene: MakeScene) -> None:
    scene = make_scene(size=64)
    said = Said()
    found = reduced(scene, said=said)
    measured = torch.from_numpy(read(scene.ms).astype("float32"))
    scale = float((measured / found.pair.truth).median())
    torch.testing.assert_close(found.pair.truth * scale, measured, rtol=1e-5, atol=1e-3)
    assert found.pair.ms.shape == (4, 16, 16)
    assert found.pair.pan.shape == (64, 64)
    assert said.lines == [f"learning from {scene.folder.name}: 16 × 16 px one scale down"]


def test_ms_and_pan_are_what_the_sensor_would_have_seen(small: ReducedScene) -> None:
    pair = small.pair
    whole, fine = Box.whole(pair.ms.shape), Box.whole(pair.pan.shape)
    seen = Operators(pair.sampling, fine, whole).down(pair.truth)
    torch.testing.assert_close(seen, pair.ms, rtol=1e-4, atol=1e-5)
    # The PAN of these scenes is the mean of their bands.
    apart = (pair.pan - pair.truth.mean(0))[6:-6, 6:-6]
    assert float(apart.std()) < 0.15 * float(pair.pan.std())


def test_crops_lie_within_and_repeat(small: ReducedScene) -> None:
    shapes, first = set(), []
    for seed in range(12):
        batch, again = small.crop(Draw(seed)), small.crop(Draw(seed))
        assert torch.equal(batch.ms, again.ms)
        assert batch.truth.shape == batch.ms_up.shape
        assert batch.pan.shape[2:] == batch.truth.shape[2:]
        assert all(bool(torch.isfinite(x).all()) for x in (batch.ms, batch.pan, batch.truth, batch.context.traits))
        shapes.add(tuple(batch.ms.shape))
        first.append(float(batch.ms[0, 0, 0, 0]))
    assert shapes == {(1, 4, 18, 18)}
    assert len(set(first)) == 1  # 72 / 4 = 18 is less than a crop: it is always the whole


@pytest.fixture
def wide(make_scene: MakeScene) -> ReducedScene:
    return reduced(make_scene(size=80, ratio=2))


def test_a_crop_is_a_window_of_the_whole(wide: ReducedScene) -> None:
    pair = wide.pair
    whole = wide.batch(Box.whole(pair.ms.shape))
    box = Box(Span(4, 36), Span(6, 38))
    part = wide.batch(box)
    assert torch.equal(part.ms[0], pair.ms[:, 4:36, 6:38])
    assert torch.equal(part.truth, whole.truth[..., 7 : 7 + part.truth.shape[2], 11 : 11 + part.truth.shape[3]])
    inner = (..., slice(10, -10), slice(10, -10))
    placed = whole.ms_up[..., 7 : 7 + part.truth.shape[2], 11 : 11 + part.truth.shape[3]]
    torch.testing.assert_close(part.ms_up[inner], placed[inner], rtol=1e-4, atol=1e-5)
    # What is known of the scene is the same wherever a crop lies.
    assert torch.equal(part.context.traits, whole.context.traits)
    assert torch.equal(part.context.deviation, whole.context.deviation)


def test_crops_reach_every_corner(wide: ReducedScene) -> None:
    crops = [wide.crop(Draw(seed)).ms[0, 0] for seed in range(60)]
    assert {tuple(crop.shape) for crop in crops} == {(32, 32)}
    tops = {float(crop[0, 0]) for crop in crops}
    corners = {float(wide.pair.ms[0, r, c]) for r in range(9) for c in range(9)}
    assert tops <= corners
    assert len(tops) > 20


def test_gaps_are_refused(make_scene: MakeScene) -> None:
    valid = np.ones((72, 72), bool)
    valid[30, 30] = False
    with pytest.raises(InputError, match="has gaps wherever it was to be learned") as caught:
        reduced(make_scene(size=72, valid=valid, nodata=0))
    assert "without nodata" in caught.value.hint


def test_gaps_in_the_middle_are_passed_by(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_scene, "LARGEST", 128)
    valid = np.ones((144, 144), bool)
    valid[60:80, 90:100] = False
    scene = make_scene(size=144, valid=valid, nodata=0)
    found = reduced(scene)
    measured = torch.from_numpy(read(scene.ms).astype("float32"))[:, 40:104, :64]
    assert found.pair.truth.shape == measured.shape
    torch.testing.assert_close(found.pair.truth / found.pair.truth.mean(), measured / measured.mean())


def test_gaps_beside_the_middle_do_not_matter(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_scene, "LARGEST", 64)
    valid = np.ones((96, 96), bool)
    valid[:3, :3] = False
    assert reduced(make_scene(size=96, valid=valid, nodata=0)).pair.truth.shape[1:] == (64, 64)


@pytest.mark.parametrize(("ratio", "least"), [(2, 32), (4, 64)])
def test_too_small(make_scene: MakeScene, ratio: int, least: int) -> None:
    with pytest.raises(InputError, match="too small to learn from") as caught:
        reduced(make_scene(size=least - 1, ratio=ratio))
    assert caught.value.hint == f"it takes {least} px a side"
    assert reduced(make_scene(size=least, ratio=ratio)).pair.ms.shape == (4, 16, 16)


def part(scene: Made, area: Box, least: int = 8) -> ReducedScene:
    """Return a part of a scene through the optics that are believed."""
    (files,) = find_all([str(scene.folder)])
    made = reduce_scene(files, SceneOptions(), CPU, Said(), area, least=least)
    return made[len(made) // 2]


def test_a_part_of_a_scene_is_looked_at(make_scene: MakeScene) -> None:
    """It is large enough: what is read is that part."""
    scene = make_scene(size=80)
    found = part(scene, Box(Span(4, 52), Span(12, 76)))
    assert found.pair.truth.shape == (4, 48, 64)
    assert found.area == Box(Span(0, 12), Span(0, 16)) == Box.whole(found.pair.ms.shape)
    measured = torch.from_numpy(read(scene.ms).astype("float32"))[:, 4:52, 12:76]
    scale = float((measured / found.pair.truth).median())
    torch.testing.assert_close(found.pair.truth * scale, measured, rtol=1e-5, atol=1e-3)


def test_a_part_that_is_too_small_takes_what_lies_around_it(make_scene: MakeScene) -> None:
    """The pixels around it are there for the filters: they are not in the area."""
    scene = make_scene(size=80)
    found = part(scene, Box(Span(70, 80), Span(0, 80)))
    assert found.pair.truth.shape == (4, 32, 80)
    # Rows 48 to 80 are read; of these 70 to 80 lie from row 5.5 one scale down.
    assert found.area == Box(Span(6, 8), Span(0, 20))
    alone = part(scene, Box(Span(30, 50), Span(20, 45)))
    assert alone.pair.truth.shape == (4, 32, 32)
    # Rows 24 to 56 and columns 17 to 49: whole pixels of the area only.
    assert alone.area == Box(Span(2, 6), Span(1, 7))


def test_the_least_that_is_learned_from(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    with pytest.raises(InputError, match="too small to learn from"):
        reduced(scene)
    assert part(scene, Box(Span(0, 40), Span(0, 40))).pair.ms.shape == (4, 10, 10)
    with pytest.raises(InputError, match="too small to learn from") as caught:
        part(scene, Box(Span(0, 40), Span(0, 40)), least=11)
    assert caught.value.hint == "it takes 44 px a side"


def test_crops_lie_in_the_area(make_scene: MakeScene) -> None:
    found = part(make_scene(size=80), Box(Span(40, 80), Span(0, 80)), least=20)
    assert found.pair.ms.shape == (4, 20, 20)
    assert found.area == Box(Span(10, 20), Span(0, 20))
    for seed in range(4):
        batch = found.crop(Draw(seed))
        assert torch.equal(batch.ms[0], found.pair.ms[:, 10:])


@pytest.mark.parametrize("corner", [(0, 0), (14, 20), (28, 28)])
def test_a_window_with_what_lies_around_it(wide: ReducedScene, corner: tuple[int, int]) -> None:
    """What lies within is what a network sees of the whole, without the edges of the scene."""
    pair, box = wide.pair, Box.at(corner, (12, 12))
    whole, fine = Box.whole(pair.ms.shape), Box.whole(pair.pan.shape)
    around = wide.around(box)
    assert around == box.grown(12).intersection(whole)
    batch, inner = wide.surround(box)
    assert torch.equal(batch.ms[0], around.cut(pair.ms, whole))
    seen = wide.pan_box(box).intersection(fine.grown(-6))
    assert torch.equal(batch.truth[0][:, *inner], seen.cut(pair.truth, fine))
    assert batch.truth[0][:, *inner].shape[1:] == seen.shape
    complete = wide.batch(whole).ms_up[0]
    torch.testing.assert_close(batch.ms_up[0][:, *inner], seen.cut(complete, fine), rtol=1e-4, atol=1e-5)


def test_a_scene_is_seen_through_several_optics(make_scene: MakeScene) -> None:
    scene = make_scene(size=96)
    made = reduced_all(scene)
    contrasts = [float(each.pair.ms.std()) for each in made]
    assert contrasts == sorted(contrasts)
    assert len(set(contrasts)) == len(CHANGES)
    # The truth and PAN are the same, and what is believed follows what the pixels show.
    assert all(torch.equal(each.pair.truth, made[0].pair.truth) for each in made)
    assert all(torch.equal(each.pair.pan, made[0].pair.pan) for each in made)
    gains = [each.pair.sampling.gains[0] for each in made]
    assert gains == sorted(gains)
    (only,) = reduced_all(scene, SceneOptions(stated_optics=True))
    assert only.pair.sampling.softness is None


def test_what_is_said_of_a_scene_is_heard(make_scene: MakeScene) -> None:
    scene = make_scene(size=64)
    found = reduced(scene, SceneOptions(mtf_gain=0.15, stated_optics=True))
    assert found.pair.sampling.gains == (0.15,) * 4
    assert reduced(scene).pair.sampling.gains != (0.15,) * 4
    softer, sharper = found.pair.ms, reduced(scene, SceneOptions(mtf_gain=0.6, stated_optics=True)).pair.ms
    assert float(softer.std()) < float(sharper.std())
    with pytest.raises(UsageError, match="unknown sensor"):
        reduced(scene, SceneOptions(sensor="sputnik"))
