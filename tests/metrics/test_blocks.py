from __future__ import annotations

import pytest
import torch

from clippan_cli.metrics.blocks import Blocks, quality


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1000 + 200


def plain_quality(x: torch.Tensor, y: torch.Tensor) -> float:
    xs, ys = x.flatten().tolist(), y.flatten().tolist()
    n = len(xs)
    mx, my = sum(xs) / n, sum(ys) / n
    vx = sum((a - mx) ** 2 for a in xs) / (n - 1)
    vy = sum((b - my) ** 2 for b in ys) / (n - 1)
    cov = sum((a - mx) * (b - my) for a, b in zip(xs, ys, strict=True)) / (n - 1)
    return float(4 * cov * mx * my / ((vx + vy) * (mx**2 + my**2)))


def test_quality_against_a_plain_loop() -> None:
    x, y = random(2, 16, 24), random(1, 16, 24, seed=1) + random(1, 16, 24)
    found = quality(Blocks(x, 8), [1], Blocks(y, 8), [0])[0]
    assert found.shape == (2, 3)
    assert float(found[1, 2]) == pytest.approx(plain_quality(x[1, 8:, 16:], y[0, 8:, 16:]), abs=1e-12)


def test_what_is_beyond_the_last_block_does_not_count() -> None:
    x = random(1, 70, 65)
    assert Blocks(x).mean.shape == (1, 2, 2)
    torch.testing.assert_close(Blocks(x).variance, Blocks(x[:, :64, :64]).variance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 1234.7])
def test_constant_blocks(dtype: torch.dtype, value: float) -> None:
    flat = Blocks(torch.full((1, 32, 32), value, dtype=dtype))
    other = Blocks(torch.full((1, 32, 32), value + 5, dtype=dtype))
    rough = Blocks(random(1, 32, 32).to(dtype))
    assert float(quality(flat, [0], flat, [0])) == 1
    assert float(quality(flat, [0], other, [0])) == 0
    assert float(quality(flat, [0], rough, [0])) == 0


def test_quality_is_symmetric_and_blind_to_the_unit() -> None:
    x, y = random(1, 64, 64), random(1, 64, 64, seed=1)
    there, back = quality(Blocks(x), [0], Blocks(y), [0]), quality(Blocks(y / 7), [0], Blocks(x / 7), [0])
    torch.testing.assert_close(there, back)


def test_small_spread_over_a_large_mean_is_kept() -> None:
    """Ten counts of difference in a bright block is signal, not rounding."""
    x = torch.full((1, 32, 32), 60000.0)
    x[0, 3, 4] += 10
    assert float(Blocks(x).variance) > 0
