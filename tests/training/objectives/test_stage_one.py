from __future__ import annotations

import torch

from clippan_cli.training.data.draw import Draw
from clippan_cli.training.objectives import stage_one


def test_every_distortion_is_one() -> None:
    good, soft = torch.rand(4, 32, 32), torch.full((4, 32, 32), 0.5)
    seen = [stage_one.distort(good, soft, Draw(i)) for i in range(12)]
    assert all(float((bad - good).abs().mean()) > 0.01 for bad in seen)
