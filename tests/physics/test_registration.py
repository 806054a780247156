from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Validity, Window
from clippan_cli.physics.registration import measure_shift
from clippan_cli.physics.sampling import Sampling
from tests.conftest import bands, box


def sample(
    slip: tuple[float, float], ratio: float = 4.0, own: tuple[float, float] | None = None
) -> tuple[Window, Sampling]:
    """A window whose MS content lies ``slip`` MS pixels from where ``Sampling`` says; band 2 may have its own."""
    size = 96
    side = round(size * ratio)
    truth = torch.from_numpy(bands((side, side), 3, 5)).float()
    stated = Sampling.uniform((ratio, ratio), ((ratio - 1) / 2,) * 2, (0.3, 0.3, 0.3))
    true = stated.shifted((slip, slip, own or slip))
    ms = Operators(true, box(side, side), box(size, size)).down(truth)
    pan = truth.mean(0)
    return Window(Pixels(ms), Pixels(pan), box(size, size), box(side, side)), stated


@pytest.mark.parametrize("slip", [(0.0, 0.0), (0.3, -0.2), (-0.6, 0.5), (1.4, -2.3), (-3.1, 0.0)])
@pytest.mark.parametrize("ratio", [2.0, 4.0])
def test_finds_a_known_shift(slip: tuple[float, float], ratio: float) -> None:
    window, stated = sample(slip, ratio)
    whole = measure_shift([window], stated).whole
    assert whole is not None
    assert whole.row == pytest.approx(slip[0], abs=0.05)
    assert whole.col == pytest.approx(slip[1], abs=0.05)
    assert whole.correlation > 0.8
    assert math.isnan(whole.spread)
    assert whole.error == 0


def test_finds_the_shift_of_one_band() -> None:
    window, stated = sample((0.1, 0.0), own=(0.4, -0.3))
    third = measure_shift([window], stated).bands[2]
    assert third is not None
    assert (third.row, third.col) == pytest.approx((0.4, -0.3), abs=0.1)


def test_invalid_pixels_do_not_mislead() -> None:
    window, stated = sample((0.5, -0.4))
    ms, pan = window.ms.values, window.pan.values
    ms_valid, pan_valid = (torch.ones_like(x, dtype=torch.bool) for x in (ms, pan))
    ms_valid[:, :30] = False
    pan_valid[:130] = False
    holed = replace(
        window,
        ms=Pixels(torch.where(ms_valid, ms, 0), Validity(ms_valid)),
        pan=Pixels(torch.where(pan_valid, pan, 0), Validity(pan_valid)),
    )
    whole = measure_shift([holed], stated).whole
    assert whole is not None
    assert (whole.row, whole.col) == pytest.approx((0.5, -0.4), abs=0.07)


def test_says_nothing_of_noise() -> None:
    window, stated = sample((0.0, 0.0))
    generator = torch.Generator().manual_seed(0)
    noise = replace(window, pan=Pixels(torch.rand(window.pan.values.shape, generator=generator)))
    assert measure_shift([noise], stated).whole is None
    flat = replace(window, ms=Pixels(torch.ones_like(window.ms.values)), pan=Pixels(torch.ones_like(window.pan.values)))
    assert measure_shift([flat], stated).whole is None
