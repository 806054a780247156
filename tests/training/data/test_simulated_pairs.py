from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clippan_cli.errors import InputError
from clippan_cli.networks.network import Trait
from clippan_cli.physics.pixels import Validity
from clippan_cli.physics.simulation import soften
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.procedural import procedural
from clippan_cli.training.data.simulated_pairs import SIDE, Group, Source, make_batch, margin
from clippan_cli.training.objectives.with_truth import back_project_pairs, measure_errors


def source(seed: int = 0, *, bands: int = 4, pan: bool = False, gap: bool = False) -> Source:
    image = procedural(bands + pan, SIDE + 40, Draw(seed))
    valid = None
    if gap:
        valid = torch.ones(image.shape[1:], dtype=torch.bool)
        valid[:30] = False
        image[:, :30] = math.nan
    return Source("made", image[:bands], image[bands] if pan else None, Validity(valid))


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    return [(0.5, [source(0)]), (0.5, [source(1, pan=True)])]


def test_a_number_makes_a_sample(groups: list[Group]) -> None:
    first, again, other = (make_batch(groups, 2, Draw(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.ms, again.ms)
    assert torch.equal(first.pan, again.pan)
    assert first.truth.shape != other.truth.shape or not torch.equal(first.truth, other.truth)


def test_ms_is_the_truth_degraded(groups: list[Group]) -> None:
    """But for noise, and gains and phases a little off, which the networks must learn to bear."""
    for seed in range(8):
        batch = make_batch(groups, 2, Draw(seed))
        assert 0 < float(batch.pan.max()) <= 1.01
        seen = batch.operators.down(batch.truth.flatten(0, 1)).view_as(batch.ms)
        inner = (..., slice(3, -3), slice(3, -3))
        error = (seen - batch.ms)[inner].std((2, 3)) / batch.ms[inner].std((2, 3))
        assert float(error.median()) < 0.1
        assert batch.ms_up.shape == batch.truth.shape
        assert batch.context.traits.shape[:2] == batch.ms.shape[:2]
        assert all(bool(torch.isfinite(x).all()) for x in (batch.ms, batch.pan, batch.truth, batch.context.traits))


def test_bands_and_ratios_vary(groups: list[Group]) -> None:
    made = [make_batch(groups, 1, Draw(seed)) for seed in range(24)]
    assert {batch.ms.shape[1] for batch in made} >= {3, 4, 8}
    assert {batch.context.ratio for batch in made} == {2.0, 3.0, 4.0, 6.0}
    assert {make_batch(groups, 1, Draw(seed), bands=5).ms.shape[1] for seed in range(4)} == {5}


def test_traits_foresee_how_sharp_the_truth_is() -> None:
    """The softness that a network is told holds for the detail that it has to inject."""
    told, true = [], []
    for seed in range(12):
        batch = make_batch([(1.0, [source(0)])], 2, Draw(seed), 4)
        steps = [_octaves(x) for x in (batch.truth, batch.pan)]
        slopes = [(band * pan).sum((2, 3)) / (pan * pan).sum((2, 3)) for band, pan in zip(*steps, strict=True)]
        told.append(batch.context.traits[:, 0, Trait.SOFTNESS])
        true.append((slopes[0] / slopes[1]).clamp(0.05, 20).log().median(1).values)
    assert float(torch.corrcoef(torch.stack([torch.cat(told), torch.cat(true)]))[0, 1]) < -0.5


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


def pair() -> Batch:
    return make_batch([(1.0, [source(3)])], 2, Draw(8))


def test_losses_against_plain_loops() -> None:
    batch = pair()
    out = batch.truth + 0.05 * torch.randn(batch.truth.shape, generator=torch.Generator().manual_seed(0))
    edge = margin(batch.context.ratio)
    error, angle = measure_errors(out, batch, edge)
    inner = (slice(edge, -edge), slice(edge, -edge))
    errors, angles = [], []
    for i in range(len(out)):
        for k in range(out.shape[1]):
            difference = (out[i, k][inner] - batch.truth[i, k][inner]) / batch.context.deviation[i, k]
            errors.append(0.5 * math.log(float((difference**2).mean()) + 1e-6))
        a, b = out[i][:, *inner].flatten(1), batch.truth[i][:, *inner].flatten(1)
        cosine = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))
        angles.append(math.log(float((1 - cosine**2).clamp(min=0).add(1e-10).sqrt().mean()) + 1e-4))
    assert float(error) == pytest.approx(sum(errors) / len(errors), abs=1e-4)
    assert float(angle) == pytest.approx(sum(angles) / len(angles), abs=1e-3)


def test_the_truth_has_the_least_loss_and_a_finite_gradient() -> None:
    batch = pair()
    out = batch.truth.clone().requires_grad_()
    error, angle = measure_errors(out, batch, 8)
    torch.autograd.backward(error + angle)
    assert out.grad is not None
    assert bool(torch.isfinite(out.grad).all())
    worse = measure_errors(batch.ms_up, batch, 8)
    assert float(error.detach()) < float(worse[0]) - 1
    assert float(angle.detach()) < float(worse[1]) - 1


def test_back_projection_makes_consistent_and_keeps_the_gradient() -> None:
    batch = pair()
    out = (batch.ms_up * 1.1).requires_grad_()
    flat = [back_project_pairs(out, batch, steps).flatten(0, 1) for steps in (0, 3)]
    before, after = (float((batch.operators.down(x.detach()).view_as(batch.ms) - batch.ms).std()) for x in flat)
    assert after < 0.3 * before
    torch.autograd.backward(back_project_pairs(out, batch, 2).square().mean())
    assert out.grad is not None
    assert float(out.grad.abs().sum()) > 0
