from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from clippan_cli.metrics.reference import ergas, mpsnr, sam, scc, ssim
from clippan_cli.supervision.encoder import import_torchvision


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1000 + 200


def test_perfect_scores() -> None:
    x = random(4, 64, 64)
    assert float(ergas(x, x, 4)) == 0
    assert float(sam(x, x)) == pytest.approx(0, abs=1e-4)
    assert float(sam(x, 2 * x)) == pytest.approx(0, abs=1e-4)
    assert float(ssim(x, x, 2047)) == pytest.approx(1, abs=1e-12)
    assert float(scc(x, x)) == pytest.approx(1, abs=1e-12)


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


def test_against_torchmetrics() -> None:
    import_torchvision()
    image = pytest.importorskip("torchmetrics.functional.image")
    truth = random(4, 64, 64)
    fused = truth + 0.1 * random(4, 64, 64, seed=1)
    theirs = torch.rad2deg(image.spectral_angle_mapper(fused[None], truth[None]))
    assert float(sam(fused, truth)) == pytest.approx(float(theirs), abs=1e-4)
    theirs = image.error_relative_global_dimensionless_synthesis(fused[None], truth[None], ratio=4)
    assert float(ergas(fused, truth, 4)) == pytest.approx(float(theirs), abs=1e-4)
    theirs = image.structural_similarity_index_measure(fused[None], truth[None], data_range=2047.0)
    assert float(ssim(fused, truth, 2047)) == pytest.approx(float(theirs), abs=1e-4)


def test_sam_keeps_its_digits_in_single_precision() -> None:
    truth = random(4, 64, 64)
    fused = truth + 0.01 * random(4, 64, 64, seed=1)
    assert float(sam(fused.float(), truth.float())) == pytest.approx(float(sam(fused, truth)), rel=1e-4)
    assert float(sam(truth.float(), truth.float())) == 0


def test_scc_against_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    truth, fused = random(3, 20, 30), random(3, 20, 30, seed=1) + random(3, 20, 30)

    def magnitude(x: torch.Tensor) -> torch.Tensor:
        planes = [torch.from_numpy(ndimage.sobel(x.numpy(), axis)) for axis in (1, 2)]
        smooth = (planes[0] ** 2 + planes[1] ** 2).sqrt()
        return smooth[:, 1:-1, 1:-1]

    both = [torch.stack([magnitude(x[k : k + 1].expand(1, -1, -1))[0] for k in range(3)]) for x in (fused, truth)]
    cosine = (both[0] * both[1]).sum() / (both[0].norm() * both[1].norm())
    assert float(scc(fused, truth)) == pytest.approx(float(cosine), abs=1e-9)
    assert float(scc(truth, 2 * truth + 5)) == pytest.approx(1, abs=1e-12)


def test_mpsnr_is_a_mean_over_bands() -> None:
    truth = random(2, 30, 30)
    fused = truth.clone()
    fused[0] += 10
    fused[1] += 1
    expected = (20 * math.log10(1023 / 10) + 20 * math.log10(1023)) / 2
    assert float(mpsnr(fused, truth, 1023)) == pytest.approx(expected, abs=1e-6)
    assert float(mpsnr(truth, truth, 1023)) == math.inf


def test_indices_have_gradients() -> None:
    truth = random(4, 64, 64)
    fused = (truth + random(4, 64, 64, seed=2) * 0.1).requires_grad_()
    (ergas(fused, truth, 4) + sam(fused, truth) - scc(fused, truth) - ssim(fused, truth, 2047)).backward()  # type: ignore[no-untyped-call]
    assert fused.grad is not None
    assert bool(torch.isfinite(fused.grad).all())
    assert float(fused.grad.abs().sum()) > 0


def test_gradients_are_finite_where_nothing_is_wrong_or_nothing_is_there() -> None:
    truth = random(4, 32, 32)
    flat = torch.full((4, 32, 32), 5.0, dtype=torch.float64)
    for fused, known in ((truth, truth), (truth, flat), (flat, truth), (flat, flat)):
        image = fused.clone().requires_grad_()
        total = ergas(image, known, 4) + sam(image, known) + scc(image, known)
        total.backward()  # type: ignore[no-untyped-call]
        assert image.grad is not None
        assert bool(torch.isfinite(image.grad).all())
