from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from clippan_cli.supervision.adapters import TYPES, Adapter, Adapters, FusionAdapter


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_weights_are_the_papers() -> None:
    assert count(Adapter(512, 0.2)) == 131_072
    assert count(FusionAdapter(512)) == 393_216
    whole = Adapters(512, "six")
    assert count(whole) == 6 * 131_072 + 2 * 393_216
    assert set(whole.image) == set(whole.text) == set(TYPES)
    assert [whole.of_image(kind) for kind in TYPES] == list(whole.image.values())


def test_one_adapter_serves_all_images() -> None:
    shared = Adapters(512)
    assert shared.form == "shared"
    assert count(shared) == 4 * 131_072 + 2 * 393_216
    assert len({shared.of_image(kind) for kind in TYPES}) == 1
    assert set(shared.text) == set(TYPES)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@given(st.floats(1e-3, 1e4), st.integers(0, 1000))
def test_an_adapter_that_is_bounded_cannot_take_the_place_of_its_input(gain: float, seed: int) -> None:
    """However large its weights grow, what it adds has at most length 1, times the blend."""
    torch.manual_seed(seed)
    adapter = Adapter(16, 0.2, bounded=True).requires_grad_(requires_grad=False)
    for weight in adapter.parameters():
        weight.mul_(gain)
    x = unit(20, 16, seed=seed)
    assert float((adapter(x) * x).sum(1).min()) > math.sqrt(1 - 0.25**2) - 1e-4
    # So two images that are apart stay apart.
    one, other = unit(1, 16, seed=1), unit(1, 16, seed=2)
    assert float((adapter(one) - adapter(other)).norm()) > 0.5 * float((one - other).norm()) - 0.3


def test_an_adapter_without_a_bound_takes_the_place_of_its_input() -> None:
    torch.manual_seed(0)
    plain, bounded = Adapter(16, 0.2), Adapter(16, 0.2, bounded=True)
    bounded.load_state_dict(plain.state_dict())
    x = unit(20, 16)
    # As long as it adds little the bound is not felt.
    assert float(plain.layers(x).norm(dim=1).max().detach()) < 1
    torch.testing.assert_close(plain(x), bounded(x))
    with torch.no_grad():
        for adapter in (plain, bounded):
            for weight in adapter.parameters():
                weight.mul_(100)
        assert float((plain(x) * x).sum(1).mean()) < 0.3
        assert float((bounded(x) * x).sum(1).min()) > 0.9


def test_which_adapters_are_bounded() -> None:
    x = 50 * unit(4, 32)
    torch.manual_seed(0)
    for form, bounded in (("shared", True), ("six", False)):
        adapters = Adapters(32, form).requires_grad_(requires_grad=False)
        for kind in TYPES:
            for adapter in (adapters.of_image(kind), adapters.text[kind]):
                for weight in adapter.parameters():
                    weight.mul_(100)
                along = (adapter(F.normalize(x, dim=1)) * F.normalize(x, dim=1)).sum(1)
                assert bool((along > 0.9).all()) == bounded


def test_the_blend_keeps_most_of_an_image() -> None:
    x = torch.nn.functional.normalize(torch.randn(5, 64), dim=1)
    adapted = Adapter(64, 0.2)(x).detach()
    assert torch.allclose(adapted.norm(dim=1), torch.ones(5), atol=1e-6)
    assert float((adapted * x).sum(1).min()) > 0.8
    assert torch.allclose(Adapter(64, 0.0)(x), x, atol=1e-6)


def test_outputs_can_be_negative() -> None:
    made = FusionAdapter(64)(torch.randn(9, 64), torch.randn(9, 64)).detach()
    assert 0.3 < float((made < 0).float().mean()) < 0.7
