from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from clippan_cli.base.geometry import Box, Span
from clippan_cli.opening import survey as room
from clippan_cli.opening.survey import SAMPLE_SIDE, common_box, survey
from clippan_cli.physics.registration import Registration, Shift
from clippan_cli.physics.sampling import Sampling
from tests.conftest import PLACE, Made, read, write
from tests.opening.test_scene import change, opened

MakeScene = Callable[..., Made]
NAN = float("nan")


@pytest.mark.parametrize(
    ("register", "note", "phase"),
    [
        ("off", "registration is off", (1.5, 1.5)),
        ((0.5, -0.25), "shift given: +0.50, -0.25 MS px (row, col)", (3.5, 0.5)),
        ((0.0, 0.0), "shift given: +0.00, +0.00 MS px (row, col)", (1.5, 1.5)),
    ],
)
def test_what_the_user_says_is_done(make_scene: MakeScene, register: Any, note: str, phase: tuple[float, ...]) -> None:
    with opened(make_scene(size=32, slip=(1.0, 1.0)), register=register) as scene:
        assert scene.known.notes == (note,)
        assert scene.sampling.phases == (phase,) * 4
        assert scene.sampling.nominal == (1.5, 1.5)
        assert (scene.known.measured is None) == (register == "off")


@pytest.mark.parametrize("slip", [(0.5, -0.5), (-1.2, 0.4), (0.2, 0.0)])
def test_a_shift_is_measured_and_corrected(make_scene: MakeScene, slip: tuple[float, float]) -> None:
    with opened(make_scene(size=64, slip=slip)) as scene:
        assert scene.known.notes[0].endswith("; corrected by moving the phase of MS")
        for phase in scene.sampling.phases:
            moved = [(phase[axis] - 1.5) / 4 for axis in (0, 1)]
            assert moved == pytest.approx(slip, abs=0.08)


def test_what_lies_well_is_left(make_scene: MakeScene) -> None:
    with opened(make_scene(size=64)) as scene:
        assert scene.known.notes[0].endswith("; nothing to correct")
        assert scene.known.stated == scene.pair.sampling


def test_noise_has_no_shift(make_scene: MakeScene) -> None:
    made = make_scene(size=64)
    noise = np.random.default_rng(1)
    change(made.pan, lambda pixels: noise.integers(100, 900, pixels.shape).astype(pixels.dtype))
    with opened(made) as scene:
        assert scene.known.notes == (
            "no shift could be measured (too little common detail); the georeference is trusted",
        )
        assert scene.known.stated == scene.pair.sampling
        assert scene.sampling.gains == pytest.approx(scene.pair.sampling.gains, abs=0.02)


@pytest.mark.parametrize("jobs", [2, 5])
def test_the_number_of_threads_does_not_matter(make_scene: MakeScene, jobs: int) -> None:
    made = make_scene(size=64, slip=(0.3, 0.2))
    with opened(made, jobs=1) as one, opened(made, jobs=jobs) as many:
        assert many.sampling == one.sampling
        assert many.known.notes == one.known.notes
        assert (many.known.scale, many.known.saturation) == (one.known.scale, one.known.saturation)


@pytest.mark.parametrize(("peak", "scale"), [(1000, 1024), (1.0, 1), (0.03, 2**-5), (60_000, 2**16)])
def test_the_scale_is_the_power_of_two_above_the_brightest(make_scene: MakeScene, peak: float, scale: float) -> None:
    with opened(make_scene(size=16, dtype="float32", peak=peak), register="off") as scene:
        assert scene.known.scale == scale
        top = max(float(max(sample.ms.values.max(), sample.pan.values.max())) for sample in scene.known.samples)
        assert 0.5 < top <= 1


def test_a_black_scene_has_a_scale_too(make_scene: MakeScene) -> None:
    made = make_scene(size=16)
    for path in (made.ms, made.pan):
        change(path, np.zeros_like)
    with opened(made, src_nodata="none", register="off") as scene:
        assert scene.known.scale == 1
        assert scene.known.saturation == (np.inf, np.inf)


def _decided(whole: Shift | None, bands: list[Shift | None], register: Any = "auto") -> tuple[Any, list[str]]:
    pair: Any = SimpleNamespace(ms=SimpleNamespace(count=len(bands)))
    return room._decide(Registration(whole, tuple(bands)), register, pair)


GOOD = Shift(0.5, 0.0, 0.02, 0.9, 9)


def test_a_band_that_follows_pan_is_placed_by_itself() -> None:
    own = replace(GOOD, row=0.8)
    shifts, notes = _decided(GOOD, [GOOD, own])
    assert shifts == ((0.5, 0.0), (0.8, 0.0))
    assert notes[1] == "bands differ by up to 0.30 MS px; each is placed by itself"


