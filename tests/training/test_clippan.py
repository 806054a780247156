"""Stage I and stage II, from scenes on disk to a model that sharpens."""

from __future__ import annotations

import csv
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.errors import ClippanError, Interrupted, ModelError, OutputError, UsageError
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore.model import find_model
from clippan_cli.modelstore.supervisor import load_supervisor
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.training import adapt as adapting
from clippan_cli.training import train as fullres
from clippan_cli.training.ablate import TABLES, ablate, variants
from clippan_cli.training.adapt import Classroom, adapt
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.surveyed_scenes import survey_scenes
from clippan_cli.training.loop import steps
from clippan_cli.training.loop.steps import LOG, STATE
from clippan_cli.training.objectives import stage_one, stage_two
from clippan_cli.training.objectives import without_truth as unsupervised
from clippan_cli.training.objectives.stage_two import LOSSES
from clippan_cli.training.options import AblateOptions, AdaptOptions, ClipOptions, TrainOptions
from clippan_cli.training.train import train
from tests.conftest import Made
from tests.training.test_training import Said, same, weights

MakeScene = Callable[..., Made]
SMALL = {"width": 8, "blocks": 1}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "HELD", 4)
    monkeypatch.setattr(fullres, "HELD", 2)
    monkeypatch.setattr(steps, "draw_curves", lambda *_: None)


@pytest.fixture
def scene(make_scene: MakeScene) -> Made:
    return make_scene(size=60)


@pytest.fixture
def learning(tiny_clip: str) -> AdaptOptions:
    clip = ClipOptions(clip=tiny_clip, clip_weights="none")
    return AdaptOptions(clip=clip, iterations=4, batch=2, every=2, jobs=0, device="cpu")


@pytest.fixture
def training(learning: AdaptOptions) -> TrainOptions:
    return TrainOptions(
        backbone="injector", settings=SMALL, clip=learning.clip, adapt_iterations=4, teacher="mtf-glp-hpm-r",
        iterations=4, batch=2, every=2, jobs=0, device="cpu",
    )  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_supervisor_learns_the_types(
    scene: Made, tmp_path: Path, learning: AdaptOptions, training: TrainOptions
) -> None:
    options = replace(learning, iterations=40, every=40, batch=4, rate=3e-3)
    record = adapt([str(scene.folder)], tmp_path / "s", options).record
    assert record.held_out["type_accuracy"] > 0.45
    made = load_supervisor(tmp_path / "s")
    assert made.bands == 4
    # What it has learned tells a fusion from an interpolation.
    trained = replace(training, supervisor=str(tmp_path / "s"), iterations=1)
    held = train([str(scene.folder)], tmp_path / "m", trained).record.training.held_out
    assert held["gsa"]["validation_language"] < held["exp"]["validation_language"]
    (row,) = rows(tmp_path / "s")
    assert {"type", "scene", "fusion", "type_accuracy", "retrieval", "cosine"} <= set(row)


