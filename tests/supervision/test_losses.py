from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from clippan_cli.supervision.losses import alignment_loss, directional_loss, scene_loss, type_loss


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_type_loss_is_a_classification() -> None:
    images, texts = unit(6, 16), unit(3, 16, seed=1)
    types = torch.tensor([0, 1, 2, 0, 1, 2])
    plain = 0.0
    for image, kind in zip(images, types.tolist(), strict=True):
        scores = [math.exp(float(image @ text) / 0.07) for text in texts]
        plain -= math.log(scores[kind] / sum(scores)) / len(images)
    assert float(type_loss(images, types, texts)) == pytest.approx(plain, rel=1e-4)
    assert float(type_loss(unit(3000, 512), torch.arange(3000) % 3, unit(3, 512, seed=2))) == pytest.approx(
        math.log(3), abs=0.35
    )


def test_type_loss_is_not_the_papers_constant() -> None:
    images = unit(8, 16).requires_grad_()
    texts = unit(1, 16, seed=1).expand(8, -1)
    # Read literally, eq. 2 compares N images with N times the same text.
    literal = F.cross_entropy(images @ texts.T / 0.07, torch.arange(8))
    (flat,) = torch.autograd.grad(literal, images)
    assert float(literal.detach()) == pytest.approx(math.log(8), abs=1e-4)
    assert float(flat.abs().max()) < 1e-5
    loss = type_loss(images, torch.arange(8) % 3, unit(3, 16, seed=2))
    (ours,) = torch.autograd.grad(loss, images)
    assert float(ours.abs().max()) > 1e-3


def test_scene_loss_against_loops() -> None:
    images, scenes = unit(9, 8), torch.arange(3).repeat(3)
    plain = []
    for a in range(9):
        others = [k for k in range(9) if k != a]
        total = sum(math.exp(float(images[a] @ images[k]) / 0.1) for k in others)
        mine = [k for k in others if scenes[k] == scenes[a]]
        plain.append(-sum(math.log(math.exp(float(images[a] @ images[p]) / 0.1) / total) for p in mine) / len(mine))
    assert float(scene_loss(images, scenes, 0.1)) == pytest.approx(sum(plain) / 9, rel=1e-4)


def test_what_overlaps_is_no_negative() -> None:
    images, scenes = unit(9, 8), torch.arange(3).repeat(3)
    alike = torch.eye(3, dtype=torch.bool)
    alike[0, 1] = alike[1, 0] = True
    plain = []
    for a in range(9):
        others = [k for k in range(9) if k != a and (scenes[k] == scenes[a] or not alike[scenes[a], scenes[k]])]
        total = sum(math.exp(float(images[a] @ images[k]) / 0.1) for k in others)
        mine = [k for k in others if scenes[k] == scenes[a]]
        plain.append(-sum(math.log(math.exp(float(images[a] @ images[p]) / 0.1) / total) for p in mine) / len(mine))
    assert float(scene_loss(images, scenes, 0.1, alike.repeat(3, 3))) == pytest.approx(sum(plain) / 9, rel=1e-4)


def test_scene_loss_pulls_one_place_together() -> None:
    scenes = torch.arange(4).repeat(3)
    together = torch.eye(4, 8).repeat(3, 1)
    assert float(scene_loss(together, scenes)) < 0.8 < float(scene_loss(unit(12, 8), scenes))
    images = unit(12, 8).requires_grad_()
    before = scene_loss(images, scenes)
    (gradient,) = torch.autograd.grad(before, images)
    moved = F.normalize(images - 0.05 * gradient, dim=1).detach()
    same = scenes[:, None] == scenes[None]
    assert float(scene_loss(moved, scenes)) < float(before.detach())
    assert float((moved @ moved.T)[same].mean()) > float((images @ images.T).detach()[same].mean())


def test_scene_loss_of_places_that_are_alone_is_nothing() -> None:
    images = unit(3, 8).requires_grad_()
    loss = scene_loss(images, torch.arange(3))
    assert float(loss.detach()) == 0
    torch.autograd.backward(loss)


def test_alignment() -> None:
    x, y = unit(3, 8), unit(3, 8, seed=1)
    assert float(alignment_loss(x, x)) == 0
    assert float(alignment_loss(x, y)) == pytest.approx(float((x - y).abs().sum() / 24))


def test_directional_loss_against_loops() -> None:
    fused, sources, directions = unit(4, 16), unit(2, 4, 16, seed=1), torch.randn(2, 16)
    for b, found in enumerate(directional_loss(fused, sources, directions).tolist()):
        terms = [1 - float(F.cosine_similarity(fused[b] - sources[s, b], directions[s], dim=0)) for s in (0, 1)]
        assert found == pytest.approx(sum(terms) / 2, abs=1e-5)


def test_directional_loss_asks_for_the_direction_only() -> None:
    source, direction = unit(1, 3, 16), torch.randn(1, 16)
    right = source[0] + 0.3 * F.normalize(direction, dim=1)
    assert directional_loss(right, source, direction).max() < 1e-5
    assert torch.allclose(
        directional_loss(unit(3, 16, seed=4), source, direction),
        directional_loss(unit(3, 16, seed=4), source, 40 * direction),
        atol=1e-6,
    )


def test_directional_loss_of_what_did_not_move() -> None:
    source = unit(1, 3, 16)
    fused = source[0].clone().requires_grad_()
    loss = directional_loss(fused, source, torch.randn(1, 16))
    assert loss.tolist() == [1, 1, 1]
    (gradient,) = torch.autograd.grad(loss.sum(), fused)
    assert not gradient.any()
    assert torch.isfinite(gradient).all()
