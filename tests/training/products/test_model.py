"""The folders that trainings leave behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clippan_cli.modelstore.model import find_model, read_model
from clippan_cli.modelstore.records import TrainingRecord
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import network
from clippan_cli.training.data.tile_reader import held_tiles
from clippan_cli.training.loop.task import Run
from clippan_cli.training.objectives.stage_two import FullResolution
from clippan_cli.training.objectives.truth import Truth, reduce_sites
from clippan_cli.training.options import TrainOptions
from clippan_cli.training.products.judged_model import JudgedModel
from clippan_cli.training.products.model import ModelProduct
from clippan_cli.training.products.page import PAGE, PICTURES
from tests.training.conftest import CPU, Put, Said, same, sites_of, stream_of

SETTINGS = {"width": 8, "blocks": 1}
RECIPE = TrainingRecord(
    options={"seed": 4, "iterations": 20, "batch": 3}, sources={"scenes": 2}, command="clippan train -o m"
)
RUN = Run("1.2", "2.6", "cpu", 0.4, 7)


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    return network("injector", 1, **SETTINGS)


def test_a_model_is_found_whole_again(tmp_path: Path, net: Network) -> None:
    product = ModelProduct(network="injector", settings=SETTINGS, ratios=(2, 8), recipe=RECIPE, lessons="Much.")
    trained = product.write(tmp_path / "mine", net, RUN)
    assert trained.output == str(tmp_path / "mine")
    assert product.read(tmp_path / "mine") == trained.record
    model = read_model(tmp_path / "mine")
    model.verify()
    assert same(net.state_dict(), model.load().state_dict())
    assert (model.id, model.network, model.bands, tuple(model.ratios)) == ("mine", "injector", None, (2, 8))
    training = trained.record.training
    assert (training.command, training.best_iteration, training.minutes) == ("clippan train -o m", 7, 0.4)
    assert (tmp_path / "mine" / "CARD.md").read_text().startswith("# mine\n")
    assert trained.plain()["output"] == str(tmp_path / "mine")


def test_a_model_is_found_by_its_folder_only_when_it_is_complete(tmp_path: Path, net: Network) -> None:
    product = ModelProduct(network="injector", settings=SETTINGS, ratios=(2, 8), recipe=RECIPE, lessons="")
    product.write(tmp_path / "mine", net, RUN)
    assert find_model(str(tmp_path / "mine")).id == "mine"
    assert not [path.name for path in (tmp_path / "mine").iterdir() if path.name.endswith(".new")]


@pytest.fixture
def judged(put: Put, net: Network, monkeypatch: pytest.MonkeyPatch) -> JudgedModel:
    sites = sites_of(put("a", size=60))
    monkeypatch.setattr("clippan_cli.training.objectives.stage_two.ANCHORS", ("gsa",))
    task = FullResolution(
        stream=stream_of(sites, batch=1), lessons=[], held=held_tiles(sites, 1, CPU, Said()),
        truth=Truth(reduce_sites(sites, CPU, Said(), held=True)), supervisor=None, weights={"spectral": 1.0},
        options=TrainOptions(), start=net,
    )  # fmt: skip
    return JudgedModel(network="injector", settings=SETTINGS, ratios=(2, 8), recipe=RECIPE, lessons="", task=task)


def test_how_a_model_stands_beside_formulas(judged: JudgedModel, tmp_path: Path, net: Network) -> None:
    (tmp_path / "mine").mkdir()
    record = judged.write(tmp_path / "mine", net, RUN).record
    held = record.training.held_out
    assert list(held) == ["exp", "gsa", "start", "model"]
    assert list(held["model"]) == ["ergas", "sam", "hqnr", "d_rho", "r_ergas"]
    assert held["model"] == held["start"]
    assert record.training.skipped == 0
    assert all(value == round(value, 4) for row in held.values() for value in row.values())
    # What has learned nothing yet is interpolation, but for its back-projections.
    assert held["model"]["r_ergas"] < held["exp"]["r_ergas"]
    assert held["gsa"]["ergas"] < held["exp"]["ergas"]
    text = (tmp_path / "mine" / PAGE).read_text("utf-8")
    assert f"{held['gsa']['d_rho']:.4f}" in text
    assert "Kept: iteration 7, the best before the truth." in text


def test_a_model_that_is_what_the_training_began_with_says_so(
    judged: JudgedModel, tmp_path: Path, net: Network
) -> None:
    (tmp_path / "mine").mkdir()
    record = judged.write(tmp_path / "mine", net, replace(RUN, best_iteration=0)).record
    assert record.training.best_iteration == 0
    assert "Nothing was better, before the truth, than what the training began with" in (
        tmp_path / "mine" / PAGE
    ).read_text("utf-8")


def test_pictures_come_with_the_page_and_go_with_a_new_training(
    judged: JudgedModel, tmp_path: Path, net: Network
) -> None:
    with torch.no_grad():
        found = judged.task.validate(net)
        for done in (2, 40):
            judged.picture(net, done, found, tmp_path)
    assert sorted(path.name for path in (tmp_path / PICTURES).iterdir()) == ["000002.png", "000040.png"]
    assert (tmp_path / PAGE).read_text("utf-8").count("after ") == 2
    (tmp_path / PICTURES / "mine.png").write_bytes(b"kept")
    judged.clear(tmp_path)
    assert [path.name for path in (tmp_path / PICTURES).iterdir()] == ["mine.png"]
    judged.clear(tmp_path / "nowhere")
