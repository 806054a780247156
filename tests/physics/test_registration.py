from __future__ import annotations

import math

import pytest
import torch

from clippan_cli.physics.operators import Operators
from clippan_cli.physics.registration import Sample, measure_shift
from clippan_cli.physics.sampling import Sampling
from tests.conftest import bands, box


def sample(
    slip: tuple[float, float], ratio: float = 4.0, own: tuple[float, float] | None = None
) -> tuple[Sample, Sampling]:
    """A window whose MS content lies ``slip`` MS pixels from where ``Sampling`` says; band 2 may have its own."""
    size = 96
    side = round(size * ratio)
    truth = torch.from_numpy(bands((side, side), 3, 5)).float()
    stated = Sampling.uniform((ratio, ratio), ((ratio - 1) / 2,) * 2, (0.3, 0.3, 0.3))
    true = stated.shifted((slip, slip, own or slip))
    ms = Operators(true, box(side, side), box(size, size)).down(truth)
    everywhere = torch.ones((), dtype=torch.bool)
    pan = truth.mean(0)
    return Sample(
        ms, everywhere.expand_as(ms), pan, everywhere.expand_as(pan), box(size, size), box(side, side)
    ), stated


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
    ms_valid, pan_valid = window.ms_valid.clone(), window.pan_valid.clone()
    ms_valid[:, :30] = False
    pan_valid[:130] = False
    holed = Sample(
        torch.where(ms_valid, window.ms, 0),
        ms_valid,
        torch.where(pan_valid, window.pan, 0),
        pan_valid,
        window.ms_box,
        window.pan_box,
    )
    whole = measure_shift([holed], stated).whole
    assert whole is not None
    assert (whole.row, whole.col) == pytest.approx((0.5, -0.4), abs=0.07)


def test_says_nothing_of_noise() -> None:
    window, stated = sample((0.0, 0.0))
    generator = torch.Generator().manual_seed(0)
    noise = Sample(
        window.ms,
        window.ms_valid,
        torch.rand(window.pan.shape, generator=generator),
        window.pan_valid,
        window.ms_box,
        window.pan_box,
    )
    assert measure_shift([noise], stated).whole is None
    flat = Sample(
        window.ms * 0 + 1, window.ms_valid, window.pan * 0 + 1, window.pan_valid, window.ms_box, window.pan_box
    )
    assert measure_shift([flat], stated).whole is None