@pytest.mark.parametrize(
    "band",
    [
        None,
        replace(GOOD, row=0.8, correlation=0.5),
        replace(GOOD, row=1.6),
        replace(GOOD, row=0.53),
        replace(GOOD, row=0.8, spread=2.0),
    ],
)
def test_a_band_that_is_not_trusted_follows_the_image(band: Shift | None) -> None:
    shifts, notes = _decided(GOOD, [GOOD, band])
    assert shifts == ((0.5, 0.0), (0.5, 0.0))
    assert len(notes) == 1


def test_windows_that_disagree_correct_nothing() -> None:
    shifts, notes = _decided(replace(GOOD, spread=0.9), [GOOD, GOOD])
    assert shifts == ((0.0, 0.0),) * 2
    assert notes[0].endswith("spread 0.90 over 9 windows; the windows disagree, not corrected")


@pytest.mark.parametrize("small", [replace(GOOD, row=0.04), replace(GOOD, row=0.1, spread=0.2, windows=3)])
def test_a_shift_within_the_noise_is_left(small: Shift) -> None:
    shifts, notes = _decided(small, [small, None])
    assert shifts == ((0.0, 0.0),) * 2
    assert notes[0].endswith("; nothing to correct")


def test_shifts_are_rounded_so_that_a_resumed_run_has_the_same() -> None:
    for digit in (1e-9, -1e-9):
        shifts, _ = _decided(replace(GOOD, row=0.50001 + digit), [None])
        assert shifts == ((0.5, 0.0),)


@given(st.integers(1, 2000), st.integers(0, 300), st.integers(1, 7))
def test_samples_spread_over_the_whole_ground(size: int, start: int, most: int) -> None:
    span = Span(start, start + size)
    found = room._spread(span, most)
    assert 1 <= len(found) <= most
    assert found[0].start == span.start or len(found) == 1
    assert all(part.size == min(SAMPLE_SIDE, size) and span.intersection(part) == part for part in found)
    if most * SAMPLE_SIDE >= size:
        assert {i for part in found for i in range(*part)} == set(range(*span))


@given(
    st.floats(1.1, 16), st.floats(-40, 40), st.tuples(*[st.integers(1, 60)] * 2), st.tuples(*[st.integers(1, 300)] * 2)
)
def test_common_ground_is_where_ms_centres_lie_on_pan(
    ratio: float, phase: float, ms: tuple[int, int], pan: tuple[int, int]
) -> None:
    sampling = Sampling.uniform((ratio, ratio), (phase, phase), (0.3,))
    grids = SimpleNamespace(shape=ms), SimpleNamespace(box=Box.whole(pan))
    pair: Any = SimpleNamespace(
        sampling=sampling, ms=SimpleNamespace(grid=grids[0]), pan=SimpleNamespace(grid=grids[1])
    )
    found = common_box(pair)
    assert found.inside(Box.whole(ms))
    for span, size, limit in zip(found, ms, pan, strict=True):
        on_pan = [i for i in range(size) if -0.5 <= phase + ratio * i <= limit - 0.5]
        if on_pan:
            assert list(range(*span)) == on_pan
        else:
            assert span.size == 1


def test_a_landsat_phase(make_scene: MakeScene) -> None:
    """Landsat's PAN begins half a PAN pixel before its MS: centres lie on centres."""
    with opened(make_scene(ratio=2, phase=0.0, size=40), register="off") as scene:
        assert scene.pair.sampling.nominal == pytest.approx((0.0, 0.0), abs=1e-9)
        assert common_box(scene.pair) == Box.whole((40, 40))


@pytest.mark.parametrize("larger", ["ms", "pan"])
def test_rasters_of_different_extent(make_scene: MakeScene, larger: str) -> None:
    made = make_scene(size=60)
    if larger == "pan":
        part = read(made.ms)[:, 10:50, 5:45]
        made.ms = write(made.folder / "part.tif", part, PLACE @ Affine.translation(20, 40) @ Affine.scale(4))
    else:
        part = read(made.pan)[:, 40:200, 20:180]
        made.pan = write(made.folder / "part.tif", part, PLACE @ Affine.translation(20, 40))
    with opened(made, register="off") as scene:
        corner = (0, 0) if larger == "pan" else (10, 5)
        assert common_box(scene.pair) == Box.at(corner, (40, 40))
        assert all(sample.ms_box.inside(common_box(scene.pair)) for sample in scene.known.samples)


def test_a_scene_with_one_valid_corner_is_surveyed(make_scene: MakeScene) -> None:
    valid = np.zeros((400, 400), bool)
    valid[391:, :9] = True
    with opened(make_scene(size=400, ratio=2, count=1, valid=valid, nodata=0), register="off") as scene:
        assert len(scene.known.samples) == 1
        (sample,) = scene.known.samples
        assert sample.ms.valid.count(sample.ms.values) == 81
        assert survey(scene.pair, "off", 1).scale == scene.known.scale
