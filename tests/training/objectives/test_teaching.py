from __future__ import annotations

import pytest
import torch

from clippan_cli.modelstore.model import find_model
from clippan_cli.supervision.encoder import build, tokenizer
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.objectives import teaching
from clippan_cli.training.objectives.graded import Crops, Graded, grade
from clippan_cli.training.objectives.teaching import Pupil, Teaching, _ascend, _order, _quality
from clippan_cli.training.teach import CONFIG
from tests.training.conftest import source


@pytest.fixture(scope="module")
def places() -> list[Graded]:
    return grade([(1.0, [source(3), source(4)])], find_model("injector-4").load(), Draw(1))


@pytest.fixture
def task(places: list[Graded], monkeypatch: pytest.MonkeyPatch) -> Teaching:
    monkeypatch.setattr(teaching, "_KEPT", 2)
    monkeypatch.setattr(teaching, "_CHECKS", 1)
    return Teaching(places, 64, seed=0, iterations=10)


@pytest.fixture
def pupil() -> Pupil:
    torch.manual_seed(0)
    return Pupil(build("clip", CONFIG), tokenizer("clip", CONFIG), CONFIG["embed_dim"])


def test_every_loss_reaches_the_network(task: Teaching, pupil: Pupil) -> None:
    sample = task.draw(5, 2)
    losses = task.losses(pupil, sample)
    assert set(losses) == set(task.terms) == set(task.weights(0.5))
    for name, loss in losses.items():
        pupil.zero_grad()
        torch.autograd.backward(loss, retain_graph=True)
        seen = [weight for weight in pupil.clip.visual.parameters() if weight.grad is not None]
        assert any(float(weight.grad.abs().max()) > 0 for weight in seen if weight.grad is not None), name


def test_there_is_no_attack_at_first(task: Teaching, pupil: Pupil) -> None:
    assert float(task.losses(pupil, task.draw(0, 2))["attack"].detach()) == 0
    assert pupil.clip.training
    task.losses(pupil, task.draw(9, 2))
    assert not pupil.clip.training


def shown(task: Teaching) -> Crops:
    return task.draw(1, 2)[2]


def test_scores_that_rise_as_errors_fall_are_in_order(task: Teaching) -> None:
    crops = shown(task)
    quality = _quality(crops.errors())
    assert float(_order(quality, crops.errors(), crops)) == pytest.approx(0, abs=1e-6)
    assert float(_order(quality + 3, crops.errors(), crops)) == pytest.approx(0, abs=1e-6)
    assert float(_order(-quality, crops.errors(), crops)) > 0.5


def test_an_attack_raises_the_score_by_a_small_change(task: Teaching, pupil: Pupil) -> None:
    pupil.eval()
    crops = shown(task)
    kinds = pupil.kinds(Draw(0)).detach()
    change = _ascend(pupil, crops, kinds, Draw(0))
    assert float(change.square().mean((1, 2, 3)).sqrt().max()) <= 0.0801
    with torch.no_grad():
        before, after = (pupil.score(pupil.images(crops, x), kinds) for x in (crops.images, crops.images + change))
    assert float((after - before).mean()) > 0


def test_what_is_validated(task: Teaching, pupil: Pupil) -> None:
    with torch.no_grad():
        found, again = task.validate(pupil), task.validate(pupil)
    assert tuple(found) == task.checks
    assert found == again
    assert -1 <= found["spearman"] <= 1
    assert 0 <= found["kinds_recognised"] <= 1
