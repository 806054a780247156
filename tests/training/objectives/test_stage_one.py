from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.errors import UsageError
from clippan_cli.fusion.registry import method
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.adapters import TYPES
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Projector
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.surveyed_scenes import Site, survey_scenes
from clippan_cli.training.data.tile_reader import held_tiles
from clippan_cli.training.objectives import stage_one
from clippan_cli.training.objectives.stage_one import LOSSES, Adapting
from clippan_cli.training.objectives.weights import choose_weights
from tests.training.conftest import CPU, Put, Said, stream_of


def test_every_distortion_is_one() -> None:
    good, soft = torch.rand(4, 32, 32), torch.full((4, 32, 32), 0.5)
    seen = [stage_one.distort(good, soft, Draw(i)) for i in range(12)]
    assert all(float((bad - good).abs().mean()) > 0.01 for bad in seen)


def test_weights_of_losses() -> None:
    known = {"a": 1.0, "b": 2.0}
    assert choose_weights({}, known) == known
    assert choose_weights({"b": 0.5}, known) == {"a": 1.0, "b": 0.5}
    assert list(choose_weights({"b": 0.0, "a": 3.0}, known)) == ["a", "b"]
    with pytest.raises(UsageError, match="unknown loss 'c'") as caught:
        choose_weights({"d": 1.0, "c": 1.0, "a": 2.0}, known)
    assert caught.value.hint == "known: a, b"
    with pytest.raises(UsageError, match="all losses are switched off"):
        choose_weights({"a": 0.0, "b": 0.0}, known)
    assert known == {"a": 1.0, "b": 2.0}


class Way(Draw):
    """Chooses the way itself; the rest is drawn."""

    def __init__(self, way: int, seed: int = 0) -> None:
        super().__init__(seed)
        self._ways = [way]

    def below(self, count: int) -> int:
        return self._ways.pop() if self._ways else super().below(count)


@pytest.fixture
def fused() -> tuple[Tensor, Tensor]:
    """A sharp image with a fine texture, and what interpolation makes of it."""
    generator = torch.Generator().manual_seed(0)
    soft = F.interpolate(torch.rand(1, 3, 8, 8, generator=generator), (32, 32), mode="bicubic")[0]
    return soft + 0.2 * torch.randn(1, 32, 32, generator=generator), soft


def fine(x: Tensor) -> float:
    """Contrast from pixel to pixel."""
    return float(x.diff(dim=-1).std())


@pytest.mark.parametrize("way", range(5))
def test_each_way_to_fail(fused: tuple[Tensor, Tensor], way: int) -> None:
    good, plain = fused
    before = good.clone()
    bad, again = (stage_one.distort(good, plain, Way(way, 5)) for _ in range(2))
    assert bad.shape == good.shape
    assert torch.equal(bad, again)
    assert torch.equal(good, before)
    assert bool(torch.isfinite(bad).all())
    assert float((bad - good).abs().mean()) > 0.02


def test_a_blurred_one_is_softer_and_as_bright(fused: tuple[Tensor, Tensor]) -> None:
    bad = stage_one.distort(*fused, Way(0))
    assert fine(bad) < 0.4 * fine(fused[0])
    torch.testing.assert_close(bad.mean((1, 2)), fused[0].mean((1, 2)), atol=0.02, rtol=0)


def test_a_sharpened_one_is_too_sharp_and_as_bright(fused: tuple[Tensor, Tensor]) -> None:
    bad = stage_one.distort(*fused, Way(1))
    assert 1.7 * fine(fused[0]) < fine(bad) < 3.1 * fine(fused[0])
    torch.testing.assert_close(bad.mean((1, 2)), fused[0].mean((1, 2)), atol=0.03, rtol=0)


def test_wrong_colours_are_wrong_evenly(fused: tuple[Tensor, Tensor]) -> None:
    gains = stage_one.distort(*fused, Way(2)) / fused[0]
    torch.testing.assert_close(gains, gains[:, :1, :1].expand_as(gains), rtol=1e-3, atol=0)
    assert len({round(float(gain), 4) for gain in gains[:, 0, 0]}) == 3
    assert float(gains.min()) > 0


def test_a_noisy_one_has_noise_in_proportion_to_each_band(fused: tuple[Tensor, Tensor]) -> None:
    good, plain = fused[0] * torch.tensor([1.0, 5.0, 0.2])[:, None, None], fused[1]
    for seed in range(6):
        noise = stage_one.distort(good, plain, Way(3, seed)) - good
        shares = noise.std((1, 2)) / good.std((1, 2))
        assert 0.08 < float(shares.min()) <= float(shares.max()) < 0.55
        assert float(shares.max() / shares.min()) < 1.2
        assert float(torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max()) < 0.15


def test_detail_in_wrong_places_keeps_the_colours(fused: tuple[Tensor, Tensor]) -> None:
    good, plain = fused
    for seed in range(6):
        bad = stage_one.distort(good, plain, Way(4, seed))
        torch.testing.assert_close(bad.mean((1, 2)), good.mean((1, 2)))
        # It is moved by 2 to 5 pixels along both axes.
        moves = [
            (row, col)
            for row in (-5, -4, -3, -2, 2, 3, 4, 5)
            for col in (-5, -4, -3, -2, 2, 3, 4, 5)
            if torch.allclose(bad, plain + (good - plain).roll((row, col), (1, 2)))
        ]
        assert len(moves) == 1


