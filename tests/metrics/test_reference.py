from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from clippan_cli.metrics.hypercomplex import hypercomplex_product, q2n
from clippan_cli.metrics.reference import ergas, sam


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1000 + 200


def test_perfect_scores() -> None:
    x = random(4, 64, 64)
    assert float(ergas(x, x, 4)) == 0
    assert float(sam(x, x)) == pytest.approx(0, abs=1e-4)
    assert float(sam(x, 2 * x)) == pytest.approx(0, abs=1e-4)
    assert float(q2n(x.round(), x.round())) == pytest.approx(1, abs=1e-12)


def test_sam_of_perpendicular_spectra_is_a_right_angle() -> None:
    east = torch.tensor([1.0, 0.0])[:, None, None].expand(2, 4, 4)
    assert float(sam(east, east.flip(0))) == pytest.approx(90, abs=1e-3)


def test_ergas_against_a_plain_loop() -> None:
    fused, truth = random(3, 20, 20), random(3, 20, 20, seed=1)
    total = 0.0
    for band in range(3):
        error = sum(float((fused[band, i, j] - truth[band, i, j]) ** 2) for i, j in product(range(20), range(20))) / 400
        total += error / float(truth[band].mean()) ** 2
    assert float(ergas(fused, truth, 4)) == pytest.approx(25 * math.sqrt(total / 3))


def test_masked_pixels_do_not_count() -> None:
    truth = random(3, 20, 20)
    fused = truth.clone()
    fused[:, :5] = 0
    valid = torch.ones(20, 20, dtype=torch.bool)
    valid[:5] = False
    assert float(ergas(fused, truth, 4, valid)) == 0
    assert float(ergas(fused, truth, 4)) > 1
    assert float(sam(fused, truth, valid)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("components", [2, 4, 8])
def test_hypercomplex_product_keeps_norms(components: int) -> None:
    u, v = random(components, 50) - 700, random(components, 50, seed=1) - 700
    torch.testing.assert_close(hypercomplex_product(u, v).norm(dim=0), u.norm(dim=0) * v.norm(dim=0))


def test_q2n_sees_what_it_should() -> None:
    truth = random(4, 96, 80).round()
    louder = truth.clone()
    louder[1] *= 1.1
    noisy = truth + 50 * torch.randn(truth.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert float(q2n(louder, truth)) < 0.999
    assert float(q2n(noisy, truth)) < float(q2n(truth + 1, truth))


def test_indices_have_gradients() -> None:
    truth = random(4, 64, 64)
    fused = (truth + random(4, 64, 64, seed=2) * 0.1).requires_grad_()
    (ergas(fused, truth, 4) + sam(fused, truth) - q2n(fused, truth)).backward()  # type: ignore[no-untyped-call]
    assert fused.grad is not None
    assert bool(torch.isfinite(fused.grad).all())
    assert float(fused.grad.abs().sum()) > 0
