from __future__ import annotations

import numpy as np
import pytest
import torch

from clippan_cli.base.geometry import Box, Span
from clippan_cli.physics.operators import Operators, fill_invalid
from clippan_cli.physics.pixels import Validity
from clippan_cli.physics.sampling import Sampling

SHAPE = (120, 96)
SMALL = (30, 24)


def whole(shape: tuple[int, int]) -> Box:
    return Box(Span(0, shape[0]), Span(0, shape[1]))


def operators(sampling: Sampling) -> Operators:
    return Operators(sampling, whole(SHAPE), whole(SMALL), dtype=torch.float64)


@pytest.fixture
def mixed() -> Sampling:
    """Three bands, two of which share phase and gain."""
    return Sampling((4.0, 4.0), ((1.5, 1.5), (1.1, 2.0), (1.5, 1.5)), (0.3, 0.25, 0.3), 0.15, (1.5, 1.5))


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_bands_are_treated_as_if_alone(mixed: Sampling) -> None:
    both, ms, hrms, pan = operators(mixed), random(3, *SMALL), random(3, *SHAPE), random(*SHAPE)
    for band in range(3):
        alone = operators(Sampling.uniform((4.0, 4.0), mixed.phases[band], (mixed.gains[band],)))
        torch.testing.assert_close(both.up(ms)[band], alone.up(ms[band : band + 1])[0])
        torch.testing.assert_close(both.down(hrms)[band], alone.down(hrms[band : band + 1])[0])
        torch.testing.assert_close(both.pan_down(pan)[band], alone.pan_down(pan)[0])


def test_up_adjoint(mixed: Sampling) -> None:
    ms, pan = random(3, *SMALL), random(*SHAPE)
    both = operators(mixed)
    left = (both.up(ms) * pan).sum((1, 2))
    right = (ms * both.up_adjoint(pan)).sum((1, 2))
    torch.testing.assert_close(left, right)


def test_down_is_differentiable(mixed: Sampling) -> None:
    hrms = random(3, *SHAPE).requires_grad_()
    operators(mixed).down(hrms).sum().backward()  # type: ignore[no-untyped-call]
    assert hrms.grad is not None
    assert float(hrms.grad.min()) >= 0
    assert float(hrms.grad.sum()) == pytest.approx(3 * SMALL[0] * SMALL[1])


def test_invalid_pixels_have_no_say(mixed: Sampling) -> None:
    hrms = random(3, *SHAPE)
    valid = torch.ones(1, *SHAPE, dtype=torch.bool)
    valid[0, 40:70, 30:50] = False
    spoiled = torch.where(valid, hrms, 1e9)
    torch.testing.assert_close(
        operators(mixed).down(spoiled, Validity(valid)), operators(mixed).down(hrms, Validity(valid))
    )
    constant = torch.where(valid, 7.0, torch.nan).expand(3, -1, -1).double()
    seen = operators(mixed).down(constant.nan_to_num(-9999.0), Validity(valid))
    inside = operators(mixed).weight(valid) > 0.3
    torch.testing.assert_close(seen[inside], torch.full_like(seen[inside], 7.0))


def test_low_pass_of_a_constant_with_a_hole_is_constant_wherever_it_is_valid(mixed: Sampling) -> None:
    pan = torch.full(SHAPE, 5.0, dtype=torch.float64)
    valid = torch.ones(SHAPE, dtype=torch.bool)
    valid[:50, :61] = False
    low = operators(mixed).low_pass(torch.where(valid, pan, 0), Validity(valid))
    torch.testing.assert_close(low[:, valid], torch.full_like(low[:, valid], 5.0))


def test_footprint_follows_the_nominal_phase(mixed: Sampling) -> None:
    ms_valid = random(1, *SMALL) > 0.5
    wanted = torch.from_numpy(np.kron(ms_valid[0].numpy(), np.ones((4, 4), bool)))
    assert torch.equal(operators(mixed).footprint(ms_valid)[0], wanted)
    assert operators(mixed).encloses_footprint
    beyond = Operators(mixed, whole(SHAPE), Box(Span(0, 30), Span(2, 24)))
    assert not beyond.encloses_footprint
    assert not bool(beyond.footprint(ms_valid[:, :, 2:])[0, :, :8].any())


def test_fill_leaves_valid_pixels_alone_and_goes_so_far() -> None:
    ms = random(2, 20, 20)
    valid = torch.zeros(2, 20, 20, dtype=torch.bool)
    valid[:, 8:12, 8:12] = True
    filled = fill_invalid(torch.where(valid, ms, -9999), valid, 3)
    assert torch.equal(filled[valid], ms[valid])
    assert float(filled[:, 5:15, 5:15].min()) >= float(ms[valid].min())
    assert float(filled[:, :5].abs().max()) == 0
