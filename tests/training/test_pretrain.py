from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.errors import InputError, Interrupted, ModelError, OutputError, UsageError
from clippan_cli.training.loop import steps as loops
from clippan_cli.training.pretrain import pretrain
from tests.conftest import PLACE, bands, write
from tests.training.conftest import SMALL, MakeScene, Said, rows, same, weights

pytestmark = pytest.mark.usefixtures("short_pairs")


def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    pretrain(tmp_path / "whole", SMALL)
    said = Said(stop_at=3)
    with pytest.raises(Interrupted, match="stopped after 3 of 6"):
        pretrain(tmp_path / "parts", SMALL, said, said.stop)
    with pytest.raises(OutputError, match="holds a training that was stopped"):
        pretrain(tmp_path / "parts", SMALL)
    with pytest.raises(ModelError, match=r"another rate: 0\.01, not 0\.02"):
        pretrain(tmp_path / "parts", replace(SMALL, rate=0.02, resume=True))
    record = pretrain(tmp_path / "parts", replace(SMALL, resume=True)).record
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert [row["iteration"] for row in rows(tmp_path / "parts")] == ["2", "4", "6"]
    assert record.training.options["iterations"] == 6
    assert not (tmp_path / "parts" / loops.STATE).exists()
    assert (tmp_path / "parts" / "CARD.md").stat().st_size > 100


def test_a_finished_training_is_not_begun_again(tmp_path: Path) -> None:
    first = pretrain(tmp_path / "m", replace(SMALL, iterations=2))
    said = Said()
    again = pretrain(tmp_path / "m", replace(SMALL, iterations=2, resume=True), said)
    assert again == first
    assert said.lines[-1].endswith("is complete already")
    with pytest.raises(ModelError, match="another iterations: 2, not 3"):
        pretrain(tmp_path / "m", replace(SMALL, iterations=3, resume=True))


def test_going_on_from_a_model(tmp_path: Path) -> None:
    short = replace(SMALL, iterations=2)
    pretrain(tmp_path / "a", short)
    record = pretrain(tmp_path / "b", replace(short, init=str(tmp_path / "a"), settings={})).record
    assert record.training.init == "a"
    assert record.settings == {"width": 8, "blocks": 1}
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    with pytest.raises(UsageError, match="cannot go on from itself"):
        pretrain(tmp_path / "a", replace(short, init=str(tmp_path / "a"), overwrite=True))


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    short = replace(SMALL, iterations=2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        pretrain(tmp_path / name, replace(short, seed=seed))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_it_learns(tmp_path: Path) -> None:
    pretrain(tmp_path / "m", replace(SMALL, iterations=60, every=20))
    assert float(rows(tmp_path / "m")[-1]["validation_error"]) < 0.85


def test_its_model_sharpens(tmp_path: Path, make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    pretrain(tmp_path / "m", replace(SMALL, iterations=2))
    record = sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(model=str(tmp_path / "m"), guard=False))
    assert record.method_used == "m"
    assert record.guard is None


def test_images_and_scenes(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene(size=80)
    (tmp_path / "photos").mkdir()
    image = (255 * bands((260, 240), 3)).astype("uint8")
    write(tmp_path / "photos" / "a.png", image, PLACE, driver="PNG", crs=None)
    write(tmp_path / "photos" / "small.tif", image[:, :40, :40], PLACE)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"not an image")
    said = Said()
    options = replace(SMALL, iterations=1, images=(str(tmp_path / "photos"),), scenes=(str(tmp_path),), procedural=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clippan_cli.training.data.imagery.SIDE", 64)
        record = pretrain(tmp_path / "m", options, said).record
    assert record.training.sources == {"images": 1, "scenes": 1}
    assert "--images photos" in (record.training.command or "")
    assert [line.split(" is left out")[0].rsplit("/", 1)[1] for line in said.lines if "left out" in line] == [
        "broken.jpg",
        "small.tif",
    ]


def test_fixed_numbers_of_bands(tmp_path: Path) -> None:
    options = replace(SMALL, network="pnn", settings={"widths": (4, 4)}, iterations=1)
    with pytest.raises(UsageError, match="pnn serves one number of bands"):
        pretrain(tmp_path / "m", options)
    assert pretrain(tmp_path / "m", replace(options, bands=3)).record.bands == 3


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="nothing to learn from"):
        pretrain(tmp_path / "m", replace(SMALL, procedural=0))
    with pytest.raises(InputError, match="no image to learn from"):
        pretrain(tmp_path / "m", replace(SMALL, images=(str(tmp_path / "empty"),)))
    with pytest.raises(InputError, match="no scene in"):
        pretrain(tmp_path / "m", replace(SMALL, scenes=(str(tmp_path / "empty"),)))
    with pytest.raises(InputError, match="is no folder"):
        pretrain(tmp_path / "m", replace(SMALL, images=(str(tmp_path / "nowhere"),)))
