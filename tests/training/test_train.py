from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.errors import ClippanError, InputError, Interrupted, ModelError, UsageError
from clippan_cli.modelstore.model import find_model, save_model
from clippan_cli.networks.refined import Refined, count_forms
from clippan_cli.networks.registry import network
from clippan_cli.opening.options import SceneOptions
from clippan_cli.training import adapt as adapting
from clippan_cli.training import train as fullres
from clippan_cli.training.adapt import adapt
from clippan_cli.training.data import learned_scene
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.loop.steps import STATE
from clippan_cli.training.objectives import stage_two
from clippan_cli.training.objectives import without_truth as unsupervised
from clippan_cli.training.objectives.stage_two import ANEW, LOSSES
from clippan_cli.training.options import ClipOptions, TrainOptions
from clippan_cli.training.train import train
from tests.conftest import Made
from tests.training.conftest import MakeScene, Put, Said, rows, same, sites_of, weights

pytestmark = pytest.mark.usefixtures("few_tiles")


def test_training_from_nothing_to_a_sharp_image(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    said = Said()
    options = replace(training, losses={"language": 0.05})
    record = train([str(scene.folder)], tmp_path / "m", options, said).record
    assert any("adapting one to these scenes first" in line for line in said.lines)
    assert list(record.training.held_out) == ["exp", "mtf-glp-hpm-r", "gsa", "start", "model"]
    first, *_, last = rows(tmp_path / "m")
    assert {"truth", "language", "spectral", "structure", "teacher"} <= set(last)
    assert (first["iteration"], last["iteration"]) == ("0", "4")
    assert float(first["above_start"]) == 0
    # Curves, the start, and two steps each.
    assert (tmp_path / "m" / "training.html").read_text().count("<img") == 4
    again = replace(training, iterations=3, every=3, overwrite=True, supervisor="none")
    train([str(scene.folder)], tmp_path / "m", again)
    assert sorted(path.stem for path in (tmp_path / "m" / "pictures").iterdir()) == ["000000", "000003"]
    done = sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(model=str(tmp_path / "m"), guard=False))
    assert done.method_used == "m"
    # Nobody needs CLIP to sharpen.
    assert not any("clip" in name.lower() for name in weights(tmp_path / "m"))


