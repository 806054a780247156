from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from clippan_cli.base.geometry import Box, Span
from clippan_cli.scene.pair import open_pair
from clippan_cli.scene.raster import Raster, Repeat
from clippan_cli.scene.repeats import detect_repeats
from tests.conftest import PLACE, write


def true_pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 900, (3, 90, 80)).astype("uint16")


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("cut", [0, 1])
def test_repeated_pixels_are_read_once(tmp_path: Path, factor: int, cut: int) -> None:
    true = true_pixels()
    large = np.kron(true, np.ones((1, factor, factor), "uint16"))[:, cut:, cut:]
    with Raster([write(tmp_path / "a.tif", large, PLACE @ Affine.translation(cut, cut))]) as raster:
        offset = (factor - cut) % factor
        assert detect_repeats(raster) == (Repeat(factor, offset),) * 2
        raster.undo_repeats((Repeat(factor, offset),) * 2)
        assert raster.grid.shape == true.shape[1:]
        assert raster.grid.transform == PLACE @ Affine.scale(factor)
        values, _ = raster.read(raster.grid.box)
        part, _ = raster.read(Box(Span(7, 31), Span(0, 12)))
    np.testing.assert_array_equal(values, true)
    np.testing.assert_array_equal(part, true[:, 7:31, :12])


def test_validity_is_read_once_too(tmp_path: Path) -> None:
    true = true_pixels()
    true[:, :20] = 0
    with Raster([write(tmp_path / "a.tif", np.kron(true, np.ones((1, 2, 2), "uint16")), PLACE, nodata=0)]) as raster:
        raster.undo_repeats((Repeat(2, 0), Repeat(2, 0)))
        _, valid = raster.read(raster.grid.box)
    assert valid is not None
    np.testing.assert_array_equal(valid, true != 0)


def test_ordinary_and_flat_rasters_are_left_alone(tmp_path: Path) -> None:
    flat = np.full((3, 90, 80), 7, "uint16")
    for name, data in (("plain", true_pixels()), ("flat", flat), ("coarse", true_pixels() // 300)):
        with Raster([write(tmp_path / f"{name}.tif", data, PLACE)]) as raster:
            assert detect_repeats(raster) is None


def test_the_pair_says_so(tmp_path: Path) -> None:
    ms = write(tmp_path / "ms.tif", np.kron(true_pixels(), np.ones((1, 2, 2), "uint16")), PLACE @ Affine.scale(2))
    pan = write(tmp_path / "pan.tif", np.random.default_rng(1).integers(1, 900, (1, 360, 320)).astype("uint16"), PLACE)
    with open_pair([ms], pan) as pair:
        assert pair.sampling.ratio == pytest.approx((4, 4))
        assert any("enlarged by repeating pixels 2 × 2 times" in text for text in pair.warnings)
