from __future__ import annotations

import pytest
import torch

from clippan_cli.physics.sliding import Split, halve, slide, split_at_power


@pytest.mark.parametrize("split", [halve, split_at_power])
@pytest.mark.parametrize("length", [1, 2, 5, 7, 11, 16, 65])
@pytest.mark.parametrize("dim", [1, 2])
def test_every_window_is_joined_once(split: Split, length: int, dim: int) -> None:
    x = torch.rand(2, 70, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
    windows = x.unfold(dim, length, 1)
    torch.testing.assert_close(slide(x, dim, length, split=split), windows.sum(-1))
    assert torch.equal(slide(x, dim, length, torch.maximum, split), windows.amax(-1))


@pytest.mark.parametrize("split", [halve, split_at_power])
def test_parts_make_up_the_window(split: Split) -> None:
    for length in range(2, 100):
        assert sum(split(length)) == length
        assert min(split(length)) > 0