@pytest.mark.usefixtures("last_is_kept")
def test_a_training_that_was_stopped_ends_the_same(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    adapt([str(scene.folder)], tmp_path / "s", training.adapting())
    options = replace(training, supervisor=str(tmp_path / "s"), losses={"language": 0.05})
    train([str(scene.folder)], tmp_path / "whole", options)
    said = Said(stop_at=3)
    with pytest.raises(Interrupted):
        train([str(scene.folder)], tmp_path / "parts", options, said, said.stop)
    with pytest.raises(ModelError, match="another losses"):
        train([str(scene.folder)], tmp_path / "parts", replace(options, losses={"quality": 0.5}, resume=True))
    train([str(scene.folder)], tmp_path / "parts", replace(options, resume=True))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.usefixtures("last_is_kept")
def test_the_language_loss_moves_the_weights(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    adapt([str(scene.folder)], tmp_path / "s", training.adapting())
    for name, weight in (("with", 5.0), ("without", 0.0)):
        options = replace(training, supervisor=str(tmp_path / "s"), losses={"language": weight})
        train([str(scene.folder)], tmp_path / name, options)
    assert not same(weights(tmp_path / "with"), weights(tmp_path / "without"))


def test_going_on_from_a_model(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    options = replace(training, init="injector-4", backbone=None, settings={}, supervisor="none", rate=1e-5)
    record = train([str(scene.folder)], tmp_path / "m", options).record
    assert record.training.init == "injector-4"
    held = record.training.held_out
    assert held["model"]["d_rho"] == pytest.approx(held["start"]["d_rho"], abs=0.02)
    assert not (tmp_path / "m" / "supervisor").exists()
    # It is refined first: each band has a mixture of its own.
    assert (find_model(str(tmp_path / "m")).network, find_model(str(tmp_path / "m")).bands) == ("refined", 4)
    blind = replace(options, losses={"truth": 0.0}, iterations=1)
    train([str(scene.folder)], tmp_path / "n", blind)
    assert (find_model(str(tmp_path / "n")).network, find_model(str(tmp_path / "n")).bands) == ("injector", None)


def test_going_on_from_a_refined_model_begins_where_it_is(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    """A refinement that proves nothing does not take away the one that it had."""
    model = find_model("injector-4")
    net = Refined(4, **model.settings)
    net.load_state_dict(
        {**net.state_dict(), **model.load().state_dict(), "mixture": 0.01 * torch.randn(4, count_forms(4))}
    )
    save_model(tmp_path / "r", net, name="refined", settings=model.settings, ratios=(1.5, 8), card="")
    options = replace(training, init=str(tmp_path / "r"), backbone=None, settings={}, supervisor="none", iterations=1)
    record = train([str(scene.folder)], tmp_path / "m", replace(options, rate=0.0)).record
    assert float(rows(tmp_path / "m")[0]["above_start"]) == 0
    assert record.training.held_out["model"] == record.training.held_out["start"]
    assert same(net.state_dict(), weights(tmp_path / "m"))


def test_the_best_is_kept(scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1.5, 1.0, 2.0, 3.0])
    monkeypatch.setattr(stage_two.FullResolution, "score", lambda *_: next(scores))
    options = replace(training, supervisor="none", iterations=6)
    record = train([str(scene.folder)], tmp_path / "m", options).record
    assert record.training.best_iteration == 2


def test_what_is_better_before_the_truth_is_kept(put: Put, tmp_path: Path, training: TrainOptions) -> None:
    place = put("a", size=140)
    options = replace(training, supervisor="none", teacher="none", losses={"spectral": 0.0}, iterations=12, every=6)
    record = train([str(place)], tmp_path / "m", replace(options, batch=1, rate=2e-2)).record
    held = record.training.held_out
    assert record.training.best_iteration in (6, 12)
    assert held["model"]["ergas"] < held["start"]["ergas"]
    assert held["model"]["sam"] < held["start"]["sam"]
    best = next(row for row in rows(tmp_path / "m") if row["iteration"] == str(record.training.best_iteration))
    assert float(best["above_start"]) == min(float(row["above_start"]) for row in rows(tmp_path / "m")) < 0


@pytest.mark.parametrize("at", [None, 3])
def test_what_is_not_better_before_the_truth_is_not_kept(
    scene: Made, tmp_path: Path, training: TrainOptions, at: int | None
) -> None:
    """A rate that spoils the network in a step: what it began with is written, bit by bit."""
    options = replace(training, supervisor="none", teacher="none", losses={"truth": 0.0, "structure": 1.0}, rate=1.0)
    said = Said(stop_at=at or -1)
    with contextlib.nullcontext() if at is None else pytest.raises(Interrupted):
        train([str(scene.folder)], tmp_path / "m", options, said, said.stop)
    if at is not None:
        said = Said()
        train([str(scene.folder)], tmp_path / "m", replace(options, resume=True), said)
    record = find_model(str(tmp_path / "m")).record
    assert record.training.best_iteration == 0
    assert said.lines[-1] == "warning: nothing was better than what it began with: that is what is written"
    torch.manual_seed(options.seed)
    assert same(network("injector", 4, **training.settings).state_dict(), weights(tmp_path / "m"))
    assert record.training.held_out["model"] == record.training.held_out["start"]
    assert all(float(row["above_start"]) >= 0 for row in rows(tmp_path / "m"))


def test_a_loss_that_is_not_finite_says_where(
    scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = unsupervised.spectral_loss
    calls = []

    def sometimes(out: torch.Tensor, *more: object) -> torch.Tensor:
        calls.append(0)
        return real(out, *more) * (torch.nan if len(calls) == 3 else 1)  # type: ignore[arg-type]

    monkeypatch.setattr(stage_two, "spectral_loss", sometimes)
    with pytest.raises(ModelError, match=r"not finite at iteration 3, tiles .* at MS row \d+, column \d+"):
        train([str(scene.folder)], tmp_path / "m", replace(training, supervisor="none"))
    assert (tmp_path / "m" / STATE).is_file()


def test_whom_to_imitate(training: TrainOptions) -> None:
    anew, on = replace(training, teacher=None), replace(training, teacher=None, backbone=None)
    assert fullres.loss_weights(anew)["teacher"] == ANEW["teacher"] > 0
    assert fullres.loss_weights(on)["teacher"] == LOSSES["teacher"] == 0
    assert fullres.loss_weights(replace(on, teacher="gsa"))["teacher"] == ANEW["teacher"]
    assert fullres.loss_weights(replace(on, losses={"teacher": 0.5}))["teacher"] == 0.5
    assert fullres.loss_weights(replace(anew, teacher="none"))["teacher"] == 0


def test_who_goes_on_is_anchored_and_who_begins_anew_is_not(training: TrainOptions) -> None:
    anew, on = (fullres.loss_weights(replace(training, backbone=name)) for name in ("injector", None))
    assert anew == LOSSES | ANEW
    assert on == LOSSES | {"teacher": ANEW["teacher"]}
    assert anew["anchor"] == 0 < on["anchor"]
    assert fullres.loss_weights(replace(training, losses={"anchor": 2.0}))["anchor"] == 2


def test_who_looks_at_the_images(training: TrainOptions) -> None:
    """By default the supervisor that ships; of another CLIP one is adapted first; nobody, if nobody is to look."""
    plain = TrainOptions()
    assert (plain.clip.clip, plain.clip.ms_input, plain.clip.adapters) == ("supervisor-1", None, "shared")
    assert (fullres.watches(plain), fullres.adapts_first(plain)) == (True, False)
    assert (fullres.watches(training), fullres.adapts_first(training)) == (True, True)
    assert not fullres.adapts_first(replace(training, supervisor="s"))
    for off in (replace(training, supervisor="none"), replace(training, losses={"language": 0.0})):
        assert not fullres.watches(off)
        assert fullres.loss_weights(off)["language"] == 0
    assert fullres.watches(replace(training, losses={"language": 0.05}))


def test_bad_options(scene: Made, tmp_path: Path, training: TrainOptions, make_scene: MakeScene) -> None:
    place = [str(scene.folder)]
    for options, what in (
        (replace(training, losses={"charm": 1.0}), "unknown loss 'charm'"),
        (replace(training, degradation="nearest"), "unknown degradation"),
        (replace(training, backbone="resnet", supervisor="none"), "unknown network"),
        (replace(training, supervisor=str(tmp_path / "nowhere")), "no supervisor in"),
        (replace(training, teacher="magic", losses={"teacher": 1.0}, supervisor="none"), "no method or model 'magic'"),
    ):
        with pytest.raises(ClippanError, match=what):
            train(place, tmp_path / "m", options)
    adapt(place, tmp_path / "s", replace(training.adapting(), iterations=1))
    (tmp_path / "rgb").mkdir()
    three = make_scene(size=60, count=3)
    for path in (three.ms, three.pan):
        Path(path).rename(tmp_path / "rgb" / Path(path).name)
    with pytest.raises(UsageError, match="looks at 4 bands, rgb has 3"):
        train([str(tmp_path / "rgb")], tmp_path / "m", replace(training, supervisor=str(tmp_path / "s")))


def test_two_processes_train_as_one(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    options = replace(training, settings={"width": 8}, supervisor="none", teacher="none", iterations=3, every=1)
    train([str(scene.folder)], tmp_path / "one", options)
    words = ["-m", "clippan_cli", "train", "--scenes", str(scene.folder), "-o", str(tmp_path / "two")]
    words += ["--backbone", "injector", "--set", "width=8", "--supervisor", "none", "--teacher", "none"]
    words += ["--iterations", "3", "--every", "1", "--batch", "2", "--jobs", "0", "--device", "cpu", "-q"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen([sys.executable, *words], env={**group, "RANK": rank}, stdout=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    assert [process.communicate(timeout=300)[0] for process in both] == [f"{tmp_path / 'two'}\n", ""]
    assert [process.returncode for process in both] == [0, 0]
    for one, two in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        for name in ("truth", "spectral", "structure", "gradient", "ergas", "hqnr"):
            assert float(two[name]) == pytest.approx(float(one[name]), abs=2e-4, nan_ok=True), name


def counted(patch: pytest.MonkeyPatch, place: Any, name: str) -> list[tuple[Any, ...]]:
    """The calls of a function from now on."""
    calls: list[tuple[Any, ...]] = []
    real = getattr(place, name)

    def call(*given: Any, **more: Any) -> Any:
        calls.append(given)
        return real(*given, **more)

    patch.setattr(place, name, call)
    return calls


def test_without_a_supervisor_clip_and_teacher_are_read_once_and_scenes_surveyed_once(
    put: Put, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a", size=40)
    place = put("b", size=40, seed=1)
    opened = counted(monkeypatch, learned_scene, "open_scene")
    encoders = counted(monkeypatch, adapting, "load_clip")
    built = counted(monkeypatch, fullres, "method")
    options = replace(training, teacher="gsa", iterations=1, adapt_iterations=1)
    train([str(place)], tmp_path / "m", options)
    # Surveyed once, and brought one scale down once for each use: to learn from, and to judge by.
    assert [files.name for files, *_ in opened] == ["a", "b"] * 3
    assert len(encoders) == 1
    assert [name for name, *_ in built] == ["mtf-glp-hpm-r", "gsa", "gsa"]


def test_with_a_supervisor_scenes_are_surveyed_once(
    scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapt([str(scene.folder)], tmp_path / "s", replace(training.adapting(), iterations=1))
    opened = counted(monkeypatch, learned_scene, "open_scene")
    adapted = counted(monkeypatch, fullres, "adapt_on")
    train([str(scene.folder)], tmp_path / "m", replace(training, supervisor=str(tmp_path / "s"), iterations=1))
    assert (len(opened), adapted) == (3, [])


def test_without_language_nobody_needs_clip(
    scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fullres, "read_clip", None)
    for name, options in (
        ("a", replace(training, supervisor="none", iterations=1)),
        ("b", replace(training, losses={"language": 0.0}, iterations=1)),
    ):
        train([str(scene.folder)], tmp_path / name, options)
        assert not (tmp_path / name / "supervisor").exists()


def test_a_model_does_not_go_on_from_itself(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    options = replace(training, supervisor="none", teacher="none", iterations=1)
    train([str(scene.folder)], tmp_path / "m", options)
    on = replace(options, backbone=None, settings={}, init=str(tmp_path / "m"), overwrite=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir() if path.is_file()}
    with pytest.raises(UsageError, match="cannot go on from itself"):
        train([str(scene.folder)], tmp_path / "m", on)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir() if path.is_file()} == before
    record = train([str(scene.folder)], tmp_path / "n", on).record
    assert (record.training.init, record.settings["width"]) == ("m", 8)


@pytest.mark.parametrize(
    ("more", "error", "what"),
    [
        ({"losses": {"charm": 1.0}}, UsageError, "unknown loss"),
        ({"losses": dict.fromkeys(LOSSES, 0.0)}, UsageError, "all losses are switched off"),
        ({"backbone": "injector", "settings": {"colour": 1}}, UsageError, "injector cannot be made with"),
        ({"backbone": None, "init": "magic"}, UsageError, "no method or model 'magic'"),
        ({"teacher": "magic"}, ClippanError, "no method or model 'magic'"),
        ({"clip": ClipOptions(clip="RN50", prompt="mine")}, UsageError, "unknown prompt 'mine'"),
        ({"clip": ClipOptions(clip="RN50", ms_input="hsv")}, UsageError, "unknown MS input 'hsv'"),
        ({"supervisor": "supervisor-0"}, UsageError, "no supervisor in supervisor-0"),
        ({"degradation": "nearest"}, UsageError, "unknown degradation"),
        ({"device": "abacus"}, ClippanError, "abacus"),
        ({"scene": SceneOptions(sensor="sputnik"), "supervisor": "none"}, UsageError, "unknown sensor 'sputnik'"),
    ],
)
def test_what_is_wrong_is_said_before_a_scene_is_opened(
    scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any],
    error: type[ClippanError], what: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(learned_scene, "open_scene", None)
    monkeypatch.setattr(fullres, "read_clip", None)
    with pytest.raises(error, match=what):
        train([str(scene.folder)], tmp_path / "m", replace(training, **more))
    assert not (tmp_path / "m").exists()


def test_a_batch_that_processes_cannot_share(
    scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fullres, "join_group", lambda _: contextlib.nullcontext(Group(0, 2)))
    with pytest.raises(UsageError, match="`batch=3` cannot be shared by 2 processes"):
        train([str(scene.folder)], tmp_path / "m", replace(training, batch=3))


def test_a_scene_that_needs_words_can_be_trained_on(put: Put, tmp_path: Path, training: TrainOptions) -> None:
    """Undeclared nodata, an unknown sensor: what sharpens it trains on it."""
    valid = np.ones((160, 160), bool)
    valid[:4, :6] = False
    place = put("a", size=160, valid=valid, nodata=5000)
    for name in ("ms.tif", "pan.tif"):
        with rasterio.open(place / "a" / name, "r+") as file:
            file.nodata = None
    said = SceneOptions(src_nodata=5000.0, sensor="worldview-4", mtf_gain=0.3)
    options = replace(training, supervisor="none", teacher="none", iterations=2, scene=said)
    record = train([str(place)], tmp_path / "m", options).record
    command = record.training.command or ""
    for words in ("--src-nodata 5000", "--sensor worldview-4", "--mtf-gain 0.3"):
        assert words in command
    with pytest.raises(ModelError, match=r"another mtf_gain: 0\.3, not 0\.2"):
        train([str(place)], tmp_path / "m", replace(options, scene=replace(said, mtf_gain=0.2), resume=True))


def test_scenes_that_have_no_truth(put: Put, tmp_path: Path, training: TrainOptions) -> None:
    """Gaps with room for a tile between them and not for more, and a scene that is too small: what to do is said."""
    valid = np.ones((60, 60), bool)
    valid[15, [14, 46]] = False
    place = put("a", size=60, valid=valid, nodata=0)
    options = replace(training, supervisor="none", teacher="none", iterations=1)
    with pytest.raises(InputError, match="no scene can be learned from one scale down") as caught:
        train([str(place)], tmp_path / "m", options)
    assert "`losses=truth=0`" in caught.value.hint
    assert not (tmp_path / "m").exists()
    # What is kept aside has no gap.
    train([str(place)], tmp_path / "m", replace(options, losses={"truth": 0.0}))
    assert "truth" not in rows(tmp_path / "m")[0]
    small, said = put("b", size=30) / "b", Said()
    with pytest.raises(InputError, match="no scene can be asked the truth"):
        train([str(small)], tmp_path / "n", replace(options, losses={"truth": 0.0}), said)
    assert any("the truth is not asked of b one scale down" in line for line in said.lines)


def test_more_or_other_scenes_are_another_training(put: Put, tmp_path: Path, training: TrainOptions) -> None:
    place = put("a", size=60)
    options = replace(training, supervisor="none", teacher="none", iterations=3)
    said = Said()
    said.stop.set()
    with pytest.raises(Interrupted):
        train([str(place)], tmp_path / "m", options, said, said.stop)
    put("b", size=60, seed=1)
    with pytest.raises(ModelError, match=r"another learned_from: \"1 \("):
        train([str(place)], tmp_path / "m", replace(options, resume=True))


def test_a_training_that_is_stopped_while_it_adapts_goes_on_there(
    scene: Made, tmp_path: Path, training: TrainOptions
) -> None:
    training = replace(training, iterations=1, teacher="none")
    whole = train([str(scene.folder)], tmp_path / "whole", training).record
    said = Said(stop_at=4)  # one scene that is surveyed, three steps
    with pytest.raises(Interrupted, match="stopped after 3 of 4"):
        train([str(scene.folder)], tmp_path / "parts", training, said, said.stop)
    assert (tmp_path / "parts" / "supervisor" / STATE).is_file()
    said = Said()
    parts = train([str(scene.folder)], tmp_path / "parts", replace(training, resume=True), said).record
    assert "resuming after 3 iterations" in said.lines
    assert parts.training.held_out == whole.training.held_out
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_the_page_of_a_training_needs_no_other_file(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    options = replace(training, supervisor="none", teacher="none", iterations=2)
    record = train([str(scene.folder)], tmp_path / "m", options).record
    text = (tmp_path / "m" / "training.html").read_text("utf-8")
    assert not re.search(r"https?:|file:|src=\"(?!data:)|href=", text)
    assert {path.name for path in (tmp_path / "m").iterdir()} >= {"CARD.md", "model.toml", "training.csv", "pictures"}
    find_model(str(tmp_path / "m")).verify()
    assert record.ratios[0] <= 1.5
    assert f"    {record.training.command}\n" in (tmp_path / "m" / "CARD.md").read_text()


def test_ratios_that_were_seen_are_served(put: Put, tmp_path: Path, training: TrainOptions) -> None:
    sites = sites_of(put("a", size=40))
    assert fullres._ratios(sites) == (1.5, 8.0)
    coarse, fine = (
        replace(sites[0], sampling=replace(sites[0].sampling, ratio=(ratio, ratio))) for ratio in (12.0, 1.2)
    )
    assert fullres._ratios([coarse]) == (1.5, 12.0)
    assert fullres._ratios([fine, coarse]) == (1.2, 12.0)


def test_another_prompt_is_another_training(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    said = Said(stop_at=7)
    with pytest.raises(Interrupted):
        train([str(scene.folder)], tmp_path / "m", training, said, said.stop)
    assert (tmp_path / "m" / STATE).is_file()
    other = replace(training, clip=replace(training.clip, prompt="khan"), resume=True)
    with pytest.raises(ModelError, match="another prompt"):
        train([str(scene.folder)], tmp_path / "m", other)
