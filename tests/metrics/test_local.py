from __future__ import annotations

import pytest
import torch

from clippan_cli.metrics.local import box_mean, d_rho, local_correlation


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1000 + 200


def test_against_numpy_in_one_window() -> None:
    fused, pan = random(2, 12, 15), random(12, 15, seed=1)
    found = local_correlation(fused, pan, 2)
    assert found.shape == (2, 8, 11)
    inside = torch.stack([fused[1, 3:8, 4:9].flatten(), pan[3:8, 4:9].flatten()])
    assert float(found[1, 3, 4]) == pytest.approx(float(torch.corrcoef(inside)[0, 1]), abs=1e-9)


def test_a_copy_of_pan_is_perfect_whatever_its_gain() -> None:
    pan = random(40, 40)
    assert float(d_rho(torch.stack([pan, 3 * pan - 100]), pan)) == pytest.approx(0, abs=1e-9)
    assert float(d_rho(-pan[None], pan)) == pytest.approx(2, abs=1e-9)


def test_flat_places() -> None:
    pan = random(20, 20)
    assert float(d_rho(torch.full((1, 20, 20), 7.0), torch.full((20, 20), 3.0))) == 0
    assert float(d_rho(torch.full((1, 20, 20), 7.0, dtype=torch.float64), pan)) == 1


def test_single_precision_keeps_the_digits_over_a_large_mean() -> None:
    fused, pan = random(1, 64, 64) / 200 + 50000, random(64, 64, seed=1) / 200 + 30000
    fused = fused + pan
    exact = local_correlation(fused, pan)
    torch.testing.assert_close(local_correlation(fused.float(), pan.float()), exact.float(), atol=5e-3, rtol=0)


def test_box_mean() -> None:
    x = random(1, 9, 9)
    assert float(box_mean(x, 1)[0, 2, 3]) == pytest.approx(float(x[0, 2:5, 3:6].mean()))


@pytest.mark.parametrize("every", [2, 3, 7])
def test_every_nth_pixel_is_just_that(every: int) -> None:
    fused, pan = random(2, 33, 40), random(33, 40, seed=1)
    fused[:, :12, :12] = 300
    pan[:9, :9] = 20
    dense = local_correlation(fused, pan)[:, ::every, ::every]
    torch.testing.assert_close(local_correlation(fused, pan, every=every), dense)
    softer = local_correlation(fused, pan, floor=4.0)
    torch.testing.assert_close(local_correlation(fused, pan, every=every, floor=4.0), softer[:, ::every, ::every])
    # What is fainter than the floor has no structure.
    assert float(local_correlation(fused, pan, floor=1e9).abs().max()) < 1e-3
