from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.registry import ANCHORS, method
from clippan_cli.modelstore.model import find_model
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import network
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Projector
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.reduced_scene import ReducedScene
from clippan_cli.training.data.simulated_pairs import margin
from clippan_cli.training.data.surveyed_scenes import Site, survey_scenes
from clippan_cli.training.data.tile_reader import held_tiles
from clippan_cli.training.objectives import stage_two
from clippan_cli.training.objectives.simulated import fuse
from clippan_cli.training.objectives.stage_two import LOSSES
from clippan_cli.training.objectives.truth import Truth, reduce_sites
from clippan_cli.training.objectives.with_truth import back_project_pairs, measure_errors
from clippan_cli.training.objectives.without_truth import imitation_loss
from clippan_cli.training.options import TrainOptions
from tests.training.conftest import CPU, Put, Said, stream_of

NET = nn.Identity()
"""Stands for a network where none is asked."""


def judging(options: TrainOptions, weights: dict[str, float]) -> stage_two.FullResolution:
    return stage_two.FullResolution(
        stream=None,  # type: ignore[arg-type]
        lessons=[],
        held=[],
        truth=None,
        supervisor=None,
        weights=weights,
        options=options,
        start=NET,
    )


def test_weights_over_time(training: TrainOptions) -> None:
    task = judging(training, {**LOSSES, "language": 0.05})
    assert [round(task.weights(p)["language"] / 0.05, 3) for p in (0, 0.2, 0.3, 0.4, 1)] == [0, 0, 0.5, 1, 1]
    full = replace(training, losses={"teacher": 1.0})
    task = judging(full, {"teacher": 1.0})
    assert [task.weights(p)["teacher"] for p in (0, 0.5, 1)] == [1, 0.5, 0]
    kept = replace(full, keep_teacher=True)
    task = judging(kept, {"teacher": 1.0})
    assert task.weights(1)["teacher"] == 1


START = {"ergas": 2.0, "sam": 3.0, "hqnr": 0.95, "d_rho": 0.1, "r_ergas": 1.0}


@pytest.fixture
def scoring(training: TrainOptions) -> stage_two.FullResolution:
    task = judging(training, LOSSES)
    task.beside = {"start": START}
    return task


def test_the_truth_alone_says_how_good_a_network_is(scoring: stage_two.FullResolution) -> None:
    assert scoring.ranks
    assert [scoring.score({**START, "above_start": value}) for value in (0.0, -0.3, 0.2)] == [0.0, -0.3, 0.2]


