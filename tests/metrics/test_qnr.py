from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from clippan_cli.metrics.local import d_rho
from clippan_cli.metrics.qnr import d_lambda, d_lambda_k, d_s, qnr


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1000 + 200


def test_interpolation_has_no_spectral_distortion() -> None:
    ms_up = random(4, 64, 64)
    assert float(d_lambda(ms_up, ms_up)) == 0


def test_the_index_is_the_change_of_means_not_the_mean_of_changes() -> None:
    """Two blocks that change in opposite directions cancel, as in DLPan."""
    left, right = random(2, 32, 32), random(2, 32, 32, seed=1)
    right = right + right.flip(0)
    there, back = torch.cat([left, right], 2), torch.cat([right, left], 2)
    assert float(d_lambda(there, back)) == pytest.approx(0, abs=1e-12)


def test_pan_itself_in_every_band_is_spatially_wrong_where_ms_does_not_follow_it() -> None:
    pan, ms_up = random(64, 64), random(3, 64, 64, seed=1)
    low = random(1, 64, 64, seed=2)
    assert float(d_s(pan.expand(3, -1, -1), ms_up, pan, low)) > 0.9


def test_qnr_of_both() -> None:
    assert float(qnr(torch.tensor(0.1), torch.tensor(0.2))) == pytest.approx(0.72)


def test_all_have_finite_gradients_where_blocks_are_flat_too() -> None:
    ms_up, pan, low = random(4, 64, 64), random(64, 64, seed=1), random(1, 64, 64, seed=2)
    fused = ms_up + 0.1 * random(4, 64, 64, seed=3)
    fused[:, :32, :32] = 500
    fused.requires_grad_()
    loss = d_lambda(fused, ms_up) + d_s(fused, ms_up, pan, low) + d_lambda_k(fused, ms_up) + d_rho(fused, pan)
    loss.backward()  # type: ignore[no-untyped-call]
    assert fused.grad is not None
    assert bool(torch.isfinite(fused.grad).all())
    assert float(fused.grad.abs().sum()) > 0


def test_a_step_down_the_gradient_lowers_each() -> None:
    ms_up, pan, low = random(3, 64, 64), random(64, 64, seed=1), random(1, 64, 64, seed=2)
    start = ms_up + 0.2 * random(3, 64, 64, seed=3)
    losses: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
        lambda x: d_lambda(x, ms_up),
        lambda x: d_s(x, ms_up, pan, low),
        lambda x: d_lambda_k(x, ms_up),
        lambda x: d_rho(x, pan),
    )
    for loss in losses:
        fused = start.clone().requires_grad_()
        before = loss(fused)
        (gradient,) = torch.autograd.grad(before, fused)
        assert float(loss(start - gradient / gradient.abs().max())) < float(before.detach())


def test_what_has_no_answer_says_so() -> None:
    with pytest.raises(ValueError, match="no pair"):
        d_lambda(random(1, 64, 64), random(1, 64, 64))
    with pytest.raises(ValueError, match="smaller than a block"):
        d_lambda_k(random(4, 30, 64), random(4, 30, 64))
