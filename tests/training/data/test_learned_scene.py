from __future__ import annotations

import numpy as np
import pytest

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError, UsageError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.scene.find import SceneFiles, find_all
from clippan_cli.training.data import learned_scene
from clippan_cli.training.data.learned_scene import check_sensor, clear_window, middle_box, open_to_learn
from tests.training.conftest import MakeScene


def test_rasters_are_closed_again(make_scene: MakeScene) -> None:
    scene = make_scene(size=24)
    with open_to_learn(find_all([str(scene.folder)])[0], SceneOptions()) as opened:
        pair, machine = opened.pair, opened.machine
        assert machine.device.type == "cpu"
        pair.ms.read(middle_box(opened))
    with pytest.raises(InputError, match="Dataset is closed"):
        pair.ms.read(middle_box(opened))


def test_rasters_are_closed_after_an_error(make_scene: MakeScene) -> None:
    scene = make_scene(size=24)
    with pytest.raises(ZeroDivisionError), open_to_learn(find_all([str(scene.folder)])[0], SceneOptions()) as opened:
        raise ZeroDivisionError
    with pytest.raises(InputError, match="Dataset is closed"):
        opened.pair.pan.read(middle_box(opened))


def test_only_the_middle_is_learned(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_scene, "LARGEST", 20)
    scene = make_scene(size=31)
    with open_to_learn(find_all([str(scene.folder)])[0], SceneOptions()) as opened:
        box = middle_box(opened)
    assert box.shape == (20, 20)
    assert abs(box.rows.start - (31 - box.rows.stop)) <= 1


def test_a_small_scene_is_learned_as_a_whole(make_scene: MakeScene) -> None:
    scene = make_scene(size=24)
    with open_to_learn(find_all([str(scene.folder)])[0], SceneOptions()) as opened:
        assert middle_box(opened).shape == (24, 24)


@pytest.mark.parametrize("area", [Box(Span(40, 100), Span(0, 100)), Box(Span(90, 100), Span(0, 100))])
def test_a_window_lies_in_its_area_or_takes_as_little_more_as_it_must(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, area: Box
) -> None:
    monkeypatch.setattr(learned_scene, "LARGEST", 48)
    valid = np.ones((100, 100), bool)
    valid[60:75, 45:55] = valid[95:, 50] = False
    scene = make_scene(size=100, valid=valid, nodata=0)
    with open_to_learn(find_all([str(scene.folder)])[0], SceneOptions()) as opened:
        window = clear_window(opened, 24, area)
        assert clear_window(opened, 60, area) is None
    assert window is not None
    assert window.valid
    assert min(window.ms_box.shape) >= 24
    wide = Box(Span(min(area.rows.start, 76), 100), area.cols)
    assert window.ms_box.inside(wide)


def test_what_is_no_scene() -> None:
    with pytest.raises(InputError), open_to_learn(SceneFiles("a", ("no/ms.tif",), "no/pan.tif"), SceneOptions()):
        pass


def test_sensors_are_checked_by_their_names() -> None:
    check_sensor(SceneOptions())
    check_sensor(SceneOptions(sensor="worldview-3"))
    with pytest.raises(UsageError, match="unknown sensor"):
        check_sensor(SceneOptions(sensor="sputnik"))
