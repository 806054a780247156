from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import io

from clippan_cli.errors import ClippanError, InputError, Interrupted, ModelError, OutputError, UsageError
from clippan_cli.modelstore.model import find_model
from clippan_cli.opening.options import SceneOptions
from clippan_cli.scene import collection
from clippan_cli.scene.find import SceneFiles
from clippan_cli.training import refine as refining
from clippan_cli.training import tune as tuning
from clippan_cli.training.options import TuneOptions
from clippan_cli.training.pretrain import pretrain
from clippan_cli.training.tune import tune
from tests.conftest import read
from tests.training.conftest import SMALL, MakeScene, Put, Said, rows, same, weights

pytestmark = pytest.mark.usefixtures("short_pairs")


@pytest.mark.parametrize("way", ["full", "freeze"])
def test_one_shot(tmp_path: Path, make_scene: MakeScene, way: str) -> None:
    make_scene(size=96, gain=0.2)
    (tmp_path / "scene").mkdir()
    for name in ("ms.tif", "pan.tif"):
        (tmp_path / name).rename(tmp_path / "scene" / name)
    options = TuneOptions(weights=way, iterations=20, every=10)
    record = tune([str(tmp_path / "scene")], tmp_path / "tuned", options).record
    table = rows(tmp_path / "tuned")
    assert float(table[-1]["validation_error"]) < float(table[0]["validation_error"]) * 1.02
    before, after = find_model("injector-4").load().state_dict(), weights(tmp_path / "tuned")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == ({"head"} if way == "freeze" else {"band", "pan", "entry", "traits", "blocks", "head", "basis"})
    assert record.training.init == "injector-4"


def test_one_shot_refuses(tmp_path: Path, make_scene: MakeScene) -> None:
    with pytest.raises(UsageError, match="unknown way to tune 'some'"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions(weights="some"))
    with pytest.raises(InputError, match="no scene in"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions())
    make_scene(size=40)
    with pytest.raises(InputError, match="too small to learn from"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions())
    with pytest.raises(ClippanError, match="no method or model 'magic'"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions(init="magic"))


def test_crops_of_all_scenes_are_learned_from(put: Put, tmp_path: Path) -> None:
    put("a", size=72)
    place = put("b", size=64, seed=1)
    said = Said()
    record = tune([str(place)], tmp_path / "m", TuneOptions(weights="full", iterations=1), said).record
    assert record.training.sources == {"scenes": 2}
    assert [line for line in said.lines if line.startswith("learning from")] == [
        "learning from a: 18 × 18 px one scale down",
        "learning from b: 16 × 16 px one scale down",
    ]


def test_a_tuning_that_was_stopped_ends_the_same(put: Put, tmp_path: Path) -> None:
    place, options = [str(put("a", size=64))], TuneOptions(weights="full", iterations=4, every=2)
    tune(place, tmp_path / "whole", options)
    said = Said(stop_at=3)
    with pytest.raises(Interrupted, match="stopped after 3 of 4"):
        tune(place, tmp_path / "parts", options, said, said.stop)
    with pytest.raises(ModelError, match='another weights: "full", not "freeze"'):
        tune(place, tmp_path / "parts", replace(options, weights="freeze", resume=True))
    with pytest.raises(ModelError, match="was stopped, and was no refinement"):
        tune(place, tmp_path / "parts", replace(options, weights="refine", resume=True))
    tune(place, tmp_path / "parts", replace(options, resume=True))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_options_of_the_scene_reach_the_tuning(put: Put, tmp_path: Path) -> None:
    place = [str(put("a", size=64))]
    made = {
        gain: tune(place, tmp_path / f"{gain}", TuneOptions(scene=SceneOptions(mtf_gain=gain))).record
        for gain in (0.2, 0.5)
    }
    assert not same(weights(tmp_path / "0.2"), weights(tmp_path / "0.5"))
    assert "--mtf-gain 0.2" in (made[0.2].training.command or "")
    with pytest.raises(UsageError, match="unknown sensor 'sputnik'"):
        tune(place, tmp_path / "m", TuneOptions(scene=SceneOptions(sensor="sputnik")))


def test_a_model_is_not_tuned_into_itself(put: Put, tmp_path: Path) -> None:
    place = [str(put("a", size=64))]
    tune(place, tmp_path / "m", TuneOptions(weights="full", iterations=1))
    with pytest.raises(UsageError, match="cannot go on from itself"):
        tune(place, tmp_path / "m", TuneOptions(init=str(tmp_path / "m"), overwrite=True))
    record = tune(place, tmp_path / "n", TuneOptions(init=str(tmp_path / "m"), iterations=1)).record
    assert record.training.init == "m"
    with pytest.raises(OutputError, match="holds a model"):
        tune(place, tmp_path / "n", TuneOptions(weights="full", iterations=1))


def test_a_model_of_other_bands_is_not_tuned(put: Put, tmp_path: Path) -> None:
    fixed = replace(SMALL, network="pnn", settings={"widths": (4, 4)}, bands=3, iterations=1)
    pretrain(tmp_path / "three", fixed)
    with pytest.raises(ModelError, match="3 bands"):
        tune([str(put("a", size=64))], tmp_path / "m", TuneOptions(init=str(tmp_path / "three")))


def test_a_tuning_works_in_one_process(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="clippan tune works in one process"):
        tune([str(put("a", size=64))], tmp_path / "m")


