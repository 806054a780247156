from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clippan_cli.networks.surroundings import mean_around, top_around


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7, 32])
def test_they_are_what_pooling_gives(radius: int) -> None:
    x = torch.randn(2, 3, 21, 34, generator=torch.Generator().manual_seed(radius))
    side = 2 * radius + 1
    mean = F.avg_pool2d(x.double(), side, 1, radius, count_include_pad=False).float()
    torch.testing.assert_close(mean_around(x, radius), mean)
    whole = F.pad(x, (radius,) * 4, value=-torch.inf)
    assert torch.equal(top_around(x, radius), F.max_pool2d(whole, side, 1))


def test_they_have_gradients() -> None:
    x = torch.rand(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: mean_around(y, 2), (x,))
    assert torch.autograd.gradcheck(lambda y: top_around(y, 2), (x,))