@pytest.fixture
def sites(put: Put) -> list[Site]:
    methods = {"bdsd-pc": method("bdsd-pc")}
    return survey_scenes([str(put("a", size=60))], 64, methods, SceneOptions(), Said())


@pytest.fixture(scope="module")
def encoder(tiny_clip: str) -> Encoder:
    return Encoder(tiny_clip)


def adapting(sites: list[Site], weights: dict[str, float], seed: int = 0) -> Adapting:
    stream = stream_of(sites, batch=3)
    held = held_tiles(sites, 3, CPU, Said())
    return Adapting(stream, held, weights, (0.07, 0.07), seed)


@pytest.fixture
def net(sites: list[Site], encoder: Encoder) -> Supervisor:
    torch.manual_seed(0)
    return Supervisor(encoder, Projector("conv", *sites[0].channels("conv")), read_prompts(), sites[0].wavelengths)


def test_a_lesson_repeats_and_fits_to_its_ms(sites: list[Site]) -> None:
    task = adapting(sites, dict(LOSSES))
    first, again, other = task.draw(2, 3), task.draw(2, 3), adapting(sites, dict(LOSSES), 1).draw(2, 3)
    assert torch.equal(first.hrms, again.hrms)
    assert torch.equal(first.distorted, again.distorted)
    assert torch.equal(first.hrms, other.hrms)
    assert not torch.equal(first.distorted, other.distorted)
    assert first.hrms.shape == first.distorted.shape == first.tiles.ms_up.shape
    seen = first.tiles.operators.down(first.hrms.flatten(0, 1)).view_as(first.tiles.ms)
    assert float((seen - first.tiles.ms)[..., 4:-4, 4:-4].std()) < 0.03 * float(first.tiles.ms.std())
    assert not first.hrms.requires_grad
    assert task.where(first) == first.tiles.where


@pytest.mark.parametrize("kept", [("type",), ("scene",), ("fusion",), ("type", "scene", "fusion")])
def test_only_what_has_a_weight_is_asked(sites: list[Site], net: Supervisor, kept: tuple[str, ...]) -> None:
    task = adapting(sites, {name: weight * (name in kept) for name, weight in LOSSES.items()})
    assert task.terms == kept
    found = task.losses(net, task.draw(0, 3))
    assert tuple(found) == kept
    for name, value in found.items():
        assert value.shape == ()
        assert float(value.detach()) >= 0
        assert value.requires_grad, name
    assert task.weights(0) == task.weights(1)


def test_clip_is_never_moved(sites: list[Site], net: Supervisor) -> None:
    task = adapting(sites, dict(LOSSES))
    torch.autograd.backward(torch.stack(list(task.losses(net, task.draw(0, 2)).values())).sum())
    assert all(weight.grad is None for weight in net.encoder.parameters())
    grown = [name for name, weight in net.named_parameters() if weight.grad is not None]
    assert any(name.startswith("adapters.") for name in grown)
    assert not any("encoder" in name for name in grown)


def test_what_is_validated(sites: list[Site], net: Supervisor) -> None:
    task = adapting(sites, dict(LOSSES))
    with torch.no_grad():
        first, again = task.validate(net), task.validate(net)
    assert first == again
    assert tuple(first) == task.checks
    assert task.checks == (
        "accuracy_ms", "accuracy_pan", "accuracy_hrms", "accuracy_distorted", "swapped", "noise", "retrieval", "cosine"
    )  # fmt: skip
    assert all(0 <= value <= 1 for name, value in first.items() if name != "cosine")
    assert -1 <= first["cosine"] <= 1
    assert task.skipped == 0
    assert not task.ranks


def blinded(sites: list[Site], encoder: Encoder, adapters: str) -> Supervisor:
    """A supervisor whose adapters of images, where there are three, give back the text of their type."""
    torch.manual_seed(0)
    projector = Projector("conv", *sites[0].channels("conv"))
    made = Supervisor(encoder, projector, read_prompts(), sites[0].wavelengths, adapters=adapters)
    if adapters == "six":
        for kind, adapter in made.adapters.image.items():
            adapter.forward = partial(says, made.texts().detach()[TYPES.index(kind)])
    return made


def says(text: Tensor, features: Tensor) -> Tensor:
    return text.expand_as(features)


def test_an_adapter_that_gives_the_type_away_is_found_out(sites: list[Site], encoder: Encoder) -> None:
    """It recognises all, through another's all are taken for that other, and noise is whatever is asked."""
    task = adapting(sites, dict(LOSSES))
    with torch.no_grad():
        found = task.validate(blinded(sites, encoder, "six"))
    assert [found[f"accuracy_{name}"] for name in ("ms", "pan", "hrms", "distorted")] == [1, 1, 1, 0]
    assert (found["swapped"], found["noise"]) == (0, 1)


def test_a_shared_adapter_gives_nothing_away(sites: list[Site], encoder: Encoder) -> None:
    task = adapting(sites, dict(LOSSES))
    with torch.no_grad():
        found = task.validate(blinded(sites, encoder, "shared"))
    plain = [found[f"accuracy_{name}"] for name in ("ms", "pan", "hrms", "distorted")]
    assert found["swapped"] == pytest.approx(sum(plain) / 4)
    # Noise is one kind, whichever is asked.
    assert found["noise"] in (0, pytest.approx(1 / 3))


def test_what_is_found_again() -> None:
    places = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert stage_one._retrieval(places, places) == 1
    assert stage_one._retrieval(places, places.roll(1, 0)) == 0
    assert stage_one._retrieval(places, places[[0, 2, 1, 3, 4]]) == pytest.approx(0.6)
