from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.registry import ANCHORS, method
from clippan_cli.networks.registry import network
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Projector
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.surveyed_scenes import Site, survey_scenes
from clippan_cli.training.data.tile_reader import held_tiles
from clippan_cli.training.objectives import stage_two
from clippan_cli.training.objectives.stage_two import LOSSES
from clippan_cli.training.objectives.without_truth import imitation_loss
from clippan_cli.training.options import TrainOptions
from tests.training.conftest import CPU, Put, Said, stream_of


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


ROWS = {
    "exp": {"hqnr": 0.8, "d_rho": 0.4, "r_ergas": 2.0},
    "mtf-glp-hpm-r": {"hqnr": 0.9, "d_rho": 0.2, "r_ergas": 1.0},
    "gsa": {"hqnr": 0.95, "d_rho": 0.1, "r_ergas": 1.5},
}


@pytest.fixture
def scoring(training: TrainOptions) -> stage_two.FullResolution:
    task = judging(training, LOSSES)
    task.beside = ROWS
    return task


def test_who_equals_the_better_formula_on_each_index_scores_zero(scoring: stage_two.FullResolution) -> None:
    assert scoring.score({"hqnr": 0.95, "d_rho": 0.1, "r_ergas": 1.0}) == pytest.approx(0)


@pytest.mark.parametrize(("index", "better"), [("hqnr", 0.97), ("d_rho", 0.05), ("r_ergas", 0.5)])
def test_the_better_the_less(scoring: stage_two.FullResolution, index: str, better: float) -> None:
    at = {"hqnr": 0.95, "d_rho": 0.1, "r_ergas": 1.0}
    assert scoring.score({**at, index: better}) < scoring.score(at)


def test_indices_count_alike(scoring: stage_two.FullResolution) -> None:
    """Half of what is missing is half, whatever the index."""
    halves = [
        scoring.score({"hqnr": 0.95, "d_rho": 0.1, "r_ergas": 1.0, **half})
        for half in ({"hqnr": 0.975}, {"d_rho": 0.05}, {"r_ergas": 0.5})
    ]
    assert halves == pytest.approx([-math.log(2) / 3] * 3)


@pytest.mark.parametrize("index", ["hqnr", "d_rho", "r_ergas"])
def test_one_number_that_is_none_spoils_a_score(scoring: stage_two.FullResolution, index: str) -> None:
    assert scoring.score({**ROWS["gsa"], index: math.nan}) == math.inf


def test_a_perfect_index_is_no_minus_infinity(scoring: stage_two.FullResolution) -> None:
    assert math.isfinite(scoring.score({"hqnr": 1.0, "d_rho": 0.0, "r_ergas": 0.0}))


@pytest.fixture
def sites(put: Put) -> list[Site]:
    methods = {name: method(name) for name in (*ANCHORS, "bdsd-pc")}
    methods["teacher"] = method("gsa")
    return survey_scenes([str(put("a", size=60))], 64, methods, SceneOptions(), Said())


@pytest.fixture(scope="module")
def encoder(tiny_clip: str) -> Encoder:
    return Encoder(tiny_clip)


def working(
    sites: list[Site], options: TrainOptions, weights: dict[str, float], **more: Any
) -> stage_two.FullResolution:
    held = held_tiles(sites, 64, 2, CPU, Said())
    parts = {"supervisor": None, "init": None, "held": held, **more}
    return stage_two.FullResolution(
        stream=stream_of(sites, side=64, batch=2), weights=weights, options=options, **parts
    )


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return network("injector", 1, width=8, blocks=1)


def test_formulas_stand_beside(sites: list[Site], training: TrainOptions, net: nn.Module) -> None:
    task = working(sites, training, {**LOSSES, "language": 0.0}, init=net)
    assert list(task.beside) == ["exp", *ANCHORS, "init"]
    assert task.checks == ("hqnr", "d_rho", "r_ergas")
    assert all(tuple(row) == task.checks for row in task.beside.values())
    with torch.no_grad():
        assert task.validate(net) == task.beside["init"]
    assert task.beside["gsa"]["d_rho"] < task.beside["exp"]["d_rho"]
    assert task.score(task.beside["gsa"]) >= 0
    assert task.score(task.beside["exp"]) > task.score(task.beside["gsa"])
    out, tiles = task.shown(net)
    assert out.shape == tiles.ms_up.shape[1:]
    assert task.skipped == 0


def test_a_process_that_does_not_lead_judges_nothing(sites: list[Site], training: TrainOptions) -> None:
    assert working(sites, training, LOSSES, held=[]).beside == {}


@pytest.mark.parametrize("kept", [("spectral",), ("teacher", "structure"), ("spatial", "quality")])
def test_only_what_has_a_weight_is_asked(
    sites: list[Site], training: TrainOptions, net: nn.Module, kept: tuple[str, ...]
) -> None:
    weights = {name: 1.0 * (name in kept) for name in LOSSES}
    task = working(sites, training, weights, held=[])
    sample = task.draw(0, 2)
    found = task.losses(net, sample)
    assert set(found) == set(task.terms) == set(kept)
    assert all(value.requires_grad and float(value.detach()) > 0 for value in found.values())
    assert task.where(sample) == sample.where


def test_the_teacher_is_imitated_as_its_product_is(sites: list[Site], training: TrainOptions, net: nn.Module) -> None:
    task = working(sites, training, {"teacher": 1.0}, held=[])
    sample = task.draw(0, 2)
    taught = torch.stack([back_project(site.fitted["gsa"].fuse(tile), tile, 2) for site, tile in sample.singly()])
    out = task._out(net, sample)
    torch.testing.assert_close(task.losses(net, sample)["teacher"], imitation_loss(out, taught, sample))
    torch.testing.assert_close(task._taught(sample), taught)
    assert not task._taught(sample).requires_grad


def test_language_teaches_the_network_and_not_the_supervisor(
    sites: list[Site], training: TrainOptions, net: nn.Module, encoder: Encoder
) -> None:
    supervisor = Supervisor(
        encoder, Projector("conv", *sites[0].channels("conv")), read_prompts(), sites[0].wavelengths
    )
    for weight in supervisor.parameters():
        weight.requires_grad_(False)
    task = working(sites, training, {"language": 1.0, "spectral": 1.0}, supervisor=supervisor)
    assert task.checks[-1] == "validation_language"
    assert all(0 <= row["validation_language"] <= 2 for row in task.beside.values())
    # Interpolation is MS itself: it has no direction, and counts as wrong.
    assert task.beside["exp"]["validation_language"] >= 0.5
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    language = task.losses(net, task.draw(0, 2))["language"]
    torch.autograd.backward(language)
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in net.parameters())
    assert all(weight.grad is None for weight in supervisor.parameters())
    assert all(weight.grad is None for weight in encoder.parameters())


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_the_language_rises_and_the_teacher_falls(first: float, second: float, kept: bool) -> None:
    task = judging(TrainOptions(keep_teacher=kept), LOSSES)
    before, after = (task.weights(progress) for progress in sorted((first, second)))
    assert set(before) == set(LOSSES)
    assert 0 <= before["language"] <= after["language"] <= LOSSES["language"]
    assert 0 <= after["teacher"] <= before["teacher"] <= LOSSES["teacher"]
    assert not kept or after["teacher"] == LOSSES["teacher"]
    for name in ("spectral", "spatial", "quality", "structure"):
        assert before[name] == LOSSES[name]
