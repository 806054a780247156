from __future__ import annotations

import pytest
import torch

from clippan_cli.training.data.damages import WAYS, Damage, Fusion, spoil
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.procedural import procedural


@pytest.fixture(scope="module")
def fusion() -> Fusion:
    image = procedural(4, 96, Draw(3))
    ms_up = torch.nn.functional.avg_pool2d(image[None], 5, 1, 2)[0]
    return Fusion(image=image, ms_up=ms_up, pan=image.mean(0), deviation=image.std((1, 2), keepdim=True), ratio=4.0)


def distance(image: torch.Tensor, fusion: Fusion) -> float:
    return float(((image - fusion.image) / fusion.deviation)[:, 8:-8, 8:-8].square().mean().sqrt())


@pytest.mark.parametrize("way", WAYS)
def test_the_more_the_worse(fusion: Fusion, way: str) -> None:
    least, most, apply = WAYS[way]
    amounts = [least, (least * most) ** 0.5, most]
    far = [distance(apply(fusion, amount, Draw(1)), fusion) for amount in amounts]
    assert far == sorted(far)
    assert far[0] < far[-1]
    assert far[-1] > 0.02


@pytest.mark.parametrize("way", WAYS)
def test_a_damage_keeps_the_shape_and_repeats(fusion: Fusion, way: str) -> None:
    first, again = (WAYS[way][2](fusion, WAYS[way][1], Draw(5)) for _ in range(2))
    assert first.shape == fusion.image.shape
    assert torch.equal(first, again)
    assert bool(torch.isfinite(first).all())


def test_every_way_is_drawn_within_its_bounds(fusion: Fusion) -> None:
    seen = set()
    for seed in range(120):
        _, damage = spoil(fusion, Draw(seed))
        least, most, _ = WAYS[damage.way]
        assert least <= damage.amount <= most
        assert damage.share == pytest.approx(damage.amount / most)
        seen.add(damage.way)
    assert seen == set(WAYS)


def test_colours_change_and_details_stay(fusion: Fusion) -> None:
    changed = WAYS["colours"][2](fusion, 0.3, Draw(2))
    factor = changed / fusion.image
    assert torch.allclose(factor, factor.mean((1, 2), keepdim=True), rtol=1e-4)


def test_what_anybody_would_see_is_clear() -> None:
    assert Damage("blur", 2.0, 0.8).clear
    assert not Damage("blur", 0.35, 0.14).clear
