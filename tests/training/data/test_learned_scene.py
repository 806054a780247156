from __future__ import annotations

import pytest

from clippan_cli.errors import InputError, UsageError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.scene.find import SceneFiles, find_all
from clippan_cli.training.data import learned_scene
from clippan_cli.training.data.learned_scene import check_sensor, middle_box, open_to_learn
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


def test_what_is_no_scene() -> None:
    with pytest.raises(InputError), open_to_learn(SceneFiles("a", ("no/ms.tif",), "no/pan.tif"), SceneOptions()):
        pass


def test_sensors_are_checked_by_their_names() -> None:
    check_sensor(SceneOptions())
    check_sensor(SceneOptions(sensor="worldview-3"))
    with pytest.raises(UsageError, match="unknown sensor"):
        check_sensor(SceneOptions(sensor="sputnik"))
