from __future__ import annotations

import math

import pytest
import torch

from clippan_cli.metrics.hypercomplex import hypercomplex_product, q2n, q2n_map


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1000 + 200


def plain_product(u: list[float], v: list[float]) -> list[float]:
    """Cayley-Dickson by the definition, on lists."""
    if len(u) == 1:
        return [u[0] * v[0]]
    half = len(u) // 2
    a, b, c, d = u[:half], u[half:], v[:half], v[half:]
    if half == 1:
        return [a[0] * c[0] - b[0] * d[0], a[0] * d[0] + b[0] * c[0]]

    def star(x: list[float]) -> list[float]:
        return [x[0], *(-value for value in x[1:])]

    left = [p - q for p, q in zip(plain_product(a, c), plain_product(star(d), b), strict=True)]
    right = [p + q for p, q in zip(plain_product(star(a), star(d)), plain_product(c, star(b)), strict=True)]
    return left + right


def plain_q2n(fused: torch.Tensor, truth: torch.Tensor, side: int) -> float:
    """Q2n pixel by pixel, with nothing of the package."""
    bands, height, width = truth.shape
    size = 1 << math.ceil(math.log2(bands))
    scores = []
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            ours = fused[:, top : top + side, left : left + side].reshape(bands, -1).tolist()
            known = truth[:, top : top + side, left : left + side].reshape(bands, -1).tolist()
            pixels = side * side
            first: list[list[float]] = [[] for _ in range(pixels)]
            second: list[list[float]] = [[] for _ in range(pixels)]
            for k in range(size):
                z1 = known[k] if k < bands else [0.0] * pixels
                z2 = ours[k] if k < bands else [0.0] * pixels
                mean = sum(z1) / pixels
                spread = math.sqrt(sum((z - mean) ** 2 for z in z1) / (pixels - 1)) or 2.2e-16
                for n in range(pixels):
                    first[n].append((z1[n] - mean) / spread + 1 if mean else z1[n] + 1)
                    value = (z2[n] - mean) / spread + 1 if mean else z2[n] + 1
                    second[n].append(value if k == 0 else -value)
            mean1 = [sum(z[k] for z in first) / pixels for k in range(size)]
            mean2 = [sum(z[k] for z in second) / pixels for k in range(size)]
            products = [plain_product(u, v) for u, v in zip(first, second, strict=True)]
            of_means = plain_product(mean1, mean2)
            unbias = pixels / (pixels - 1)
            covariance = [unbias * (sum(p[k] for p in products) / pixels - of_means[k]) for k in range(size)]
            n1, n2 = sum(m * m for m in mean1), sum(m * m for m in mean2)
            power1 = sum(value * value for z in first for value in z) / pixels
            power2 = sum(value * value for z in second for value in z) / pixels
            variance = unbias * (power1 - n1 + power2 - n2)
            modulus = math.sqrt(sum(c * c for c in covariance))
            scores.append(modulus * 2 / variance * 2 * math.sqrt(n1 * n2) / (n1 + n2))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("components", [2, 4, 8])
def test_the_product_keeps_norms(components: int) -> None:
    u, v = random(components, 50) - 700, random(components, 50, seed=1) - 700
    torch.testing.assert_close(hypercomplex_product(u, v).norm(dim=0), u.norm(dim=0) * v.norm(dim=0))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 8])
def test_against_a_plain_loop(bands: int) -> None:
    truth = random(bands, 16, 24)
    truth = truth + random(1, 16, 24, seed=5)
    fused = 0.8 * truth + 0.3 * random(bands, 16, 24, seed=2) + torch.arange(bands)[:, None, None]
    assert float(q2n(fused, truth, 8)) == pytest.approx(plain_q2n(fused, truth, 8), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identity_is_perfect(dtype: torch.dtype) -> None:
    x = random(4, 96, 64).to(dtype)
    x[2, :32, :32] = 700
    assert float(q2n(x, x)) == pytest.approx(1, abs=1e-5 if dtype == torch.float32 else 1e-12)


def test_the_unit_does_not_matter() -> None:
    truth, fused = random(4, 64, 64), random(4, 64, 64) + 0.1 * random(4, 64, 64, seed=1)
    assert float(q2n(fused / 3000, truth / 3000)) == pytest.approx(float(q2n(fused, truth)), abs=1e-9)


def test_what_it_sees() -> None:
    truth = random(4, 96, 64)
    louder = truth.clone()
    louder[1] *= 1.1
    noisy = truth + 50 * torch.randn(truth.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    swapped = truth[[1, 0, 2, 3]]
    assert float(q2n(louder, truth)) < 0.999
    assert float(q2n(noisy, truth)) < float(q2n(truth + 1, truth))
    assert float(q2n(swapped, truth)) < 0.9


def test_each_block_stands_for_itself() -> None:
    truth, fused = random(4, 64, 96), random(4, 64, 96, seed=1)
    whole = q2n_map(fused, truth)
    assert whole.shape == (2, 3)
    corner = q2n_map(fused[:, 32:, 64:], truth[:, 32:, 64:])
    torch.testing.assert_close(whole[1:, 2:], corner)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_truth_forgives_rounding_and_no_more(dtype: torch.dtype) -> None:
    truth = torch.full((4, 32, 32), 255.0, dtype=dtype)
    noise = torch.randn(truth.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    assert float(q2n(truth, truth)) == 1
    assert float(q2n(truth + 1e-4 * noise, truth)) > 0.999
    assert float(q2n(truth + 0.3 * noise, truth)) > 0.9
    assert float(q2n(truth + 60 * noise, truth)) < 0.05


def test_one_constant_band_does_not_outweigh_the_others() -> None:
    truth = random(4, 32, 32)
    truth[3] = 255
    noise = torch.randn(32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fused = truth.clone()
    fused[3] += 0.1 * noise
    assert float(q2n(fused, truth)) > 0.99
    fused[3] += 200 * noise
    assert float(q2n(fused, truth)) < 0.2
