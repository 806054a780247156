from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch

from clippan_cli.base.geometry import Box, Span
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.optics import Optics, believe, combine, expect_gain, measure_optics
from clippan_cli.physics.pixels import Pixels, Validity, Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.simulation import soften
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.procedural import procedural
from tests.conftest import box

SIDE = 384


def ground(seed: int = 3) -> torch.Tensor:
    return procedural(4, SIDE, Draw(seed))


def seen_by(
    gains: float | tuple[float, ...],
    *,
    ratio: float = 4.0,
    truth: torch.Tensor | None = None,
    pan: torch.Tensor | None = None,
    slip: float = 0.0,
) -> tuple[Window, Sampling]:
    """A window through optics of known gains, and a sampling that states .30 of them."""
    truth = ground() if truth is None else truth
    pan = truth[:3].mean(0) if pan is None else pan
    size = int(SIDE / ratio)
    stated = Sampling.uniform((ratio, ratio), ((ratio - 1) / 2,) * 2, (0.3,) * len(truth))
    gains = (gains,) * len(truth) if isinstance(gains, float) else gains
    true = replace(stated, gains=gains).shifted(((slip, slip),) * len(truth))
    ms = Operators(true, box(SIDE, SIDE), box(size, size)).down(truth)
    return Window(Pixels(ms), Pixels(pan), box(size, size), box(SIDE, SIDE)), stated


