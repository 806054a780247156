from __future__ import annotations

import pytest
import torch

from clippan_cli.errors import UsageError
from clippan_cli.supervision.projector import Projector, linear_map

UNKNOWN = (torch.zeros(1), torch.eye(1))


def test_colours_by_wavelength() -> None:
    matrix, offset = linear_map("rgb", (950.0, 480.0, 660.0, 545.0), *UNKNOWN)
    assert matrix.argmax(1).tolist() == [2, 3, 1]
    assert not offset.any()
    assert linear_map("gbnir", (480.0, 560.0, 660.0, 850.0), *UNKNOWN)[0].argmax(1).tolist() == [1, 0, 3]


def test_colours_in_the_usual_order_where_nothing_is_known() -> None:
    assert linear_map("rgb", (None,) * 4, *UNKNOWN)[0].argmax(1).tolist() == [2, 1, 0]
    assert linear_map("rgb", (None,) * 8, *UNKNOWN)[0].argmax(1).tolist() == [4, 2, 1]
    with pytest.raises(UsageError, match="no bands for `ms_input=rgb`"):
        linear_map("rgb", (None,) * 5, *UNKNOWN)
    with pytest.raises(UsageError, match="unknown MS input"):
        linear_map("hsv", (None,) * 4, *UNKNOWN)


@pytest.mark.parametrize("bands", [1, 2, 3, 6])
def test_components_fill_the_range(bands: int) -> None:
    x = torch.randn(bands, 5000, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, bands + 1)[:, None]
    matrix, offset = linear_map("pca", (None,) * bands, x.mean(1), torch.cov(x).view(bands, bands))
    made = matrix @ x + offset[:, None]
    assert matrix.shape == (3, bands)
    assert torch.allclose(made.mean(1), torch.full((3,), 0.5), atol=1e-4)
    assert torch.allclose(made[: min(3, bands)].std(1), torch.full((min(3, bands),), 0.2), atol=1e-3)


def test_the_learned_part_begins_at_nothing_and_learns() -> None:
    base = linear_map("rgb", (None,) * 4, *UNKNOWN)
    learned, fixed = Projector("conv", *base), Projector("rgb", *base)
    x = torch.rand(2, 4, 16, 16)
    assert torch.equal(learned(x), fixed(x))
    assert not list(fixed.parameters())
    learned(x).square().sum().backward()
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in learned.parameters())
    assert float(learned(100 * x).detach().max()) <= 1
