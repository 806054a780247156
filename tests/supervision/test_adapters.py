from __future__ import annotations

import torch

from clippan_cli.supervision.adapters import TYPES, Adapter, Adapters, FusionAdapter


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_weights_are_the_papers() -> None:
    assert count(Adapter(512, 0.2)) == 131_072
    assert count(FusionAdapter(512)) == 393_216
    whole = Adapters(512)
    assert count(whole) == 6 * 131_072 + 2 * 393_216
    assert set(whole.image) == set(whole.text) == set(TYPES)


def test_the_blend_keeps_most_of_an_image() -> None:
    x = torch.nn.functional.normalize(torch.randn(5, 64), dim=1)
    adapted = Adapter(64, 0.2)(x).detach()
    assert torch.allclose(adapted.norm(dim=1), torch.ones(5), atol=1e-6)
    assert float((adapted * x).sum(1).min()) > 0.8
    assert torch.allclose(Adapter(64, 0.0)(x), x, atol=1e-6)


def test_outputs_can_be_negative() -> None:
    made = FusionAdapter(64)(torch.randn(9, 64), torch.randn(9, 64)).detach()
    assert 0.3 < float((made < 0).float().mean()) < 0.7
