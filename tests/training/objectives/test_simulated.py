"""Training with a truth."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from clippan_cli.networks.network import Context
from clippan_cli.networks.registry import network
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.simulated_pairs import margin
from clippan_cli.training.objectives import simulated
from clippan_cli.training.objectives.simulated import Supervised, fuse
from clippan_cli.training.objectives.with_truth import back_project_pairs, measure_errors
from tests.training.conftest import pair


class Copy(nn.Module):
    """Gives back interpolated MS, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, ms_up: Tensor, pan: Tensor, context: Context) -> Tensor:
        return self.gain * ms_up


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Supervised:
    monkeypatch.setattr(simulated, "_VALIDATION", 2)
    made = pair()
    return Supervised(lambda *_: made, 1.5, 2)


def test_interpolation_is_the_measure(task: Supervised) -> None:
    with torch.no_grad():
        assert task.validate(Copy()) == {"validation_error": 1, "validation_angle": 1}
        # A network that has learned nothing yet is interpolation.
        untrained = network("injector", 1, width=8, blocks=1)
        assert task.validate(untrained)["validation_error"] == pytest.approx(1, abs=1e-4)


def test_half_the_error_is_half_the_number(task: Supervised) -> None:
    batch = task.draw(0, 1)

    class Knows(nn.Module):
        def forward(self, ms_up: Tensor, pan: Tensor, context: Context) -> Tensor:
            return 0.5 * (ms_up + batch.truth)

    found = Supervised(lambda *_: batch, 1.0, 0).validate(Knows())
    assert found["validation_error"] == pytest.approx(0.5, rel=0.02)
    assert found["validation_angle"] < 0.7


def test_losses_are_those_of_the_product(task: Supervised) -> None:
    batch, net = task.draw(0, 2), Copy()
    losses = task.losses(net, batch)
    wanted = measure_errors(back_project_pairs(batch.ms_up, batch, 2), batch, margin(batch.context.ratio))
    assert tuple(losses) == task.terms
    for value, other in zip(losses.values(), wanted, strict=True):
        torch.testing.assert_close(value.detach(), other)
    torch.autograd.backward(losses["error"] + losses["angle"])
    assert net.gain.grad is not None
    assert math.isfinite(float(net.gain.grad))


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_weights_stay(task: Supervised, progress: float) -> None:
    assert task.weights(progress) == {"error": 1.0, "angle": 1.5}


def test_the_last_net_is_kept(task: Supervised) -> None:
    assert not task.ranks


def test_what_is_validated_on_is_drawn_once_and_never_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "_VALIDATION", 3)
    drawn: list[tuple[int, int]] = []
    made = pair()

    def draw(number: int, size: int) -> Batch:
        drawn.append((number, size))
        return made

    task = Supervised(draw, 1.0, 0)
    with torch.no_grad():
        assert task.validate(Copy()) == task.validate(Copy())
    assert len(drawn) == 3
    assert all(number > 2**31 and size == 1 for number, size in drawn)
    assert task.draw(5, 4) is made
    assert drawn[-1] == (5, 4)


def test_a_network_sees_what_pairs_hold() -> None:
    batch = pair()
    seen: list[tuple[Tensor, Tensor, Context]] = []

    class Watch(nn.Module):
        def forward(self, *given: object) -> Tensor:
            seen.append(given)  # type: ignore[arg-type]
            return batch.ms_up.half()

    out = fuse(Watch(), batch)
    assert out.dtype == torch.float32
    assert seen[0][0] is batch.ms_up
    assert seen[0][1] is batch.pan
    assert seen[0][2] is batch.context