def test_another_scene_is_another_tuning(put: Put, tmp_path: Path) -> None:
    put("a", size=64)
    place = put("b", size=64, seed=1)
    said = Said()
    said.stop.set()
    with pytest.raises(Interrupted):
        tune([str(place / "a")], tmp_path / "m", TuneOptions(weights="full", iterations=3), said, said.stop)
    with pytest.raises(ModelError, match="another learned_from"):
        tune([str(place / "b")], tmp_path / "m", TuneOptions(weights="full", iterations=3, resume=True))


def test_refined_by_default(put: Put, tmp_path: Path) -> None:
    place, said = [str(put("a", size=96))], Said()
    record = tune(place, tmp_path / "m", listener=said).record
    assert (record.network, record.bands) == ("refined", 4)
    before, after = find_model("injector-4").load().state_dict(), weights(tmp_path / "m")
    assert set(after) - set(before) == {"mixture"}
    assert all(torch.equal(before[name], after[name]) for name in before)
    table = rows(tmp_path / "m")
    best = min(float(row["error_kept_aside"]) for row in table)
    card = (tmp_path / "m" / "CARD.md").read_text()
    assert f"the error is {min(best, 1):.3f} times" in " ".join(card.split())
    assert "steps" not in card
    assert any("kept aside" in line for line in said.lines)


@pytest.mark.parametrize(("above", "upward", "kept"), [(0.9, True, True), (1.1, True, False), (1.1, False, True)])
def test_what_does_not_hold_one_scale_up_is_dropped_on_demand(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: float, upward: bool, kept: bool
) -> None:
    monkeypatch.setattr(tuning, "look_up", lambda *_, **__: above)
    monkeypatch.setattr(refining, "_hold_out", lambda *_: 0.5)
    said = Said()
    tune([str(put("a", size=96))], tmp_path / "m", TuneOptions(upward=upward), said)
    assert bool(weights(tmp_path / "m")["mixture"].any()) == kept
    assert any("left as it is" in line for line in said.lines) != kept
    assert f"makes it {above:.3f} times" in " ".join((tmp_path / "m" / "CARD.md").read_text().split())


def test_scenes_too_small_to_look_up(put: Put, tmp_path: Path) -> None:
    said = Said()
    tune([str(put("a", size=96))], tmp_path / "m", TuneOptions(upward=True), said)
    assert "the scenes are too small to tell whether that holds one scale up" in said.lines
    assert not bool(weights(tmp_path / "m")["mixture"].any())


def test_a_refinement_that_is_there_is_not_repeated(put: Put, tmp_path: Path) -> None:
    place, options = [str(put("a", size=64))], TuneOptions(resume=True)
    first = tune(place, tmp_path / "m", options).record
    said = Said()
    assert tune(place, tmp_path / "m", options, said).record == first
    assert said.lines[-1].endswith("is complete already")
    with pytest.raises(ModelError, match="another consistency"):
        tune(place, tmp_path / "m", replace(options, consistency=1))
    with pytest.raises(OutputError, match="holds a model"):
        tune(place, tmp_path / "m", TuneOptions())


def test_another_scene_of_the_same_name_is_another_tuning(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=64)
    files = SceneFiles("town", (scene.ms,), scene.pan)
    tune([files], tmp_path / "m", TuneOptions(resume=True))
    make_scene(size=72, seed=1)
    with pytest.raises(ModelError, match="another learned_from"):
        tune([files], tmp_path / "m", TuneOptions(resume=True))


def test_a_sample_is_the_same_in_every_process(make_scene: MakeScene, tmp_path: Path) -> None:
    scene, path = make_scene(size=64, phase=2), tmp_path / "town.mat"
    ms, pan = read(scene.ms), read(scene.pan)
    options = TuneOptions(resume=True)
    io.savemat(path, {"ms": ms.transpose(1, 2, 0), "pan": pan[0]})
    first = tune([str(path)], tmp_path / "m", options).record
    # Another process has other files.
    collection._unpack.cache_clear()
    assert tune([str(path)], tmp_path / "m", options).record == first
    io.savemat(path, {"ms": np.stack([ms, ms]), "pan": np.stack([pan, pan])})
    with pytest.raises(ModelError, match="another learned_from"):
        tune([str(path)], tmp_path / "m", options)


def test_a_refined_model_is_refined_anew(put: Put, tmp_path: Path) -> None:
    one, other = (str(put(name, size=96, seed=seed)) for name, seed in (("a", 0), ("b", 1)))
    tune([one + "/a"], tmp_path / "first")
    tune([other + "/b"], tmp_path / "second", TuneOptions(init=str(tmp_path / "first")))
    tune([other + "/b"], tmp_path / "anew")
    assert same(weights(tmp_path / "second"), weights(tmp_path / "anew"))


def test_what_cannot_be_refined(put: Put, tmp_path: Path) -> None:
    pretrain(tmp_path / "pnn", replace(SMALL, network="pnn", settings={"widths": (4, 4)}, bands=4, iterations=1))
    with pytest.raises(ModelError, match="is of pnn, which cannot be refined") as caught:
        tune([str(put("a", size=64))], tmp_path / "m", TuneOptions(init=str(tmp_path / "pnn")))
    assert "weights=full" in caught.value.hint
    place = put("b", size=64, count=3)
    with pytest.raises(InputError, match="scenes have 3 and 4 bands"):
        tune([str(place)], tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_folder_that_cannot_be_written(put: Put, tmp_path: Path) -> None:
    place = [str(put("a", size=64))]
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "training.csv").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        tune(place, tmp_path / "m")
