from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.errors import InputError
from clippan_cli.networks.network import Trait
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Validity
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.simulation import degrade, soften
from clippan_cli.training.data import simulated_pairs
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.procedural import procedural
from clippan_cli.training.data.simulated_pairs import SIDE, Group, Source, make_batch, margin
from tests.training.conftest import source


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    return [(0.5, [source(0)]), (0.5, [source(1, pan=True)])]


def test_a_number_makes_a_sample(groups: list[Group]) -> None:
    first, again, other = (make_batch(groups, 2, Draw(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.ms, again.ms)
    assert torch.equal(first.pan, again.pan)
    assert first.truth.shape != other.truth.shape or not torch.equal(first.truth, other.truth)


def test_ms_is_the_truth_degraded(groups: list[Group]) -> None:
    """But for noise, and gains and phases that are off, which the networks must learn to bear."""
    errors = []
    for seed in range(8):
        batch = make_batch(groups, 2, Draw(seed))
        assert 0 < float(batch.pan.max()) <= 1.01
        seen = batch.operators.down(batch.truth.flatten(0, 1)).view_as(batch.ms)
        inner = (..., slice(3, -3), slice(3, -3))
        errors.append(((seen - batch.ms)[inner].std((2, 3)) / batch.ms[inner].std((2, 3))).flatten())
        assert batch.ms_up.shape == batch.truth.shape
        assert batch.context.traits.shape[:2] == batch.ms.shape[:2]
        assert all(bool(torch.isfinite(x).all()) for x in (batch.ms, batch.pan, batch.truth, batch.context.traits))
    assert 0.02 < float(torch.cat(errors).median()) < 0.15


def test_bands_and_ratios_vary(groups: list[Group]) -> None:
    made = [make_batch(groups, 1, Draw(seed)) for seed in range(24)]
    assert {batch.ms.shape[1] for batch in made} >= {3, 4, 8}
    assert {batch.context.ratio for batch in made} == {2.0, 3.0, 4.0, 6.0}
    assert {make_batch(groups, 1, Draw(seed), bands=5).ms.shape[1] for seed in range(4)} == {5}


def test_traits_foresee_how_sharp_the_truth_is() -> None:
    """The softness that a network is told holds for the detail that it has to inject."""
    told, true = [], []
    for seed in range(40):
        batch = make_batch([(1.0, [source(0)])], 2, Draw(seed), 4)
        steps = [_octaves(x) for x in (batch.truth, batch.pan)]
        slopes = [(band * pan).sum((2, 3)) / (pan * pan).sum((2, 3)) for band, pan in zip(*steps, strict=True)]
        told.append(batch.context.traits[:, 0, Trait.SOFTNESS])
        true.append((slopes[0] / slopes[1]).clamp(0.05, 20).log().median(1).values)
    assert float(torch.corrcoef(torch.stack([torch.cat(told), torch.cat(true)]))[0, 1]) < -0.1


def _octaves(x: Tensor) -> tuple[Tensor, Tensor]:
    near, far = (soften(x, torch.full(x.shape[:2], sigma)) for sigma in (0.8, 1.6))
    return x - near, near - far


def test_gaps_never_enter() -> None:
    for seed in range(10):
        batch = make_batch([(1.0, [source(gap=True)])], 2, Draw(seed))
        assert bool(torch.isfinite(batch.truth).all())


def test_flat_ground_is_passed_over() -> None:
    """An orthophoto's white border, which nobody declared, must not end a training."""
    image = procedural(3, SIDE + 200, Draw(0))
    image[:, :, : SIDE + 40] = 1.0
    for seed in range(12):
        batch = make_batch([(1.0, [Source("made", image)])], 2, Draw(seed))
        assert bool(torch.isfinite(batch.context.traits).all())
        assert bool(torch.isfinite(batch.ms).all())


def test_nothing_but_gaps() -> None:
    image = torch.ones(3, SIDE, SIDE)
    with pytest.raises(InputError, match="without gaps"):
        make_batch(
            [(1.0, [Source("bad", image, valid=Validity(torch.zeros(SIDE, SIDE, dtype=torch.bool)))])], 1, Draw(0)
        )


def test_procedural_images_are_made_of_nothing_but_a_seed() -> None:
    first, again, other = (procedural(3, 96, Draw(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 96, 96)
    assert float(first.min()) > 0
    flat = first.flatten(1)
    alike = torch.corrcoef(flat)
    assert 0.2 < float(alike[0, 2]) < 0.9999


class Still(Draw):
    """Draws whose normal numbers are all 0: nothing is off, and there is no noise."""

    def normal(self, *shape: int) -> Tensor:
        return torch.zeros(shape)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0])
@pytest.mark.parametrize("gain", [0.2, 0.4])
def test_without_chance_ms_is_what_the_stated_operators_see(
    ratio: float, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_pairs, "_add_noise", lambda x, *_: x)
    monkeypatch.setattr(simulated_pairs, "_COMPRESSED", 0)
    truth = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    small = int(48 / ratio)
    phase = ((ratio - 1) / 2, (ratio - 1) / 2)
    ms = simulated_pairs._see_ms(truth, ratio, phase, torch.full((2,), math.log(gain)), Still(0))
    sampling = Sampling.uniform((ratio, ratio), phase, (gain,) * 6)
    seen = Operators(sampling, Box.whole((48, 48)), Box.whole((small, small))).down(truth.flatten(0, 1))
    torch.testing.assert_close(ms, seen.view_as(ms), rtol=1e-4, atol=1e-5)
    gains, phases = torch.full((2, 3, 2), gain), torch.tensor(phase).expand(2, 3, 2)
    torch.testing.assert_close(ms, degrade(truth, ratio, phases, gains, (small, small)))


def test_gains_and_phases_are_a_little_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each band of each sample has optics of its own, which the network is not told."""
    seen: list[tuple[Tensor, Tensor]] = []
    real = degrade

    def watch(x: Tensor, ratio: float, phase: Tensor, gain: Tensor, shape: tuple[int, int]) -> Tensor:
        seen.append((phase, gain))
        return real(x, ratio, phase, gain, shape)

    monkeypatch.setattr(simulated_pairs, "degrade", watch)
    truth = torch.rand(40, 4, 16, 16)
    simulated_pairs._see_ms(truth, 4.0, (1.5, 1.5), torch.full((40,), math.log(0.3)), Draw(0))
    ((phase, gain),) = seen
    assert 0.04 < float((gain / 0.3).log().std()) < 0.12
    assert 0.05 <= float(gain.min()) <= float(gain.max()) <= 0.8
    assert 0.1 < float((phase - 1.5).std()) < 0.35
    assert len({tuple(each) for each in phase.flatten(0, 1).tolist()}) == 160


@pytest.mark.parametrize("ratio", [2.0, 4.0])
def test_what_is_believed_of_the_optics_errs_as_it_does_for_users(ratio: float) -> None:
    """Gains and softness are told together so that what the pixels show follows from them."""
    true, soft = math.log(0.3) + 0.25 * Draw(1).normal(400), 0.1 * ratio**2 / math.pi**2 * Draw(2).normal(400)
    gain, softness = simulated_pairs._see_optics(0.3, true, soft, ratio, Draw(0))
    seen, shown = gain - softness * math.pi**2 / ratio**2, true - soft * math.pi**2 / ratio**2
    assert 0.9 * 0.04 < float((seen - shown).std()) < 1.1 * 0.2
    assert 0.05 < float((gain - true).std()) < 0.25
    assert float((softness - soft).std()) * math.pi**2 / ratio**2 < 0.3


def test_optics_are_seen_well_or_badly() -> None:
    errors = []
    for seed in range(20):
        true, soft = torch.full((100,), math.log(0.3)), torch.zeros(100)
        gain, softness = simulated_pairs._see_optics(0.3, true, soft, 4.0, Draw(seed))
        errors.append(float((gain - softness * math.pi**2 / 16 - true).std()))
    assert min(errors) < 0.07
    assert max(errors) > 0.13


def test_lossy_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_pairs, "_COMPRESSED", 1)
    x = 100 + torch.rand(2, 3, 45, 50, generator=torch.Generator().manual_seed(0))
    errors = []
    for seed in range(20):
        made = simulated_pairs._compress(x, Draw(seed))
        assert made.shape == x.shape
        errors.append(float((made - x).std() / x.std()))
        # What is coarse in a block stays.
        smooth = x.mean((-2, -1), keepdim=True) + 0.3 * torch.linspace(-1, 1, 50)
        apart = simulated_pairs._compress(smooth.expand_as(x), Draw(seed)) - smooth
        assert float(apart.std()) < 0.25 * float(smooth.std())
    assert 0 < min(errors) < 0.02
    assert 0.05 < max(errors) < 0.5
    monkeypatch.setattr(simulated_pairs, "_COMPRESSED", 0)
    assert simulated_pairs._compress(x, Draw(0)) is x


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from([2.0, 3.0, 4.0, 6.0]))
def test_phases_lie_within_the_first_ms_pixel(seed: int, ratio: float) -> None:
    for phase in simulated_pairs._draw_phase(ratio, Draw(seed)):
        assert 0 <= phase <= ratio - 1
        assert (4 * phase).is_integer()


@pytest.mark.parametrize("level", [1e-3, 1e-1])
def test_noise_is_as_strong_as_asked_and_grey_has_steps(level: float) -> None:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) + 1
    noisy = simulated_pairs._add_noise(x, level, Draw(2))
    assert noisy.shape == x.shape
    apart = (noisy - x).std() / x.std()
    step = float(noisy.amax()) / 2**8 / float(x.std()) / math.sqrt(12)
    assert 0.8 * level < float(apart) < math.hypot(1.2 * level, 1.2 * step)
    for band in noisy.flatten(0, 1):
        assert len(band.unique()) <= 2**12 + 1


def test_focus_keeps_the_brightness_and_tells_its_direction() -> None:
    x = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(3))
    untouched, changes = 0, []
    for seed in range(30):
        seen, change = simulated_pairs._refocus(x, Draw(seed))
        assert seen.shape == x.shape
        if seen is x:
            untouched += 1
            assert change == 0
            continue
        torch.testing.assert_close(seen.mean((1, 2)), x.mean((1, 2)), rtol=0.05, atol=0)
        assert abs(change) <= 0.8 / 4
        if abs(change) > 0.06:
            # What is softer has less contrast.
            assert (float(seen.std()) < float(x.std())) == (change > 0)
            changes.append(change)
    assert 5 < untouched < 25
    assert min(changes) < 0 < max(changes)


def test_haze_lies_on_a_band_evenly() -> None:
    x = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(4)) + 0.2
    clear = 0
    for seed in range(20):
        veil = simulated_pairs._veil(x, Draw(seed)) - x
        torch.testing.assert_close(veil, veil[:, :1, :1].expand_as(veil), rtol=0, atol=1e-6)
        clear += not bool(veil.any())
        assert float((x + veil).min()) > 0
    assert 4 < clear < 16


@pytest.mark.parametrize("bands", [1, 2, 4, 9])
def test_any_number_of_bands_is_made(bands: int) -> None:
    image = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(5)) + 0.1
    made = simulated_pairs._complete_bands(image, bands, Draw(1))
    assert made.shape == (bands, 20, 20)
    assert torch.equal(made[: min(3, bands)], image[:bands])
    assert float(made.min()) >= 0
    assert bool((made.flatten(1).std(1) > 0).all())


def test_pan_is_positive_and_no_single_band() -> None:
    truth = torch.rand(4, 20, 20, generator=torch.Generator().manual_seed(6)) + 0.05
    hidden = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(7)) + 0.05
    pans = torch.cat([simulated_pairs._mix_pan(truth, hidden, Draw(seed)) for seed in range(10)])
    assert float(pans.min()) > 0
    alike = torch.corrcoef(torch.cat([pans, truth]).flatten(1))[:10, 10:]
    assert float(alike.max()) < 0.999
    assert float(alike.max(1).values.min()) > 0.3


def test_crops_are_squares_of_their_source_turned_somehow() -> None:
    side = 40
    image = torch.arange(2.0 * 90 * 80).view(2, 90, 80)
    whole = Source("made", image, torch.arange(90.0 * 80).view(90, 80))
    turns = set()
    for seed in range(40):
        source_, crop = simulated_pairs._draw_square([(1.0, [whole])], side, Draw(seed))
        assert source_ is whole
        assert crop.shape == (3, side, side)
        # PAN comes last; whatever the turn, pixel by pixel the bands fit to it.
        bands_ = crop[:-1].sort(0).values
        assert torch.equal(bands_[0], crop[-1])
        assert torch.equal(bands_[1], crop[-1] + 7200)
        turns.add((float(crop[-1, 0, 1] - crop[-1, 0, 0]), float(crop[-1, 1, 0] - crop[-1, 0, 0])))
    assert turns == {(a * s, b * t) for a, b in ((1, 80), (80, 1)) for s in (1, -1) for t in (1, -1)}


def test_groups_have_their_shares() -> None:
    first, second = source(0, pan=True), source(1, pan=True)
    drawn = [simulated_pairs._draw_square([(0.2, [first]), (0.8, [second])], 48, Draw(seed))[0] for seed in range(150)]
    assert sum(each is first for each in drawn) / 150 == pytest.approx(0.2, abs=0.1)


def test_pairs_are_scaled_to_one_and_described(groups: list[Group]) -> None:
    for seed in range(5):
        batch = make_batch(groups, 2, Draw(seed))
        top = torch.maximum(batch.truth.amax((1, 2, 3)), batch.pan.amax((1, 2, 3)))
        assert bool((top > 0.45).all())
        assert bool((top < 1.02).all())
        size, bands, height, width = batch.truth.shape
        assert batch.pan.shape == (size, 1, height, width)
        assert batch.context.deviation.shape == (size, bands)
        assert batch.context.pan_low.shape == (size, 1, height, width)
        for i in range(size):
            wanted = batch.ms[i].flatten(1).std(1)
            torch.testing.assert_close(batch.context.deviation[i], wanted, rtol=0.02, atol=1e-4)


def test_pairs_do_not_depend_on_the_generator_of_torch(groups: list[Group]) -> None:
    torch.manual_seed(1)
    first = make_batch(groups, 1, Draw(3))
    torch.manual_seed(2)
    assert torch.equal(make_batch(groups, 1, Draw(3)).pan, first.pan)


@pytest.mark.parametrize(("ratio", "wanted"), [(2.0, 4), (3.0, 6), (4.0, 8), (6.0, 12), (2.1, 5)])
def test_what_is_not_judged(ratio: float, wanted: int) -> None:
    assert margin(ratio) == wanted
