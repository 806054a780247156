from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.errors import ClippanError, InputError, Interrupted, ModelError, OutputError, UsageError
from clippan_cli.modelstore.model import find_model
from clippan_cli.opening.options import SceneOptions
from clippan_cli.training import pretrain as pretraining
from clippan_cli.training.data import simulated_pairs as samples
from clippan_cli.training.data.pairs import Batch
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


def fixed(tmp_path: Path, bands_: int = 3) -> str:
    """A model that serves one number of bands."""
    folder = tmp_path / f"fixed-{bands_}"
    pretrain(folder, replace(SMALL, network="pnn", settings={"widths": (4, 4)}, bands=bands_, iterations=1))
    return str(folder)


def test_a_model_keeps_its_bands(tmp_path: Path) -> None:
    begun = fixed(tmp_path)
    plain = replace(SMALL, init=begun, settings={}, iterations=1)
    with pytest.raises(UsageError, match="serves 3 bands, not 4") as caught:
        pretrain(tmp_path / "m", replace(plain, bands=4))
    assert caught.value.hint == "leave out `bands`"
    for name, bands_ in (("a", None), ("b", 3)):
        record = pretrain(tmp_path / name, replace(plain, bands=bands_)).record
        assert (record.network, record.bands) == ("pnn", 3)
        assert not {"--network", "--set", "--bands"} & set((record.training.command or "").split())
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_a_model_for_any_bands_may_learn_from_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrain(tmp_path / "any", replace(SMALL, iterations=1))
    seen: list[int | None] = []

    def watch(*given: Any) -> Batch:
        seen.append(given[3])
        return samples.make_batch(*given)

    monkeypatch.setattr(pretraining, "make_batch", watch)
    pretrain(tmp_path / "m", replace(SMALL, init=str(tmp_path / "any"), bands=5, iterations=1))
    assert set(seen) == {5}
    assert find_model(str(tmp_path / "m")).bands is None


def test_what_a_training_began_from_is_part_of_it(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        pretrain(tmp_path / name, replace(SMALL, iterations=1, seed=seed))
    said = Said()
    said.stop.set()
    options = replace(SMALL, init=str(tmp_path / "a"), settings={}, iterations=2)
    with pytest.raises(Interrupted):
        pretrain(tmp_path / "m", options, said, said.stop)
    with pytest.raises(ModelError, match=r'another init: "a", not "b"; another init_sha256'):
        pretrain(tmp_path / "m", replace(options, init=str(tmp_path / "b"), resume=True))
    # Where it lies does not count.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a").rename(tmp_path / "elsewhere" / "a")
    pretrain(tmp_path / "m", replace(options, init=str(tmp_path / "elsewhere" / "a"), resume=True))


def test_kinds_of_sources_have_their_shares(
    tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scene(size=80)
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos" / "a.png", (255 * bands((240, 240), 3)).astype("uint8"), PLACE, driver="PNG", crs=None)
    monkeypatch.setattr("clippan_cli.training.data.imagery.SIDE", 64)
    seen: list[dict[str, float]] = []

    def watch(groups: Any, *more: Any) -> Batch:
        seen.append({found[0].name: round(share, 6) for share, found in groups})
        return samples.make_batch(groups, *more)

    monkeypatch.setattr(pretraining, "make_batch", watch)
    options = replace(SMALL, iterations=1, images=(str(tmp_path / "photos"),))
    pretrain(tmp_path / "m", replace(options, scenes=(str(tmp_path),)))
    pretrain(tmp_path / "n", options)
    assert list(seen[0].values()) == [0.15, 0.25, 0.6]
    assert list(seen[-1].values()) == [0.2, 0.8]
    assert list(seen[-1]) == ["a.png", "procedural 0"]


def test_more_sources_are_another_training(tmp_path: Path) -> None:
    said = Said()
    said.stop.set()
    with pytest.raises(Interrupted):
        pretrain(tmp_path / "m", SMALL, said, said.stop)
    with pytest.raises(ModelError, match="another procedural: 1, not 2; another sources"):
        pretrain(tmp_path / "m", replace(SMALL, procedural=2, resume=True))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"network": "resnet", "settings": {}}, "unknown network 'resnet'"),
        ({"settings": {"colour": 3}}, "injector cannot be made with"),
        ({"init": "magic"}, "no method or model 'magic'"),
        ({"device": "abacus"}, "abacus"),
        ({"scenes": ("nowhere",), "scene": SceneOptions(sensor="sputnik")}, "unknown sensor 'sputnik'"),
    ],
)
def test_what_is_refused(tmp_path: Path, more: dict[str, Any], what: str) -> None:
    with pytest.raises(ClippanError, match=what):
        pretrain(tmp_path / "m", replace(SMALL, **more))
    assert not (tmp_path / "m").exists()


def test_a_prior_works_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="clippan pretrain works in one process"):
        pretrain(tmp_path / "m", SMALL)
