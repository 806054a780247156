from __future__ import annotations

import math

import pytest
import torch

from clippan_cli.training.data.draw import Draw


def test_a_seed_makes_all_that_is_drawn() -> None:
    def all_of(seed: int) -> list[float]:
        draw = Draw(seed)
        numbers = [draw.uniform(2, 5), draw.between(1, 9), float(draw.chance(0.5)), float(draw.below(1000))]
        numbers += [float(draw.pick([1.0, 2.0, 3.0])), *draw.order(5).tolist(), *draw.rand(3).tolist()]
        return numbers + draw.normal(2, 2).flatten().tolist()

    assert all_of(4) == all_of(4)
    assert all_of(4) != all_of(5)


@pytest.mark.parametrize("seed", [0, 2**31, 2**63 - 1, 2**63 + 5, 2**31 * 1_000_003 + 12])
def test_any_seed_is_borne(seed: int) -> None:
    assert 0 <= Draw(seed).uniform(0, 1) < 1


def test_it_leaves_the_generator_of_torch_alone() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(2)
    torch.manual_seed(0)
    Draw(3).rand(100)
    assert torch.equal(torch.rand(2), wanted)


def test_distributions() -> None:
    draw, count = Draw(0), 2000
    uniform = torch.tensor([draw.uniform(-2, 4) for _ in range(count)])
    assert -2 <= float(uniform.min()) < -1.9
    assert 3.9 < float(uniform.max()) <= 4
    assert float(uniform.mean()) == pytest.approx(1, abs=0.15)
    between = torch.tensor([draw.between(0.01, 100) for _ in range(count)])
    assert 0.01 <= float(between.min()) < 0.011
    assert float(between.max()) <= 100
    # Half of them lie below the geometric mean.
    assert float((between < 1).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(between.log10().std()) == pytest.approx(4 / math.sqrt(12), abs=0.05)
    assert sum(draw.chance(0.2) for _ in range(count)) / count == pytest.approx(0.2, abs=0.03)
    assert not any(draw.chance(0) for _ in range(100))
    assert all(draw.chance(1) for _ in range(100))
    numbers = torch.tensor([draw.below(4) for _ in range(count)])
    assert torch.bincount(numbers, minlength=4).float().div(count).sub(0.25).abs().max() < 0.05
    picked = torch.tensor([draw.pick([1.0, 0.0, 3.0]) for _ in range(count)])
    shares = torch.bincount(picked, minlength=3).float() / count
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.0, 0.75]), atol=0.05, rtol=0)


def test_an_order_is_a_permutation() -> None:
    draw = Draw(1)
    orders = [draw.order(6).tolist() for _ in range(20)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 15
    assert draw.order(0).tolist() == []


def test_shapes() -> None:
    draw = Draw(2)
    assert draw.rand(2, 3).shape == (2, 3)
    assert draw.normal(4).shape == (4,)
    assert draw.rand().shape == ()
    values = draw.normal(100, 100)
    assert float(values.mean()) == pytest.approx(0, abs=0.03)
    assert float(values.std()) == pytest.approx(1, abs=0.03)
