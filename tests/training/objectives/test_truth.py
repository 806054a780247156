"""Networks judged by the truth, one scale down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clippan_cli.base.geometry import Box, Span, trim
from clippan_cli.errors import InputError
from clippan_cli.fusion.registry import method
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.reference import ergas, sam
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.reduced_scene import ReducedScene
from clippan_cli.training.data.simulated_pairs import margin
from clippan_cli.training.objectives import truth as truths
from clippan_cli.training.objectives.truth import TRUTH, Truth, means, over, reduce_sites
from tests.training.conftest import CPU, Put, Said, sites_of


@pytest.fixture
def scenes(put: Put) -> list[tuple[ReducedScene, ...]]:
    """A scene with two places to ask, through several optics."""
    return reduce_sites(sites_of(put("a", size=110), side=80), CPU, Said(), held=True)


def interpolate(pair: Batch) -> Tensor:
    return pair.ms_up


def know(pair: Batch) -> Tensor:
    return pair.truth


def half_know(pair: Batch) -> Tensor:
    return 0.5 * (pair.ms_up + pair.truth)


def test_the_truth_has_no_error(scenes: list[tuple[ReducedScene, ...]]) -> None:
    judge = Truth(scenes)
    best, plain = judge.measure(know), judge.measure(interpolate)
    assert best.shape == plain.shape == (2, 2)
    assert tuple(means(best)) == TRUTH
    assert all(value < 1e-3 for value in means(best).values())
    assert all(value > 0.5 for value in means(plain).values())
    assert over(best, plain) < -3
    assert over(plain, best) > 3


def test_half_the_error_is_half_the_number(scenes: list[tuple[ReducedScene, ...]]) -> None:
    judge = Truth(scenes)
    half, plain = judge.measure(half_know), judge.measure(interpolate)
    torch.testing.assert_close((half - plain)[:, 0], torch.full((2,), -math.log(2)), atol=1e-3, rtol=0)
    torch.testing.assert_close((half - plain)[:, 1], torch.full((2,), -math.log(2)), atol=0.1, rtol=0)


def test_each_place_is_a_mean_over_optics(scenes: list[tuple[ReducedScene, ...]]) -> None:
    whole = Truth(scenes).measure(interpolate)
    alone = torch.stack([Truth([(lesson,)]).measure(interpolate) for lesson in scenes[0]])
    assert len(alone) == 5
    torch.testing.assert_close(whole, alone.mean(0))
    # The softer MS is the harder it is.
    assert alone[:, 0, 0].tolist() == sorted(alone[:, 0, 0].tolist(), reverse=True)


def test_the_same_net_is_measured_alike(scenes: list[tuple[ReducedScene, ...]]) -> None:
    first, again = (Truth(scenes).measure(interpolate) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ["exp", "gsa"])
def test_a_method_is_fitted_to_the_whole_and_measured_at_places(
    scenes: list[tuple[ReducedScene, ...]], name: str
) -> None:
    found = Truth(scenes).measure_method(method(name), 2)
    wanted = torch.zeros(2, 2)
    for lesson in scenes[0]:
        pair, whole = lesson.pair, Box.whole(lesson.pair.pan.shape)
        image = fuse_whole(method(name), pair.ms, pair.pan, pair.sampling, 2)
        for i, box in enumerate(lesson.area.pieces(24, 24)):
            inner = lesson.pan_box(box).intersection(whole.grown(-10))
            seen, true = inner.cut(image, whole), inner.cut(pair.truth, whole)
            wanted[i] += torch.tensor([float(ergas(seen, true, 4)), float(sam(seen, true))]).log() / len(scenes[0])
    torch.testing.assert_close(found, wanted)


def test_interpolation_is_the_same_as_a_method_and_as_a_net(put: Put) -> None:
    """Where back-projection does not look beyond what surrounds a place."""
    scenes = reduce_sites(sites_of(put("a", size=140), side=224), CPU, Said(), held=True)
    judge = Truth([scene[:1] for scene in scenes])
    torch.testing.assert_close(judge.measure(interpolate), judge.measure_method(method("exp"), 0), atol=1e-3, rtol=0)


def test_places_without_a_number_are_left_out() -> None:
    rows = torch.tensor([[0.1, 0.2], [math.nan, 0.2], [0.3, math.inf], [0.3, 0.4]])
    assert means(rows) == pytest.approx({"ergas": math.exp(0.2), "sam": math.exp(0.3)})
    start = torch.zeros(4, 2)
    assert over(rows, start) == pytest.approx(over(rows[[0, 3]], start[[0, 3]]))
    # So are those where the start has none.
    assert over(torch.zeros(4, 2), rows) == pytest.approx(over(torch.zeros(2, 2), rows[[0, 3]]))


def test_a_black_place_has_no_number(scenes: list[tuple[ReducedScene, ...]]) -> None:
    lesson = scenes[0][0]
    first, _ = lesson.area.pieces(24, 24)
    lesson.pan_box(first).cut(lesson.pair.truth, Box.whole(lesson.pair.pan.shape)).zero_()
    assert Truth(scenes).measure(interpolate).isfinite().all(1).tolist() == [False, True]


def test_who_is_no_number_anywhere_is_never_better(scenes: list[tuple[ReducedScene, ...]]) -> None:
    judge = Truth(scenes)
    start = judge.measure(interpolate)
    assert over(judge.measure(lambda pair: pair.ms_up * math.nan), start) == math.inf


ROWS = st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=12)


@given(ROWS)
def test_nobody_is_better_than_itself(rows: Sequence[tuple[float, float]]) -> None:
    assert over(torch.tensor(rows), torch.tensor(rows)) == 0


@given(ROWS, st.floats(-1, 1), st.floats(-1, 1))
def test_the_worse_of_the_two_counts(rows: Sequence[tuple[float, float]], error: float, angle: float) -> None:
    start = torch.tensor(rows, dtype=torch.float64)
    apart = torch.tensor([error, angle], dtype=torch.float64)
    each = [over(start + torch.stack([one, one]), start) for one in apart]
    assert over(start + apart, start) == pytest.approx(max(each), abs=1e-9)


@given(ROWS)
def test_what_places_cannot_tell_is_no_gain(rows: Sequence[tuple[float, float]]) -> None:
    """The standard error is added: who is better here and worse there has to be better by more."""
    change = torch.tensor(rows, dtype=torch.float64)
    array, count = change.numpy(), len(rows)
    error = np.sqrt((array.var(0) + array.mean(0) ** 2 / count) / count)
    found = over(change, torch.zeros_like(change))
    assert found == pytest.approx((array.mean(0) + error).max(), abs=1e-9)
    assert found >= array.mean(0).max() - 1e-9


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_one_place_proves_nothing(error: float, angle: float) -> None:
    assert over(torch.tensor([[error, angle]]), torch.zeros(1, 2)) >= 0


@given(st.integers(2, 20), st.floats(0.01, 1))
def test_the_more_places_agree_the_more_they_prove(count: int, gain: float) -> None:
    found = [over(torch.full((n, 2), -gain), torch.zeros(n, 2)) for n in (count, count + 1)]
    assert -gain < found[1] < found[0] < 0


def test_nothing_to_measure_on() -> None:
    with pytest.raises(InputError, match="no scene can be asked the truth") as caught:
        Truth([])
    assert "a larger scene" in caught.value.hint


def test_what_cannot_be_asked_is_said(put: Put) -> None:
    valid = np.ones((60, 60), bool)
    valid[::5, ::5] = False
    said = Said()
    for name, more in (("small", {"size": 30}), ("gaps", {"valid": valid, "nodata": 0, "size": 60})):
        place = put(name, **more)
    sites = sites_of(place, side=64)
    assert reduce_sites(sites, CPU, said, held=False) == []
    assert len(said.lines) == 2
    assert "warning: the truth is not asked of small one scale down: scene small: MS of 30 × 30 px" in said.lines[1]
    assert "warning: the truth is not asked of gaps one scale down: scene gaps has gaps" in said.lines[0]


def paint(place: Path, rows: Span) -> None:
    """Blacken the first band of MS in some rows: no scene has that."""
    with rasterio.open(place / "a" / "ms.tif", "r+") as file:
        pixels = file.read(1)
        pixels[rows.slice] = 1
        file.write(pixels, 1)


def painted(truth: Tensor) -> bool:
    """Whether there is any paint: where the first band is black the others are not."""
    return bool((truth[0] < 0.05 * truth[1]).any())


@pytest.mark.parametrize("size", [60, 100, 140])
def test_what_judges_is_never_learned_from(put: Put, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """No place shows the paint where it is learned, and each lesson sees it."""
    place = put("a", size=size)
    (site,) = sites_of(place, side=224)
    assert site.learned is not None
    assert site.held is not None
    paint(place, Span(0, site.held.rows.start))
    seen: list[Tensor] = []

    def watch(fused: Tensor, truth: Tensor, ratio: float) -> Tensor:
        seen.append(truth)
        return ergas(fused, truth, ratio)

    monkeypatch.setattr(truths, "ergas", watch)
    Truth(reduce_sites([site], CPU, Said(), held=True)).measure(interpolate)
    assert seen
    assert not any(painted(truth) for truth in seen)
    (lessons,) = reduce_sites([site], CPU, Said(), held=False)
    assert all(painted(lesson.crop(Draw(0)).truth[0]) for lesson in lessons)


@pytest.mark.parametrize("size", [60, 100, 140])
def test_what_is_learned_never_judges(put: Put, size: int) -> None:
    """What a lesson counts, its edges aside, has no paint where it is kept aside."""
    place = put("a", size=size)
    (site,) = sites_of(place, side=224)
    assert site.learned is not None
    paint(place, Span(site.learned.rows.stop, size))
    (lessons,) = reduce_sites([site], CPU, Said(), held=False)
    for lesson in lessons:
        crops = [lesson.crop(Draw(seed)).truth[0] for seed in range(12)]
        assert not any(painted(trim(crop, margin(4))) for crop in crops)
    assert all(painted(scene.pair.truth) for scene in reduce_sites([site], CPU, Said(), held=True)[0])


def test_of_many_scenes_some_are_asked(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        place = put(f"{i}", size=40, seed=i)
    monkeypatch.setattr(truths, "_MOST_SCENES", 2)
    said = Said()
    assert len(reduce_sites(sites_of(place, side=64), CPU, said, held=False)) == 2
    assert [line.split(":")[0] for line in said.lines] == ["learning from 0", "learning from 2"]


def test_places_are_few_and_lie_apart() -> None:
    area = Box(Span(5, 400), Span(10, 500))
    places = list(truths._blocks(area))
    assert len(places) == 8
    assert all(place.inside(area) for place in places)
    assert not any(one.meets(other) for i, one in enumerate(places) for other in places[:i])
    # From the first row of places to the last.
    assert places[0].rows.start < 80
    assert places[-1].rows.stop > 320
    assert list(truths._blocks(Box(Span(0, 7), Span(0, 15)))) == [Box(Span(0, 7), Span(0, 15))]
