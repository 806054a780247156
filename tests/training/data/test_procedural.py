from __future__ import annotations

import math

import pytest
import torch

from clippan_cli.training.data import procedural as procedural_module
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


def test_an_image_is_made_of_nothing_but_its_seed() -> None:
    first, again, other = (procedural(3, 80, Draw(seed)) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_moved_shape_covers_as_much() -> None:
    shape = _Shape(2, 0.7, 9.0, 6.0, (40.0, 40.0))
    here, there = shape.seen(100), shape.moved(7.0, -12.0).seen(100)
    assert here is not None
    assert there is not None
    torch.testing.assert_close(here[3].sum(), there[3].sum(), rtol=1e-4, atol=0)
    assert (there[0][0].start, there[0][1].start) == (here[0][0].start + 7, here[0][1].start - 12)


def test_sizes_follow_the_power_law_of_natural_scenes() -> None:
    """Of a density of r⁻³, a share of r⁻² is larger than r; the large ones come first."""
    sizes = torch.cat([procedural_module._sizes(Draw(i)) for i in range(30)])
    one = procedural_module._sizes(Draw(0))
    assert bool((one.diff() <= 0).all())
    small = sizes[sizes < 12]
    assert float((small > 5).sum() / len(small)) == pytest.approx(
        (5**-2 - 12**-2) / (procedural_module._SMALLEST**-2 - 12**-2), abs=0.03
    )


def test_spectra_are_positive_and_bounded() -> None:
    for bands in (1, 2, 8):
        spectra = procedural_module._spectra(bands, Draw(bands))
        assert spectra.shape == (procedural_module._MATERIALS, bands)
        assert 0.02 <= float(spectra.min()) <= float(spectra.max()) <= 2


def test_textures_are_as_deep_as_asked() -> None:
    flat, deep = (procedural_module._texture(64, 2.0, depth, Draw(0)).log() for depth in (0.1, 0.4))
    torch.testing.assert_close(4 * flat, deep, rtol=1e-3, atol=1e-4)
