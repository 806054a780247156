from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from clippan_cli.errors import InputError
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.opening.options import SceneOptions
from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.data.surveyed_scenes import survey_scenes
from clippan_cli.training.data.tile_reader import held_tiles
from tests.training.conftest import CPU, Said, sites_of


def test_what_is_validated_on_is_not_learned_from(put: Callable[..., Path]) -> None:
    for i in range(5):
        place = put(f"{i}", size=40, seed=i)
    sites = sites_of(place)
    assert [site.held is not None for site in sites] == [False] * 4 + [True]
    assert [site.learned is not None for site in sites] == [True] * 4 + [False]


def test_a_strip_of_a_single_scene_is_kept_aside(put: Callable[..., Path]) -> None:
    (site,) = sites_of(put("a", size=60))
    assert site.learned is not None
    assert site.held is not None
    assert site.learned.rows.stop == site.held.rows.start
    said = Said()
    (small,) = sites_of(put("b", size=24).parent / "scenes" / "b", said)
    assert small.learned == small.held
    assert any("too small to keep a part of them aside" in line for line in said.lines)
    kept = held_tiles([site], 80, 3, CPU, said)
    assert all(ms_box.rows.start >= site.held.rows.start for tiles in kept for ms_box, _ in tiles.boxes)


def test_what_cannot_be_used_is_left_out(put: Callable[..., Path]) -> None:
    put("tiny", size=12)
    place = put("good", size=40)
    (place / "broken").mkdir()
    for name in ("ms.tif", "pan.tif"):
        (place / "broken" / name).write_bytes(b"no raster")
    said = Said()
    sites = sites_of(place, said)
    assert [site.files.name for site in sites] == ["good"]
    assert sum("is left out" in line for line in said.lines) == 2
    put("other", size=40, count=3)
    with pytest.raises(InputError, match="different numbers of bands: good: 4, other: 3"):
        sites_of(place)
    with pytest.raises(InputError, match="none of the 1 scenes can be used"):
        sites_of(place / "tiny")


def test_something_is_kept_aside_though_scenes_are_left_out(put: Callable[..., Path]) -> None:
    for i in range(4):
        place = put(f"{i}", size=40, seed=i)
    put("tiny", size=12)
    assert [site.held is not None for site in sites_of(place)] == [False] * 3 + [True]


def test_a_teacher_knows_the_scene_as_sharpening_does(put: Callable[..., Path]) -> None:
    place = str(put("a", size=60))
    methods = {name: method(name) for name in ("bdsd-pc", "gsa", DEFAULT)}
    (site,), (other,) = (
        survey_scenes([place], 80, chosen, SceneOptions(), Said()) for chosen in (methods, {DEFAULT: methods[DEFAULT]})
    )
    ((_, tile),) = held_tiles([site], 80, 1, CPU, Said())[0].singly()
    assert torch.equal(site.fitted[DEFAULT].fuse(tile), other.fitted[DEFAULT].fuse(tile))


def test_the_mixture_is_what_pan_is(tiles: Tiles) -> None:
    weights = tiles.sites[0].mixture
    assert float(weights[:-1].min()) >= 0
    assert float(weights[:-1].sum()) == pytest.approx(1, abs=0.05)
    assert float(weights[-1]) == pytest.approx(0, abs=0.02)


def test_constant_scenes_and_bands_are_borne(put: Callable[..., Path]) -> None:
    place = put("a", size=60)
    with rasterio.open(place / "a" / "ms.tif", "r+") as file:
        file.write(np.full((240 // 4, 240 // 4), 7, "uint16"), 2)
    (site,) = sites_of(place)
    assert float((site.high - site.low).min()) >= 0.04 * float((site.high - site.low).max())
    assert torch.isfinite(site.mixture).all()
