from __future__ import annotations

from typing import Any

import pytest
import torch

from clippan_cli.errors import UsageError
from clippan_cli.networks import pan_mamba
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import NETWORKS, network

SMALL: dict[str, dict[str, Any]] = {
    "pnn": {"widths": (8, 6)},
    "lambda-pnn": {"width": 8},
    "arbrpn": {"width": 8, "cycles": 2, "blocks": 1},
    "lformer": {"width": 8, "stages": 2},
    "pan-mamba": {"width": 8, "depth": 1, "crossings": 1},
}
"""Settings that keep the tests quick."""


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 8 pixels instead of 32: the same code, a sixteenth of the time."""
    monkeypatch.setattr(pan_mamba, "WINDOW", 8)
    monkeypatch.setattr(pan_mamba.PanMamba, "multiple", 8)


def image(bands: int, side: int = 96, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(1, bands, side, side, generator=random), torch.rand(1, 1, side, side, generator=random)


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
    ],
)
def test_original_widths(name: str, bands: int, weights: int) -> None:
    assert sum(weight.numel() for weight in network(name, bands).parameters()) == weights


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bands", [1, 3, 4, 8])
def test_untrained_is_interpolation(name: str, bands: int) -> None:
    ms_up, pan = image(bands, 32)
    torch.testing.assert_close(network(name, bands, **SMALL[name])(ms_up, pan), ms_up)


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
        whole = made(ms_up, pan)
        cut = slice(at.start - halo, at.stop + halo)
        tile = made(ms_up[..., cut, cut], pan[..., cut, cut])
    torch.testing.assert_close(tile[..., halo : halo + 8, halo : halo + 8], whole[..., at, at], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_receptive_field_is_as_small_as_it_says(name: str) -> None:
    """A pixel just inside the stated reach matters, none beyond does."""
    made = woken(name, 2).double()
    reach = made.receptive_field(2)
    assert reach is not None
    side = 2 * reach + 9
    ms_up, pan = (x.double() for x in image(2, side))
    pan.requires_grad_()
    (gradient,) = torch.autograd.grad(made(ms_up, pan)[..., side // 2, side // 2].sum(), pan)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    farthest = int((rows - side // 2).abs().max())
    assert farthest <= reach
    assert farthest >= reach // 2


@pytest.mark.parametrize(
    ("name", "setting"), [("lambda-pnn", {"pooling": "global"}), ("pan-mamba", {"scope": "image"})]
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
    made = woken("arbrpn", 4)
    assert made.any_bands
    for bands in (1, 3, 11):
        assert made(*image(bands, 24)).shape == (1, bands, 24, 24)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_weights_learn(name: str) -> None:
    made = woken(name, 3).train()
    ms_up, pan = image(3, 40)
    made(ms_up, pan).square().mean().backward()
    for label, weight in made.named_parameters():
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
