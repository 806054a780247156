from __future__ import annotations

import math

import pytest
import torch

from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.procedural import _ELLIPSE, _shadow, _Shape, procedural


@pytest.mark.parametrize("bands", [1, 3, 6])
def test_images_are_positive_and_varied(bands: int) -> None:
    image = procedural(bands, 96, Draw(bands))
    assert image.shape == (bands, 96, 96)
    assert bool(torch.isfinite(image).all())
    assert float(image.min()) > 0
    assert bool((image.std((1, 2)) / image.mean((1, 2)) > 0.1).all())


@pytest.mark.parametrize("kind", range(4))
def test_a_shape_lies_wholly_in_its_window(kind: int) -> None:
    """It covers its own area, and nothing at the border of the window."""
    long, short = 12.0, 7.0
    area = (math.pi if kind == _ELLIPSE else 4) * long * short
    for turn in (0.0, 0.4, 1.2, math.pi / 2, 2.5):
        seen = _Shape(kind, turn, long, short, (100.3, 98.7)).seen(200)
        assert seen is not None
        assert float(seen[3].sum()) == pytest.approx(area, rel=0.06)
        border = torch.cat([seen[3][[0, -1]].flatten(), seen[3][:, [0, -1]].flatten()])
        assert float(border.max()) == 0


def test_what_lies_outside_is_not_seen() -> None:
    assert _Shape(0, 0.0, 5.0, 3.0, (-40.0, 10.0)).seen(64) is None


def test_a_shadow_takes_of_each_band_its_share() -> None:
    image, dark = torch.ones(2, 64, 64), torch.tensor([0.2, 0.5])
    _shadow(image, _Shape(1, 0.0, 8.0, 8.0, (32.0, 32.0)), dark)
    torch.testing.assert_close(image[:, 32, 32], dark)
    torch.testing.assert_close(image[:, 5, 5], torch.ones(2))
    assert bool((image <= 1).all())
