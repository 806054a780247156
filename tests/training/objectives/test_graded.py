from __future__ import annotations

import pytest
import torch

from clippan_cli.modelstore.model import find_model
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.objectives.graded import Crops, Graded, crop, grade
from tests.training.conftest import source


@pytest.fixture(scope="module")
def places() -> list[Graded]:
    return grade([(1.0, [source(3), source(4)])], find_model("injector-4").load(), Draw(1))


@pytest.fixture
def crops(places: list[Graded]) -> Crops:
    return crop(places, 48, 14, 2, Draw(2))


def test_a_place_is_seen_well_and_badly(places: list[Graded]) -> None:
    assert len(places) == 4
    for place in places:
        assert len(place.images) == len(place.damages) == 14
        assert place.damages[:5] == (None,) * 5
        assert all(place.damages[5:])
        assert place.images.dtype == torch.float16
        assert bool(torch.isfinite(place.images).all())


def test_the_truth_has_no_error_and_ms_is_far(crops: Crops) -> None:
    errors = crops.errors()
    assert bool((errors[crops.places.diff(prepend=torch.tensor([-1])) != 0] == 0).all())
    by_kind = [errors[crops.kinds == kind] for kind in range(4)]
    assert float(by_kind[0].mean()) > 2 * float(by_kind[2].mean())
    assert float(by_kind[3].mean()) > float(by_kind[2].mean())


def test_shapes_and_captions(crops: Crops) -> None:
    assert crops.images.shape == crops.truth.shape == crops.ms.shape == (56, 2, 48, 48)
    assert crops.pan.shape == (56, 1, 48, 48)
    assert len(crops.captions) == 56
    assert torch.equal(crops.alike, crops.alike.T)
    assert bool(crops.alike.diagonal().all())
    assert set(crops.kinds.tolist()) <= {-1, 0, 1, 2, 3}


def test_a_crop_repeats(places: list[Graded]) -> None:
    first, again = (crop(places, 48, 5, 2, Draw(7)) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert first.captions == again.captions


def test_some_are_picked(crops: Crops) -> None:
    which = torch.tensor([3, 1])
    picked = crops.pick(which)
    assert torch.equal(picked.images, crops.images[which])
    assert picked.captions == (crops.captions[3], crops.captions[1])
    assert torch.equal(picked.errors(), crops.errors()[which])


def test_other_light_changes_no_error(places: list[Graded]) -> None:
    """The error is a share of the contrast, however bright a crop is shown."""
    crops = [crop(places[:1], 48, 14, 4, Draw(seed)) for seed in range(3)]
    spread = torch.stack([each.errors().max() for each in crops])
    assert float(spread.max() / spread.min()) < 5
