from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.errors import ClippanError, Interrupted, ModelError, UsageError
from clippan_cli.modelstore.model import find_model
from clippan_cli.training import train as fullres
from clippan_cli.training.adapt import adapt
from clippan_cli.training.loop.steps import STATE
from clippan_cli.training.objectives import stage_two
from clippan_cli.training.objectives import without_truth as unsupervised
from clippan_cli.training.objectives.stage_two import LOSSES
from clippan_cli.training.options import TrainOptions
from clippan_cli.training.train import train
from tests.conftest import Made
from tests.training.conftest import MakeScene, Said, rows, same, weights

pytestmark = pytest.mark.usefixtures("few_tiles")


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
        for name in ("spectral", "quality", "gradient"):
            assert float(two[name]) == pytest.approx(float(one[name]), abs=2e-4), name
