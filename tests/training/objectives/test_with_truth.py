from __future__ import annotations

import math

import pytest
import torch

from clippan_cli.training.data.simulated_pairs import margin
from clippan_cli.training.objectives.with_truth import back_projected, supervised
from tests.training.conftest import pair


def test_losses_against_plain_loops() -> None:
    batch = pair()
    out = batch.truth + 0.05 * torch.randn(batch.truth.shape, generator=torch.Generator().manual_seed(0))
    edge = margin(batch.context.ratio)
    error, angle = supervised(out, batch, edge)
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
    error, angle = supervised(out, batch, 8)
    torch.autograd.backward(error + angle)
    assert out.grad is not None
    assert bool(torch.isfinite(out.grad).all())
    worse = supervised(batch.ms_up, batch, 8)
    assert float(error.detach()) < float(worse[0]) - 1
    assert float(angle.detach()) < float(worse[1]) - 1


def test_back_projection_makes_consistent_and_keeps_the_gradient() -> None:
    batch = pair()
    out = (batch.ms_up * 1.1).requires_grad_()
    flat = [back_projected(out, batch, steps).flatten(0, 1) for steps in (0, 3)]
    before, after = (float((batch.operators.down(x.detach()).view_as(batch.ms) - batch.ms).std()) for x in flat)
    assert after < 0.3 * before
    torch.autograd.backward(back_projected(out, batch, 2).square().mean())
    assert out.grad is not None
    assert float(out.grad.abs().sum()) > 0
