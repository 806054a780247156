from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from clippan_cli.errors import UsageError
from clippan_cli.supervision.forms import ADAPTERS, INPUTS, check_adapters, check_input
from clippan_cli.supervision.projector import Differences, Projector, linear_map

UNKNOWN = (torch.zeros(1), torch.eye(1))


def test_colours_by_wavelength() -> None:
    matrix, offset = linear_map("rgb", (950.0, 480.0, 660.0, 545.0), *UNKNOWN)
    assert matrix.argmax(1).tolist() == [2, 3, 1]
    assert not offset.any()
    assert linear_map("gbnir", (480.0, 560.0, 660.0, 850.0), *UNKNOWN)[0].argmax(1).tolist() == [1, 0, 3]


def test_colours_in_the_usual_order_where_nothing_is_known() -> None:
    assert linear_map("rgb", (None,) * 4, *UNKNOWN)[0].argmax(1).tolist() == [2, 1, 0]
    assert linear_map("rgb", (None,) * 8, *UNKNOWN)[0].argmax(1).tolist() == [4, 2, 1]
    with pytest.raises(UsageError, match="no bands for `ms_input=rgb`"):
        linear_map("rgb", (None,) * 5, *UNKNOWN)
    with pytest.raises(UsageError, match="unknown MS input"):
        linear_map("hsv", (None,) * 4, *UNKNOWN)


@pytest.mark.parametrize("bands", [1, 2, 3, 6])
def test_components_fill_the_range(bands: int) -> None:
    x = torch.randn(bands, 5000, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, bands + 1)[:, None]
    matrix, offset = linear_map("pca", (None,) * bands, x.mean(1), torch.cov(x).view(bands, bands))
    made = matrix @ x + offset[:, None]
    assert matrix.shape == (3, bands)
    assert torch.allclose(made.mean(1), torch.full((3,), 0.5), atol=1e-4)
    assert torch.allclose(made[: min(3, bands)].std(1), torch.full((min(3, bands),), 0.2), atol=1e-3)


def test_the_learned_part_begins_at_nothing_and_learns() -> None:
    base = linear_map("rgb", (None,) * 4, *UNKNOWN)
    learned, fixed = Projector("conv", *base), Projector("rgb", *base)
    x = torch.rand(2, 4, 16, 16)
    beside = torch.zeros(2, 4, 16, 16), torch.zeros(2, 1, 16, 16)
    assert learned(x, *beside).shape == (2, 1, 3, 16, 16)
    assert torch.equal(learned(x, *beside), fixed(x, *beside))
    assert not list(fixed.parameters())
    learned(x, *beside).square().sum().backward()
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in learned.parameters())
    assert float(learned(100 * x, *beside).detach().max()) <= 1
    assert learned.bands == fixed.bands == 4


def test_a_map_shows_neither_ms_nor_pan() -> None:
    made = Projector("rgb", *linear_map("rgb", (None,) * 4, *UNKNOWN))
    x, ms, pan = torch.rand(2, 4, 8, 8), torch.rand(2, 4, 8, 8), torch.rand(2, 1, 8, 8)
    assert torch.equal(made(x, ms, pan)[:, 0], x[:, [2, 1, 0]])
    assert torch.equal(made(x, x, 1 - pan), made(x, ms, pan))
    grey = made.show_pan(3 * pan - 1, ms)
    assert grey.shape == (2, 1, 3, 8, 8)
    assert all(torch.equal(grey[:, 0, i : i + 1], (3 * pan - 1).clamp(0, 1)) for i in range(3))


@pytest.mark.parametrize("bands", [1, 2, 4, 8])
def test_differences_show_each_band_by_itself(bands: int) -> None:
    made = Differences()
    x, ms, pan = (0.5 * torch.rand(2, count, 8, 8) for count in (bands, bands, 1))
    shown = made(x, ms, pan)
    assert shown.shape == (2, bands, 3, 8, 8)
    assert not list(made.state_dict())
    assert made.bands == 0
    for k in range(bands):
        assert torch.equal(shown[:, k : k + 1], made(x[:, k : k + 1], ms[:, k : k + 1], pan))
        assert torch.equal(shown[:, k, 0], x[:, k])
        torch.testing.assert_close(shown[:, k, 1], 2 * (x - ms)[:, k] + 0.5)
        torch.testing.assert_close(shown[:, k, 2], x[:, k] - pan[:, 0] + 0.5)
    order = torch.randperm(bands, generator=torch.Generator().manual_seed(0))
    assert torch.equal(made(x[:, order], ms[:, order], pan), shown[:, order])


def test_what_differences_cannot_tell_apart_is_grey() -> None:
    """MS has nothing beyond MS, and PAN nothing beyond PAN."""
    made, ms, pan = Differences(), torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)
    assert torch.equal(made(ms, ms, pan)[:, :, 1], torch.full((1, 3, 8, 8), 0.5))
    seen = made.show_pan(pan, ms)
    assert seen.shape == (1, 3, 3, 8, 8)
    assert torch.equal(seen[:, :, 2], torch.full((1, 3, 8, 8), 0.5))
    assert torch.equal(seen[:, :, 0], pan.expand(1, 3, 8, 8))
    for sign in (1, -1):
        far = made(sign * (1 + ms) * 100, -sign * ms, pan)
        assert torch.equal(far, torch.full_like(far, 2.0 if sign > 0 else -1.0))


@pytest.mark.parametrize(("check", "known"), [(check_input, INPUTS), (check_adapters, ADAPTERS)])
def test_forms_that_there_are(check: Callable[[str], None], known: tuple[str, ...]) -> None:
    for form in known:
        check(form)
    with pytest.raises(UsageError, match=r"unknown .* 'hsv'") as caught:
        check("hsv")
    assert caught.value.hint == "known: " + ", ".join(known)


def test_which_forms_there_are() -> None:
    assert INPUTS == ("differences", "conv", "pca", "rgb", "gbnir")
    assert ADAPTERS == ("shared", "six")