def measured(window: Window, sampling: Sampling) -> Optics:
    found = measure_optics([window], sampling)
    assert found is not None
    return found


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0, 6.0])
@pytest.mark.parametrize("gain", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_finds_a_known_gain_whatever_is_stated(gain: float, ratio: float) -> None:
    found = measured(*seen_by(gain, ratio=ratio))
    assert found.gain == pytest.approx(gain, abs=0.03)
    assert abs(math.log(found.gain / gain)) < 3 * found.error
    assert found.bands[:3] == pytest.approx([gain] * 3, abs=0.06)


def test_the_gain_that_is_stated_plays_no_part() -> None:
    window, stated = seen_by(0.2)
    assert measured(window, stated) == measured(window, replace(stated, gains=(0.5,) * 4))


def test_units_and_offsets_play_no_part() -> None:
    window, stated = seen_by(0.2)
    other = Window(Pixels(80 * window.ms.values + 7), Pixels(300 * window.pan.values), window.ms_box, window.pan_box)
    assert measured(other, stated).gain == pytest.approx(measured(window, stated).gain, abs=2e-4)


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_noise_misleads_little(noise: float) -> None:
    window, stated = seen_by(0.3)
    draw = torch.Generator().manual_seed(0)
    ms, pan = (
        x + noise * x.std() * torch.randn(x.shape, generator=draw) for x in (window.ms.values, window.pan.values)
    )
    found = measured(Window(Pixels(ms), Pixels(pan), window.ms_box, window.pan_box), stated)
    assert found.gain == pytest.approx(0.3, abs=0.03)


def test_a_band_that_pan_does_not_see_misleads_little() -> None:
    truth = ground()
    truth[3] = ground(8)[0]
    found = measured(*seen_by(0.25, truth=truth))
    assert found.gain == pytest.approx(0.25, abs=0.03)
    assert found.band_errors[3] > 3 * max(found.band_errors[:3])


@pytest.mark.parametrize("slip", [0.1, 0.25])
def test_a_shift_that_is_left_is_found_and_does_no_harm(slip: float) -> None:
    found = measured(*seen_by(0.3, slip=slip))
    assert found.shift == pytest.approx((slip, slip), abs=0.05)
    assert found.gain == pytest.approx(0.3, abs=0.04)


def test_bands_of_different_optics_are_told_apart() -> None:
    window, stated = seen_by((0.36, 0.3, 0.25, 0.3))
    gains = believe(stated, measured(window, stated)).gains
    assert gains[0] > gains[1] > gains[2]


def test_few_pixels_tell_nothing() -> None:
    window, stated = seen_by(0.3)
    assert measure_optics([window.cut(box(16, 16), box(64, 64))], stated) is None


def test_windows_without_detail_tell_nothing() -> None:
    flat = torch.full_like(ground(), 3.0)
    assert measure_optics([seen_by(0.3, truth=flat)[0]], seen_by(0.3)[1]) is None


def test_what_is_invalid_never_counts() -> None:
    window, stated = seen_by(0.2)
    known = torch.ones(SIDE, SIDE, dtype=torch.bool)
    known[:, : SIDE // 3] = False
    coarse = known[::4, ::4]

    def hidden(fill: float) -> Optics:
        ms = Pixels(torch.where(coarse, window.ms.values, fill), Validity(coarse[None]))
        pan = Pixels(torch.where(known, window.pan.values, fill), Validity(known))
        return measured(Window(ms, pan, window.ms_box, window.pan_box), stated)

    assert hidden(0.0) == hidden(1e6)
    assert hidden(0.0).gain == pytest.approx(0.2, abs=0.03)
    assert hidden(0.0).pixels < measured(window, stated).pixels


def test_it_follows_the_pixels_without_jumps() -> None:
    found = [measured(*seen_by(float(gain))).gain for gain in np.arange(0.25, 0.35, 0.01)]
    steps = np.diff(found)
    assert 0.005 < steps.min() <= steps.max() < 0.015


def test_many_windows_are_one_scene() -> None:
    window, stated = seen_by(0.2)
    parts = [
        window.cut(
            Box(Span(row, row + 48), Span(col, col + 48)), Box(*(Span(4 * at, 4 * at + 192) for at in (row, col)))
        )
        for row in (0, 48)
        for col in (0, 48)
    ]
    one, two = (measure_optics(parts, stated, workers) for workers in (1, 2))
    assert one is not None
    assert one == two
    assert one.gain == pytest.approx(0.2, abs=0.03)


def test_soft_bands_are_soft_optics_or_soft_ground() -> None:
    """What the pixels show is shared out between both, by how sure each is."""
    window, stated = seen_by(0.3, truth=soften(ground(), torch.full((4,), 0.6)), pan=ground()[:3].mean(0))
    found = measured(window, stated)
    believed = believe(stated, found)
    free = found.gain * math.exp(stated.expected_softness * math.pi**2 / 16)
    assert free < statistics.geometric_mean(believed.gains) < 0.3
    assert believed.told_softness > stated.expected_softness
    unit = math.pi**2 / 16
    shown = sum(map(math.log, believed.gains)) / 4 - unit * believed.told_softness
    assert shown == pytest.approx(math.log(found.gain), abs=1e-3)


@pytest.mark.parametrize("ratio", [2.0, 4.0])
def test_what_is_believed_lies_between_and_never_jumps(ratio: float) -> None:
    stated = math.log(0.3)
    # Bands from which no softness is expected.
    sampling = Sampling.uniform((ratio, ratio), (0.0, 0.0), (0.3,), pan_gain=0.3)
    seen = np.linspace(math.log(0.04), math.log(0.8), 400)
    found = np.array([combine(stated, expect_gain(value, sampling), 0.05) for value in seen])
    assert ((found - stated) * (seen - stated) >= 0).all()
    assert (np.abs(found - stated) <= np.abs(seen - stated) + 1e-12).all()
    assert 0 < np.diff(found).min() <= np.diff(found).max() < 2 * float(seen[1] - seen[0])


def test_without_a_measurement_what_is_stated_stands() -> None:
    _, stated = seen_by(0.3)
    assert believe(stated, None).gains == stated.gains
    assert believe(stated, None).told_softness == stated.expected_softness


def test_a_clear_disagreement_is_told_from_doubt() -> None:
    window, stated = seen_by(0.25)
    assert not measured(window, stated).contradicts(stated)
    assert measured(window, replace(stated, gains=(0.7,) * 4)).contradicts(replace(stated, gains=(0.7,) * 4))
