from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from clippan_cli.fusion.consistency import back_project
from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.simulated_pairs import margin
from clippan_cli.training.objectives.with_truth import back_project_pairs, measure_errors
from tests.training.conftest import pair


def test_losses_against_plain_loops() -> None:
    batch = pair()
    out = batch.truth + 0.05 * torch.randn(batch.truth.shape, generator=torch.Generator().manual_seed(0))
    edge = margin(batch.context.ratio)
    error, angle = measure_errors(out, batch, edge)
    inner = (slice(edge, -edge), slice(edge, -edge))
    errors, angles = [], []
    for i in range(len(out)):
        for k in range(out.shape[1]):
            difference = (out[i, k][inner] - batch.truth[i, k][inner]) / batch.context.deviation[i, k]
            errors.append(0.5 * math.log(float((difference**2).mean()) + 1e-6))
        a, b = out[i][:, *inner].flatten(1), batch.truth[i][:, *inner].flatten(1)
        cosine = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))
        angles.append(math.log(float((1 - cosine**2).clamp(min=0).add(1e-10).sqrt().mean()) + 1e-4))
    assert float(error) == pytest.approx(sum(errors) / len(errors), abs=1e-4)
    assert float(angle) == pytest.approx(sum(angles) / len(angles), abs=1e-3)


def test_the_truth_has_the_least_loss_and_a_finite_gradient() -> None:
    batch = pair()
    out = batch.truth.clone().requires_grad_()
    error, angle = measure_errors(out, batch, 8)
    torch.autograd.backward(error + angle)
    assert out.grad is not None
    assert bool(torch.isfinite(out.grad).all())
    worse = measure_errors(batch.ms_up, batch, 8)
    assert float(error.detach()) < float(worse[0]) - 1
    assert float(angle.detach()) < float(worse[1]) - 1


def test_back_projection_makes_consistent_and_keeps_the_gradient() -> None:
    batch = pair()
    out = (batch.ms_up * 1.1).requires_grad_()
    flat = [back_project_pairs(out, batch, steps).flatten(0, 1) for steps in (0, 3)]
    before, after = (float((batch.operators.down(x.detach()).view_as(batch.ms) - batch.ms).std()) for x in flat)
    assert after < 0.3 * before
    torch.autograd.backward(back_project_pairs(out, batch, 2).square().mean())
    assert out.grad is not None
    assert float(out.grad.abs().sum()) > 0


def scaled(batch: Batch, by: float) -> Batch:
    context = replace(batch.context, deviation=batch.context.deviation * by)
    return replace(batch, truth=batch.truth * by, context=context)


def test_nothing_is_less_than_the_loss_at_the_truth() -> None:
    batch = pair()
    error, angle = measure_errors(batch.truth, batch, 8)
    assert float(error) == pytest.approx(0.5 * math.log(1e-6), abs=1e-4)
    # What rounding leaves of the angle is of the order of the floor.
    assert math.log(1e-4) < float(angle) < math.log(1e-3)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(batch.truth.shape, generator=generator) * batch.context.deviation[..., None, None]
    errors = [float(measure_errors(batch.truth + size * noise, batch, 8)[0]) for size in (0.001, 0.01, 0.1, 1.0)]
    assert float(error) < errors[0] < errors[1] < errors[2] < errors[3]
    # A tenth of the noise is a tenth of the error.
    assert errors[2] - errors[1] == pytest.approx(math.log(10), abs=0.02)
    assert errors[3] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("by", [0.2, 3.0, 700.0])
def test_the_unit_does_not_count(by: float) -> None:
    batch = pair()
    out = batch.truth + 0.03
    here, there = measure_errors(out, batch, 8), measure_errors(out * by, scaled(batch, by), 8)
    for one, other in zip(here, there, strict=True):
        assert float(one) == pytest.approx(float(other), abs=2e-3)


def test_brightness_is_no_angle() -> None:
    batch = pair()
    shades = torch.linspace(0.5, 2, batch.truth.shape[-1])
    _, angle = measure_errors(batch.truth * shades, batch, 8)
    _, turned = measure_errors(batch.truth.flip(1), batch, 8)
    assert float(angle) < math.log(1e-3)
    assert float(turned) > math.log(1e-2)


def test_edges_are_not_judged() -> None:
    batch = pair()
    out = batch.truth.clone()
    for edge in (out[..., :8, :], out[..., -8:, :], out[..., :8], out[..., -8:]):
        edge.fill_(100.0)
    assert torch.equal(torch.stack(measure_errors(out, batch, 8)), torch.stack(measure_errors(batch.truth, batch, 8)))
    assert float(measure_errors(out, batch, 7)[0]) > 0


def test_each_pair_counts_alike() -> None:
    """Halving the error of the easy one gains as much as halving that of the hard one."""
    batch = pair()
    noise = torch.randn(batch.truth.shape, generator=torch.Generator().manual_seed(1))
    sizes = torch.tensor([0.02, 0.5])[:, None, None, None]
    both = measure_errors(batch.truth + sizes * noise, batch, 8)[0]
    gains = []
    for which in (0, 1):
        half = sizes.clone()
        half[which] /= 2
        gains.append(float(both - measure_errors(batch.truth + half * noise, batch, 8)[0]))
    assert gains[0] == pytest.approx(gains[1], rel=0.05)
    assert gains[0] == pytest.approx(math.log(2) / 2, rel=0.05)


def test_no_back_projection_changes_nothing() -> None:
    batch = pair()
    assert torch.equal(back_project_pairs(batch.ms_up, batch, 0), batch.ms_up)


def test_what_is_consistent_is_left_alone() -> None:
    batch = pair()
    seen = batch.operators.down(batch.truth.flatten(0, 1)).view_as(batch.ms)
    exact = replace(batch, ms=seen)
    torch.testing.assert_close(back_project_pairs(batch.truth, exact, 3), batch.truth, rtol=1e-4, atol=1e-5)


def test_each_back_projection_comes_nearer() -> None:
    batch = pair()

    def apart(steps: int) -> float:
        out = back_project_pairs(batch.ms_up * 0.8, batch, steps)
        return float((batch.operators.down(out.flatten(0, 1)).view_as(batch.ms) - batch.ms).square().mean())

    errors = [apart(steps) for steps in range(12)]
    assert all(after < before for before, after in pairwise(errors))
    assert errors[-1] < 1e-3 * errors[0]


def test_back_projection_is_that_of_every_product(tiles: Tiles) -> None:
    out = tiles.ms_up + 0.05 * torch.randn(tiles.ms_up.shape, generator=torch.Generator().manual_seed(2))
    ours = back_project_pairs(out, tiles, 2)
    for i, (_, tile) in enumerate(tiles.singly()):
        torch.testing.assert_close(ours[i], back_project(out[i].clone(), tile, 2), rtol=1e-4, atol=1e-5)
