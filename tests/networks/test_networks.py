from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from clippan_cli.errors import UsageError
from clippan_cli.networks import pan_mamba, ship
from clippan_cli.networks.network import Context, Network, Trait
from clippan_cli.networks.registry import NETWORKS, network

SMALL: dict[str, dict[str, Any]] = {
    "pnn": {"widths": (8, 6)},
    "lambda-pnn": {"width": 8},
    "arbrpn": {"width": 8, "cycles": 2, "blocks": 1},
    "lformer": {"width": 8, "stages": 2},
    "pan-mamba": {"width": 8, "depth": 1, "crossings": 1},
    "ship": {"width": 8, "depth": 1},
    "injector": {"width": 8, "blocks": 1},
    "refined": {"width": 8, "blocks": 1},
}
"""Settings that keep the tests quick."""


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 8 pixels instead of 32: the same code, a sixteenth of the time."""
    for module, made in ((pan_mamba, pan_mamba.PanMamba), (ship, ship.Ship)):
        monkeypatch.setattr(module, "WINDOW", 8)
        monkeypatch.setattr(made, "multiple", 8)


def image(bands: int, side: int = 96, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(1, bands, side, side, generator=random), torch.rand(1, 1, side, side, generator=random)


def context(ms_up: torch.Tensor, pan: torch.Tensor, ratio: float = 4.0) -> Context:
    """A scene that the image is a part of: its numbers do not depend on the part."""
    batch, bands = ms_up.shape[:2]
    one = torch.linspace(0.8, 1.2, bands).to(ms_up).expand(batch, bands)
    pan_one = torch.ones(batch, 1).to(ms_up)
    traits = torch.linspace(-1, 1, len(Trait)).to(ms_up).expand(batch, bands, -1)
    return Context(
        pan_low=torch.full_like(pan, 0.5),
        mean=0.5 * one,
        deviation=0.3 * one,
        pan_mean=0.5 * pan_one,
        pan_deviation=0.3 * pan_one,
        traits=traits,
        ratio=ratio,
    )


def fused(made: Network, ms_up: torch.Tensor, pan: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = made(ms_up, pan, context(ms_up, pan) if made.needs_context else None)
    return out


def woken(name: str, bands: int, **settings: Any) -> Network:
    """As after some training: the last layer is no longer zero."""
    torch.manual_seed(0)
    made = network(name, bands, **(SMALL[name] | settings)).eval()
    for weight in made.parameters():
        if not bool(weight.any()):
            torch.nn.init.normal_(weight, std=0.1)
    return made


# The weights of the papers' sizes; PNN's are 68,900 and 87,656 with two radiometric indices as further inputs, which
# cost 2 · 9 · 9 · 48 weights and are left out here.
@pytest.mark.parametrize(
    ("name", "bands", "weights"),
    [
        ("pnn", 4, 68_900 - 7_776),
        ("pnn", 8, 87_656 - 7_776),
        ("lambda-pnn", 4, 198_442),
        ("lambda-pnn", 8, 207_150),
        ("lformer", 4, 1_787_024),
        ("lformer", 8, 1_788_356),
        ("pan-mamba", 4, 478_444),
        ("arbrpn", 4, 2_341_057),
        ("arbrpn", 8, 2_341_057),
        ("ship", 8, 200_416),
    ],
)
def test_original_widths(name: str, bands: int, weights: int) -> None:
    assert sum(weight.numel() for weight in network(name, bands).parameters()) == weights


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bands", [1, 3, 4, 8])
def test_untrained_is_interpolation(name: str, bands: int) -> None:
    ms_up, pan = image(bands, 32)
    torch.testing.assert_close(fused(network(name, bands, **SMALL[name]), ms_up, pan), ms_up)


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_what_the_whole_gives(name: str) -> None:
    made = woken(name, 2)
    reach = made.receptive_field(2)
    assert made.tile_safe
    assert reach is not None
    halo = -(-reach // made.multiple) * made.multiple
    at = slice(halo + made.multiple, halo + made.multiple + 8)
    ms_up, pan = image(2, 2 * halo + 2 * made.multiple + 32)
    with torch.inference_mode():
        whole = fused(made, ms_up, pan)
        cut = slice(at.start - halo, at.stop + halo)
        tile = fused(made, ms_up[..., cut, cut], pan[..., cut, cut])
    torch.testing.assert_close(tile[..., halo : halo + 8, halo : halo + 8], whole[..., at, at], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_half_the_precision_is_near(name: str) -> None:
    """As a GPU trains it."""
    made, (ms_up, pan) = woken(name, 2), image(2, 32)
    with torch.inference_mode():
        whole = fused(made, ms_up, pan)
        with torch.autocast("cpu", torch.bfloat16):
            half = fused(made, ms_up, pan).float()
    detail = whole - ms_up
    assert float((half - whole).std()) < 0.1 * float(detail.std())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_receptive_field_is_as_small_as_it_says(name: str) -> None:
    """A pixel just inside the stated reach matters, none beyond does."""
    made = woken(name, 2).double()
    reach = made.receptive_field(2)
    assert reach is not None
    side = 2 * reach + 9
    ms_up, pan = (x.double() for x in image(2, side))
    pan.requires_grad_()
    (gradient,) = torch.autograd.grad(fused(made, ms_up, pan)[..., side // 2, side // 2].sum(), pan)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    farthest = int((rows - side // 2).abs().max())
    assert farthest <= reach
    assert farthest >= reach // 2


@pytest.mark.parametrize(
    ("name", "setting"),
    [("lambda-pnn", {"pooling": "global"}), ("pan-mamba", {"scope": "image"}), ("ship", {"scope": "image"})],
)
def test_the_papers_form_is_not_tile_safe(name: str, setting: dict[str, str]) -> None:
    made = woken(name, 2, **setting)
    assert not made.tile_safe
    assert made.receptive_field(2) is None
    ms_up, pan = image(2)
    corner = (..., slice(32), slice(32))
    with torch.inference_mode():
        whole, tile = made(ms_up, pan)[corner], made(ms_up[..., :48, :48], pan[..., :48, :48])[corner]
    assert float((whole - tile).abs().max()) > 1e-4


def test_one_set_of_weights_for_any_number_of_bands() -> None:
    for name in ("arbrpn", "injector"):
        made = woken(name, 4)
        assert made.any_bands
        for bands in (1, 3, 11):
            assert fused(made, *image(bands, 24)).shape == (1, bands, 24, 24)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.015, 6.0])
def test_the_injector_follows_any_scale_exactly(ratio: float) -> None:
    """A power of two changes no digit, so neither may the result."""
    made = woken("injector", 3)
    ms_up, pan = image(3, 50)
    known = context(ms_up, pan, ratio)
    units = ("pan_low", "mean", "deviation", "pan_mean", "pan_deviation")
    brighter = replace(known, **{name: 4 * getattr(known, name) for name in units})
    with torch.inference_mode():
        assert torch.equal(made(4 * ms_up, 4 * pan, brighter), 4 * made(ms_up, pan, known))


def test_the_injector_treats_bands_alike() -> None:
    made = woken("injector", 3)
    ms_up, pan = image(3, 48)
    known, order = context(ms_up, pan), [2, 0, 1]
    turned = replace(known, mean=known.mean[:, order], deviation=known.deviation[:, order])
    with torch.inference_mode():
        torch.testing.assert_close(made(ms_up[:, order], pan, turned), made(ms_up, pan, known)[:, order])


def test_flat_ground_gets_no_detail() -> None:
    """Where MS and PAN are constant there is nothing to inject: no noise, no division by nothing."""
    made = woken("injector", 2)
    ms_up, pan = torch.full((1, 2, 40, 40), 0.5), torch.full((1, 1, 40, 40), 0.5)
    with torch.inference_mode():
        out = made(ms_up, pan, context(ms_up, pan))
    assert bool(torch.isfinite(out).all())
    assert float((out - ms_up).abs().max()) < 0.02


@pytest.mark.parametrize("name", NETWORKS)
def test_all_weights_learn(name: str) -> None:
    made = woken(name, 3).train()
    ms_up, pan = image(3, 40)
    torch.autograd.backward(fused(made, ms_up, pan).square().mean())
    # Heads of another ratio; what a softmax does not see, for all its inputs have it in common; PAN after its last use.
    other = ("pan.2.", "head.2.", "basis.2.")
    idle = {"injector": other, "refined": other, "ship": ("interactions.2.pan.",)}.get(name, ())
    for label, weight in made.named_parameters():
        if label.startswith(idle) or (".evolve." in label and label.endswith("bias")):
            continue
        assert weight.grad is not None, label
        assert bool(torch.isfinite(weight.grad).all()), label
        assert float(weight.grad.abs().sum()) > 0, label


def test_unknown_names_and_settings() -> None:
    with pytest.raises(UsageError, match="unknown network 'resnet'"):
        network("resnet", 4)
    with pytest.raises(UsageError, match="depth"):
        network("pnn", 4, depth=3)
    with pytest.raises(UsageError, match="pooling is local or global"):
        network("lambda-pnn", 4, pooling="some")
    with pytest.raises(UsageError, match="scope is window or image"):
        network("pan-mamba", 4, scope="some")
    with pytest.raises(UsageError, match="multiple of 8, got 12"):
        network("lformer", 4, width=12)