@settings(max_examples=60, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_no_index_without_truth_makes_a_network_better(above: float, hqnr: float, d_rho: float, share: float) -> None:
    """HQNR and D_ρ may say what they like, and R-ERGAS may fall to nothing."""
    task = judging(TrainOptions(), LOSSES)
    task.beside = {"start": START}
    found = {"above_start": above, "hqnr": hqnr, "d_rho": d_rho, "r_ergas": share}
    assert task.score(found) == above == task.score({**START, "above_start": above})


@pytest.mark.parametrize(("rise", "counts"), [(0.0, True), (0.5, True), (1.09, True), (1.11, False), (math.inf, False)])
def test_who_has_left_ms_does_not_count(scoring: stage_two.FullResolution, rise: float, counts: bool) -> None:
    found = {**START, "above_start": -0.5, "r_ergas": rise * START["r_ergas"]}
    assert scoring.score(found) == (-0.5 if counts else math.inf)


@pytest.mark.parametrize("index", ["above_start", "r_ergas"])
def test_what_is_no_number_is_never_better(scoring: stage_two.FullResolution, index: str) -> None:
    assert not scoring.score({**START, "above_start": -0.5, index: math.nan}) < math.inf


def test_a_start_that_is_consistent_to_the_last_bit(scoring: stage_two.FullResolution) -> None:
    scoring.beside = {"start": {**START, "r_ergas": 0.0}}
    assert scoring.score({**START, "above_start": -0.5, "r_ergas": 0.0}) == -0.5
    assert scoring.score({**START, "above_start": -0.5, "r_ergas": 1.0}) == math.inf


def survey(place: Path) -> list[Site]:
    methods = {name: method(name) for name in (*ANCHORS, "bdsd-pc")}
    methods["teacher"] = method("gsa")
    return survey_scenes([str(place)], 64, methods, SceneOptions(), Said())


@pytest.fixture
def sites(put: Put) -> list[Site]:
    return survey(put("a", size=60))


@pytest.fixture(scope="module")
def encoder(tiny_clip: str) -> Encoder:
    return Encoder(tiny_clip)


def working(
    sites: list[Site], options: TrainOptions, weights: dict[str, float], start: nn.Module, **more: Any
) -> stage_two.FullResolution:
    """A task that learns; it judges where it is given a truth."""
    held = held_tiles(sites, 2, CPU, Said()) if more.get("truth") else []
    parts = {"supervisor": None, "truth": None, "lessons": [], "held": held, **more}
    stream = stream_of(sites, batch=2)
    return stage_two.FullResolution(stream=stream, weights=weights, options=options, start=start, **parts)


def lessons_of(sites: list[Site]) -> list[ReducedScene]:
    return [lesson for scene in reduce_sites(sites, CPU, Said(), held=False) for lesson in scene]


def truth_of(sites: list[Site]) -> Truth:
    return Truth(reduce_sites(sites, CPU, Said(), held=True))


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    return network("injector", 1, width=8, blocks=1)


def moved(net: Network) -> Network:
    """Another network of the same form, that has its own mind."""
    other = copy.deepcopy(net)
    torch.manual_seed(1)
    for weight in other.last_weights():
        nn.init.normal_(weight, std=0.1)
    return other


def test_formulas_and_the_start_stand_beside(sites: list[Site], training: TrainOptions, net: Network) -> None:
    task = working(sites, training, {**LOSSES, "truth": 0.0}, net, truth=truth_of(sites))
    assert task.checks == ("above_start", "ergas", "sam", "hqnr", "d_rho", "r_ergas")
    assert list(task.beside) == ["exp", *ANCHORS, "start"]
    assert all(tuple(row) == task.checks[1:] for row in task.beside.values())
    with torch.no_grad():
        found = task.validate(net)
    assert task.row(found) == task.beside["start"]
    assert (found["above_start"], task.score(found)) == (0, 0)
    for name in ANCHORS:
        assert task.beside[name]["ergas"] < task.beside["exp"]["ergas"]
        assert task.beside[name]["d_rho"] < task.beside["exp"]["d_rho"]
    out, tiles = task.shown(net)
    assert out.shape == tiles.ms_up.shape[1:]
    assert task.skipped == 0


def test_who_is_nearer_to_the_truth_is_better_than_the_start(put: Put, training: TrainOptions, net: Network) -> None:
    """Of two places: one alone would prove nothing."""
    sites, start = survey(put("a", size=110)), moved(net)
    task = working(sites, training, {**LOSSES, "truth": 0.0}, start, truth=truth_of(sites))
    with torch.no_grad():
        plain, learned = task.validate(net), task.validate(find_model("injector-4").load())
        # What it is compared with is the start as it was, whatever becomes of the network.
        start.load_state_dict(net.state_dict())
        assert task.validate(start) == plain
    assert plain["above_start"] < 0
    assert plain["ergas"] < task.beside["start"]["ergas"]
    assert learned["ergas"] < 0.5 * plain["ergas"]
    # Of error and angle the worse counts, however much better the other is.
    assert learned["above_start"] > math.log(learned["sam"] / task.beside["start"]["sam"])
    assert learned["above_start"] > math.log(learned["ergas"] / task.beside["start"]["ergas"]) + 0.5
    assert task.score(plain) == plain["above_start"]
    assert [task.beats_start(each) for each in (net, moved(net))] == [True, False]


def test_a_process_that_does_not_lead_judges_nothing(sites: list[Site], training: TrainOptions, net: Network) -> None:
    assert working(sites, training, LOSSES, net).beside == {}


@pytest.mark.parametrize(
    "kept", [("spectral",), ("teacher", "structure"), ("spatial", "quality"), ("truth",), ("truth", "anchor")]
)
def test_only_what_has_a_weight_is_asked(
    sites: list[Site], training: TrainOptions, net: Network, kept: tuple[str, ...]
) -> None:
    weights = {name: 1.0 * (name in kept) for name in LOSSES}
    task = working(sites, training, weights, net, lessons=lessons_of(sites) if "truth" in kept else [])
    sample = task.draw(0, 2)
    assert (sample.pair is not None) == ("truth" in kept)
    found = task.losses(moved(net), sample)
    assert set(found) == set(task.terms) == set(kept)
    assert all(value.requires_grad and math.isfinite(float(value.detach())) for value in found.values())
    assert all(float(value.detach()) > 0 for name, value in found.items() if name != "truth")
    assert task.where(sample) == sample.tiles.where


def test_the_truth_is_error_and_angle_one_scale_down(sites: list[Site], training: TrainOptions, net: Network) -> None:
    task = working(sites, training, {"truth": 1.0}, net, lessons=lessons_of(sites))
    sample, other = task.draw(0, 2), moved(net)
    pair = sample.pair
    assert pair is not None
    found = task.losses(other, sample)["truth"]
    product = back_project_pairs(fuse(other, pair), pair, training.consistency)
    torch.testing.assert_close(found, sum(measure_errors(product, pair, margin(pair.context.ratio))))
    # It is a logarithm: less where the network is nearer.
    assert float(task.losses(find_model("injector-4").load(), sample)["truth"].detach()) < float(found.detach())


def test_pairs_repeat_and_come_from_all_lessons(sites: list[Site], training: TrainOptions, net: Network) -> None:
    lessons = lessons_of(sites)
    task = working(sites, training, {"truth": 1.0}, net, lessons=lessons)
    first, again = task.draw(3, 2).pair, task.draw(3, 2).pair
    assert first is not None
    assert again is not None
    assert torch.equal(first.ms, again.ms)
    drawn = [pair for i in range(24) if (pair := task.draw(i, 2).pair) is not None]
    assert len({float(pair.ms.std()) for pair in drawn}) == len(lessons) == 5


def test_the_anchor_holds_the_network_where_it_began(sites: list[Site], training: TrainOptions, net: Network) -> None:
    task, other = working(sites, training, {"anchor": 1.0}, net), moved(net)
    sample = task.draw(0, 2)
    assert float(task.losses(net, sample)["anchor"].detach()) == 0
    tiles = sample.tiles
    with torch.no_grad():
        began, now = task._out(net, tiles), task._out(other, tiles)
    width = (tiles.high - tiles.low)[:, :-1, None, None]
    far = float(((now - began) / width).square().mean())
    with torch.no_grad():
        net.load_state_dict(other.state_dict())
    # The start stays what it was, though the network has moved.
    assert float(task.losses(net, sample)["anchor"].detach()) == pytest.approx(far, rel=1e-4)
    torch.autograd.backward(task.losses(net, sample)["anchor"])
    assert all(weight.grad is None for weight in task._start.parameters())


def test_the_teacher_is_imitated_as_its_product_is(sites: list[Site], training: TrainOptions, net: Network) -> None:
    task = working(sites, training, {"teacher": 1.0}, net)
    sample = task.draw(0, 2)
    tiles = sample.tiles
    taught = torch.stack([back_project(site.fitted["gsa"].fuse(tile), tile, 2) for site, tile in tiles.singly()])
    out = task._out(net, tiles)
    torch.testing.assert_close(task.losses(net, sample)["teacher"], imitation_loss(out, taught, tiles))
    torch.testing.assert_close(task._taught(tiles), taught)
    assert not task._taught(tiles).requires_grad


@pytest.fixture
def supervisor(sites: list[Site], encoder: Encoder) -> Supervisor:
    torch.manual_seed(0)
    projector = Projector("conv", *sites[0].channels("conv"))
    return Supervisor(encoder, projector, read_prompts(), sites[0].wavelengths).requires_grad_(requires_grad=False)


def test_language_teaches_the_network_and_not_the_supervisor(
    sites: list[Site], training: TrainOptions, net: Network, supervisor: Supervisor
) -> None:
    weights = {"language": 1.0, "spectral": 1.0}
    task = working(sites, training, weights, net, supervisor=supervisor, truth=truth_of(sites))
    assert task.checks[-1] == "validation_language"
    assert all(0 <= row["validation_language"] <= 2 for row in task.beside.values())
    # Interpolation is MS itself: it has no direction, and counts as wrong.
    assert task.beside["exp"]["validation_language"] >= 0.5
    learner = moved(net)
    language = task.losses(learner, task.draw(0, 2))["language"]
    torch.autograd.backward(language)
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in learner.parameters())
    assert all(weight.grad is None for weight in supervisor.parameters())
    assert all(weight.grad is None for weight in supervisor.encoder.parameters())


