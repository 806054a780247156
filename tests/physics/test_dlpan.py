from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from clippan_cli.physics.dlpan import dlpan_degrade, dlpan_filter, dlpan_kernel, interp23


def read(path: Path) -> torch.Tensor:
    with rasterio.open(path) as source:
        return torch.from_numpy(source.read().astype(np.float64))


def test_kernel_numbers() -> None:
    kernel = dlpan_kernel(4, 0.30)
    assert kernel.shape == (41, 41)
    assert float(kernel.sum()) == pytest.approx(0.99874, abs=2e-5)
    assert float(kernel.max()) == pytest.approx(0.0388, abs=1e-4)
    wave = torch.cos(2 * torch.pi / 8 * (torch.arange(41, dtype=torch.float64) - 20))
    assert float((kernel.sum(0) * wave).sum() / kernel.sum()) == pytest.approx(0.2827, abs=1e-3)
    assert float(dlpan_kernel(2, 0.55).sum()) == pytest.approx(0.99985, abs=5e-5)


def test_filter_keeps_bands_apart() -> None:
    x = torch.zeros(2, 64, 64, dtype=torch.float64)
    x[0] = 1
    seen = dlpan_filter(x, 4, (0.3, 0.3))
    assert float(seen[1].abs().max()) == 0
    assert float(seen[0, 32, 32]) == pytest.approx(0.99874, abs=2e-5)


@pytest.mark.parametrize(("ratio", "first"), [(4, 2), (2, 1)])
def test_interp23_passes_through_its_samples(ratio: int, first: int) -> None:
    x = torch.rand(3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    up = interp23(x, ratio)
    assert up.shape == (3, 16 * ratio, 16 * ratio)
    torch.testing.assert_close(up[:, first::ratio, first::ratio], x, atol=1e-12, rtol=0)


def test_interp23_keeps_a_constant_and_refuses_other_ratios() -> None:
    # The published taps sum to 1 within 1e-9.
    torch.testing.assert_close(
        interp23(torch.ones(1, 8, 8, dtype=torch.float64), 4),
        torch.ones(1, 32, 32, dtype=torch.float64),
        atol=1e-8,
        rtol=0,
    )
    with pytest.raises(ValueError, match="power of two, got ratio 3"):
        interp23(torch.ones(1, 8, 8), 3)


def test_quickbird_oracle(real_scene: Callable[[str], Path]) -> None:
    folder = real_scene("rr_gt_qb_lppn")
    truth, ms, lms = (read(folder / name) for name in ("gt.tif", "ms.tif", "lms.tif"))
    degraded = dlpan_degrade(truth, 4, (0.34, 0.32, 0.30, 0.22))
    assert float((degraded - ms).abs().max()) < 1e-9
    assert float((interp23(ms, 4) - lms).abs().max()) < 1e-9