def test_an_adaptation_that_was_stopped_ends_the_same(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    whole = adapt([str(scene.folder)], tmp_path / "whole", learning)
    said = Said(stop_at=3)
    with pytest.raises(Interrupted):
        adapt([str(scene.folder)], tmp_path / "parts", learning, said, said.stop)
    with pytest.raises(ModelError, match="another prompt"):
        adapt(
            [str(scene.folder)],
            tmp_path / "parts",
            replace(learning, clip=replace(learning.clip, prompt="khan"), resume=True),
        )
    parts = adapt([str(scene.folder)], tmp_path / "parts", replace(learning, resume=True))
    assert parts.record.sha256 == whole.record.sha256


def test_losses_of_stage_one_can_be_switched_off(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    options = replace(learning, iterations=1, losses={"scene": 0, "fusion": 0})
    adapt([str(scene.folder)], tmp_path / "s", options)
    assert "scene" not in rows(tmp_path / "s")[0]
    with pytest.raises(UsageError, match="unknown loss 'colour'"):
        adapt([str(scene.folder)], tmp_path / "t", replace(learning, losses={"colour": 1}))
    with pytest.raises(UsageError, match="all losses are switched off"):
        adapt([str(scene.folder)], tmp_path / "t", replace(learning, losses=dict.fromkeys(stage_one.LOSSES, 0.0)))
    with pytest.raises(OutputError, match="holds a supervisor"):
        adapt([str(scene.folder)], tmp_path / "s", learning)


def test_sensors_of_other_bands_do_not_mix(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    encoder = Encoder(learning.clip.clip)
    (site,) = survey_scenes([str(scene.folder)], encoder.side, {"bdsd-pc": method("bdsd-pc")}, SceneOptions(), Said())
    sites = [replace(site, wavelengths=each) for each in ((480.0, 545.0, 660.0, 830.0), (660.0, 545.0, 480.0, 830.0))]
    with pytest.raises(UsageError, match=r"band 1 of .* lies at 660 nm, the supervisor's at 480 nm"):
        adapting.adapt_on(Classroom(sites, encoder), tmp_path / "s", learning, Said(), Event())


def test_every_distortion_is_one() -> None:
    good, soft = torch.rand(4, 32, 32), torch.full((4, 32, 32), 0.5)
    seen = [stage_one.distort(good, soft, Draw(i)) for i in range(12)]
    assert all(float((bad - good).abs().mean()) > 0.01 for bad in seen)


def test_training_from_nothing_to_a_sharp_image(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    said = Said()
    record = train([str(scene.folder)], tmp_path / "m", training, said).record
    assert any("adapting one to these scenes first" in line for line in said.lines)
    assert set(record.training.held_out) == {"exp", "mtf-glp-hpm-r", "gsa", "model"}
    assert "language" in rows(tmp_path / "m")[0]
    assert (tmp_path / "m" / "training.html").read_text().count("<img") == 3
    again = replace(training, iterations=3, every=3, overwrite=True, supervisor="none")
    train([str(scene.folder)], tmp_path / "m", again)
    assert [path.stem for path in (tmp_path / "m" / "pictures").iterdir()] == ["000003"]
    done = sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(model=str(tmp_path / "m"), guard=False))
    assert done.method_used == "m"
    # Nobody needs CLIP to sharpen.
    assert not any("clip" in name.lower() for name in weights(tmp_path / "m"))


def test_a_training_that_was_stopped_ends_the_same(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    adapt([str(scene.folder)], tmp_path / "s", training.adapting())
    options = replace(training, supervisor=str(tmp_path / "s"))
    train([str(scene.folder)], tmp_path / "whole", options)
    said = Said(stop_at=3)
    with pytest.raises(Interrupted):
        train([str(scene.folder)], tmp_path / "parts", options, said, said.stop)
    with pytest.raises(ModelError, match="another losses"):
        train([str(scene.folder)], tmp_path / "parts", replace(options, losses={"quality": 0.5}, resume=True))
    train([str(scene.folder)], tmp_path / "parts", replace(options, resume=True))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_the_language_loss_moves_the_weights(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    adapt([str(scene.folder)], tmp_path / "s", training.adapting())
    for name, weight in (("with", 5.0), ("without", 0.0)):
        options = replace(training, supervisor=str(tmp_path / "s"), losses={"language": weight})
        train([str(scene.folder)], tmp_path / name, options)
    assert not same(weights(tmp_path / "with"), weights(tmp_path / "without"))


def test_going_on_from_a_model(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    options = replace(training, init="injector-2", backbone=None, settings={}, supervisor="none", rate=1e-5)
    record = train([str(scene.folder)], tmp_path / "m", options).record
    assert record.training.init == "injector-2"
    held = record.training.held_out
    assert held["model"]["d_rho"] == pytest.approx(held["init"]["d_rho"], abs=0.02)
    assert not (tmp_path / "m" / "supervisor").exists()
    assert find_model(str(tmp_path / "m")).bands is None


def test_the_best_is_kept(scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(stage_two.FullResolution, "score", lambda *_: next(scores))
    options = replace(training, supervisor="none", iterations=6)
    record = train([str(scene.folder)], tmp_path / "m", options).record
    assert record.training.best_iteration == 2


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
    assert fullres.loss_weights(anew)["teacher"] == LOSSES["teacher"]
    assert fullres.loss_weights(on)["teacher"] == 0
    assert fullres.loss_weights(replace(on, teacher="gsa"))["teacher"] == LOSSES["teacher"]
    assert fullres.loss_weights(replace(on, losses={"teacher": 0.5}))["teacher"] == 0.5
    assert fullres.loss_weights(replace(anew, teacher="none"))["teacher"] == 0


def test_a_score_that_is_no_number_is_never_best() -> None:
    assert stage_two._loss("hqnr", float("nan")) == stage_two._loss("d_rho", float("inf")) == float("inf")
    assert stage_two._loss("hqnr", 0.9) == pytest.approx(math.log(0.1))


def judging(options: TrainOptions, weights: dict[str, float]) -> stage_two.FullResolution:
    return stage_two.FullResolution(
        stream=None,  # type: ignore[arg-type]
        held=[],
        supervisor=None,
        weights=weights,
        options=options,
        init=None,
    )


def test_weights_over_time(training: TrainOptions) -> None:
    task = judging(training, LOSSES)
    assert [round(task.weights(p)["language"] / LOSSES["language"], 3) for p in (0, 0.2, 0.3, 0.4, 1)] == [
        0,
        0,
        0.5,
        1,
        1,
    ]
    full = replace(training, losses={"teacher": 1.0})
    task = judging(full, {"teacher": 1.0})
    assert [task.weights(p)["teacher"] for p in (0, 0.5, 1)] == [1, 0.5, 0]
    kept = replace(full, keep_teacher=True)
    task = judging(kept, {"teacher": 1.0})
    assert task.weights(1)["teacher"] == 1


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


def test_the_tables_of_the_paper(training: TrainOptions) -> None:
    assert [len(variants(table, training)) for table in TABLES] == [7, 4, 4, 5]
    with pytest.raises(UsageError, match="unknown table"):
        variants("colours", training)
    for table in TABLES:
        with pytest.raises(UsageError, match="the lines would not differ"):
            variants(table, replace(training, supervisor="none"))


def test_an_ablation(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    short = replace(training, iterations=1, every=1, adapt_iterations=1)
    options = AblateOptions(seeds=2, training=short)
    found = ablate([str(scene.folder)], tmp_path / "t", "stage1", options)
    assert [row.variant for row in found.rows] == ["no language", "scene", "+ type", "+ fusion"]
    assert any(row.spread["hqnr"] > 0 for row in found.rows)
    more = AblateOptions(seeds=2, training=replace(short, resume=True))
    assert ablate([str(scene.folder)], tmp_path / "t", "stage1", more).rows == found.rows
    assert len(list(found.lines())) == 1 + 3 + 4
    assert (tmp_path / "t" / "ablation.csv").read_text().count("\n") == 5
    with pytest.raises(OutputError, match="holds a table"):
        ablate([str(scene.folder)], tmp_path / "t", "stage1", options)


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
        for name in ("spectral", "quality", "gradient"):
            assert float(two[name]) == pytest.approx(float(one[name]), abs=2e-4), name
