from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from clippan_cli.base.documents import as_json, from_plain
from clippan_cli.base.pipeline import Clock
from clippan_cli.errors import InputError
from clippan_cli.fusion.moments import Moments, MomentsRecord
from clippan_cli.fusion.registry import METHODS, method
from clippan_cli.opening.statistics import gather
from clippan_cli.opening.survey import common_box
from tests.conftest import Made, read
from tests.opening.test_scene import change, opened

MakeScene = Callable[..., Made]
FEATURES = tuple(sorted({feature for name in METHODS for feature in method(name).features}))
OCTAVES = ("ms_top", "ms_mid", "pan_top", "pan_mid")


def same(one: Moments, other: Moments) -> None:
    assert one.names == other.names
    assert one.count == other.count
    scale = np.sqrt(np.outer(np.diag(one.sums), np.diag(one.sums)))
    np.testing.assert_allclose(one.sums / scale, other.sums / scale, atol=2e-6)


@pytest.mark.parametrize("side", [1, 64, 150])
@pytest.mark.parametrize("features", [(*FEATURES, *OCTAVES), ("ms", "pan_low", "pan_simulated"), ("ms", "lifted")])
def test_the_size_of_blocks_does_not_matter(make_scene: MakeScene, features: tuple[str, ...], side: int) -> None:
    valid = np.ones((60, 60), bool)
    valid[20:30, 35:] = False
    with opened(make_scene(size=60, valid=valid, nodata=0), register=(0.3, -0.2), jobs=2) as scene:
        same(gather(scene, features, side=side), gather(scene, features, side=4096))


def test_the_number_of_threads_does_not_matter(make_scene: MakeScene) -> None:
    made = make_scene(size=60)
    with opened(made, jobs=1) as one, opened(made, jobs=4) as many:
        np.testing.assert_array_equal(gather(one, FEATURES, side=64).sums, gather(many, FEATURES, side=64).sums)


def test_parts_add_up_to_the_whole(make_scene: MakeScene) -> None:
    with opened(make_scene(size=48), register="off") as scene:
        whole = gather(scene, FEATURES)
        parts = list(common_box(scene.pair).pieces(17, 31))
        same(gather(scene, FEATURES, cores=parts), whole)
        apart = [gather(scene, FEATURES, cores=[part]) for part in parts]
        same(sum(apart[1:], apart[0]), whole)


def test_moments_of_ms_are_those_of_the_file(make_scene: MakeScene) -> None:
    made = make_scene(size=32)
    with opened(made, register="off") as scene:
        found = gather(scene, ("ms",))
    pixels = read(made.ms).reshape(4, -1).astype(float) / scene.known.scale
    assert found.count == 32 * 32
    np.testing.assert_allclose(found.mean("ms"), pixels.mean(1), rtol=1e-6)
    np.testing.assert_allclose(found.covariance("ms", "ms"), np.cov(pixels, bias=True), rtol=1e-4)


def test_invalid_and_saturated_pixels_are_left_out(make_scene: MakeScene) -> None:
    valid = np.ones((32, 32), bool)
    valid[:4] = False
    made = make_scene(size=32, valid=valid, nodata=0)
    change(made.ms, lambda pixels: np.where(pixels > 650, 1023, pixels))
    pixels = read(made.ms)
    with opened(made, register="off") as scene:
        assert scene.known.saturation[0] < np.inf
        found = gather(scene, ("ms",))
    good = (pixels < 1023).all(0) & valid
    # A row that PAN's gap reaches into is left out too.
    good[4 : 4 + 4] = False
    assert good.sum() <= found.count <= ((pixels < 1023).all(0) & valid).sum()


def test_progress_and_time_are_told(make_scene: MakeScene) -> None:
    done: list[int] = []
    clock = Clock()
    with opened(make_scene(size=48), register="off") as scene:
        gather(scene, ("ms", "pan_low"), side=64, clock=clock, progress=done.append)
        assert sum(done) == common_box(scene.pair).pixels == 48 * 48
        assert len(done) == 9
    assert min(clock.read, clock.compute) > 0


def test_a_method_without_statistics_reads_nothing(make_scene: MakeScene) -> None:
    with opened(make_scene(size=16), register="off") as scene:
        found = gather(scene, (), progress=lambda _: pytest.fail("it was read"))
    assert (found.names, found.count) == ((), 0)


def test_what_stops_the_progress_stops_the_gathering(make_scene: MakeScene) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with opened(make_scene(size=48), register="off") as scene, pytest.raises(KeyboardInterrupt):
        gather(scene, ("ms",), side=64, progress=stop)


def test_too_few_pixels_fit_nothing(make_scene: MakeScene) -> None:
    valid = np.zeros((40, 40), bool)
    valid[10:14, 10:14] = True
    with opened(make_scene(size=40, valid=valid, nodata=0), register="off") as scene:
        with pytest.raises(InputError, match=r"only \d+ MS pixels are valid together with PAN") as found:
            gather(scene, ("ms", "pan_low"))
        assert "`method=exp`" in found.value.hint


def test_a_tiny_scene_is_no_scene_with_too_few_pixels(make_scene: MakeScene) -> None:
    with opened(make_scene(size=5), register="off") as scene:
        assert gather(scene, ("ms",)).count == 25


def test_moments_are_written_exactly(make_scene: MakeScene) -> None:
    with opened(make_scene(size=24), register="off") as scene:
        found = gather(scene, FEATURES)
    again = Moments.of(from_plain(MomentsRecord, json.loads(as_json(found.record))))
    assert again.names == found.names
    np.testing.assert_array_equal(again.sums, found.sums)