def test_who_looks_may_be_heard_without_teaching(
    sites: list[Site], training: TrainOptions, net: Network, supervisor: Supervisor
) -> None:
    weights = {"language": 0.0, "spectral": 1.0}
    task = working(sites, training, weights, net, supervisor=supervisor, truth=truth_of(sites))
    assert task.checks[-1] == "validation_language"
    assert task.terms == ("spectral",)
    assert set(task.losses(net, task.draw(0, 2))) == {"spectral"}


def test_language_does_not_ask_for_more_of_pan_as_a_whole(
    sites: list[Site], training: TrainOptions, net: Network, supervisor: Supervisor
) -> None:
    task = working(sites, training, {"language": 1.0}, net, supervisor=supervisor)
    tiles, learner = task.draw(0, 2).tiles, moved(net)
    out = task._out(learner, tiles).detach().requires_grad_()
    plain = task._language(out, tiles).mean()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "_out", lambda *_: out)
        language = task.losses(learner, stage_two.Sample(tiles, None))["language"]
    torch.testing.assert_close(language, plain)
    (gradient,) = torch.autograd.grad(language, out)
    detail = tiles.pan - tiles.context.pan_low
    along = (gradient * detail).sum((2, 3)).abs()
    # Three of the bands are seen: the others have no gradient at all.
    assert (gradient.flatten(2).abs().sum((0, 2)) > 0).tolist() == [True, True, True, False]
    assert bool((along <= 1e-4 * gradient.norm(dim=(2, 3)) * detail.norm(dim=(2, 3))).all())


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_the_language_rises_and_the_teacher_falls(first: float, second: float, kept: bool) -> None:
    weights = dict(zip(LOSSES, (1.0, 0.05, 2.0, 3.0, 4.0, 5.0, 0.2, 6.0), strict=True))
    task = judging(TrainOptions(keep_teacher=kept), weights)
    before, after = (task.weights(progress) for progress in sorted((first, second)))
    assert set(before) == set(weights)
    assert 0 <= before["language"] <= after["language"] <= weights["language"]
    assert 0 <= after["teacher"] <= before["teacher"] <= weights["teacher"]
    assert not kept or after["teacher"] == weights["teacher"]
    for name in set(weights) - {"language", "teacher"}:
        assert before[name] == weights[name]
