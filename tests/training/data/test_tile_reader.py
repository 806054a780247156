from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError
from clippan_cli.training.data.full_tiles import RawTile
from clippan_cli.training.data.surveyed_scenes import Geometry
from clippan_cli.training.data.tile_reader import TileReader, TileStream, _pan_box, held_tiles
from clippan_cli.training.loop.distributed import Group
from tests.training.conftest import CPU, Said, sites_of, stream_of


def test_large_seeds(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=60))
    first, other = (
        stream_of(sites, batch=2, seed=seed, workers=0, group=Group(), hears=Said())(9, 2).pan
        for seed in (2**31, 20_261_121)
    )
    assert not torch.equal(first, other)


def test_tiles_repeat_whoever_reads_them(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=60))

    def stream(workers: int, group: Group) -> TileStream:
        return stream_of(sites, batch=4, seed=1, workers=workers, group=group, hears=Said())

    alone, others = stream(0, Group()), stream(2, Group())
    first = [alone(i, 4) for i in range(3)]
    for i in range(3):
        assert torch.equal(others(i, 4).pan, first[i].pan)
    assert torch.equal(stream(0, Group())(2, 4).pan, first[2].pan)
    assert not torch.equal(first[0].pan, first[1].pan)
    # Two processes share what one has, and short memory takes the first of them.
    halves = [stream(0, Group(rank, 2))(1, 4).pan for rank in (0, 1)]
    assert torch.equal(torch.cat(halves)[[0, 2, 1, 3]], first[1].pan)
    assert torch.equal(alone(2, 2).pan, first[2].pan[:2])


def test_invalid_pixels_never_enter(put: Callable[..., Path]) -> None:
    valid = np.ones((60, 60), bool)
    valid[:25, :30] = False
    sites = sites_of(put("a", size=60, valid=valid, nodata=0))
    reader = TileReader(sites, 80, 0)
    for number in range(12):
        raw = reader[number, 0]
        assert isinstance(raw, RawTile)
        assert float(raw.ms.min()) > 0
        assert float(raw.pan.min()) > 0


def test_tiles_that_are_validated_on_do_not_overlap(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=120))
    kept = held_tiles(sites, 80, 6, CPU, Said())
    boxes = [ms_box for tiles in kept for ms_box, _ in tiles.boxes]
    assert len(boxes) > 2
    pixels = [(row, col) for box in boxes for row in range(*box.rows) for col in range(*box.cols)]
    assert len(pixels) == len(set(pixels))


def test_a_scene_that_breaks_later_is_skipped(put: Callable[..., Path]) -> None:
    put("a", size=40)
    place = put("b", size=40, seed=1)
    sites = sites_of(place)
    (place / "a" / "pan.tif").write_bytes(b"gone")
    said = Said()
    stream = stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=said)
    for i in range(4):
        assert {site.files.name for site in stream(i, 2).sites} == {"b"}
    assert list(stream.lost) == [0]
    assert sum("a is skipped from here on" in line for line in said.lines) == 1
    (place / "b" / "ms.tif").write_bytes(b"gone")
    with pytest.raises(InputError, match="no tile of 80 PAN pixels without gaps was found"):
        stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=said)(0, 2)


def test_no_room_without_gaps(put: Callable[..., Path]) -> None:
    valid = np.ones((40, 40), bool)
    valid[::8] = False
    sites = sites_of(put("a", size=40, valid=valid, nodata=0))
    for workers in (0, 1):
        with pytest.raises(InputError, match="no tile of 80 PAN pixels without gaps") as caught:
            stream_of(sites, batch=2, seed=0, workers=workers, group=Group(), hears=Said())(0, 2)
        assert caught.value.hint == "give scenes with more valid pixels"


def test_a_kind_without_tiles_is_passed_over(put: Callable[..., Path]) -> None:
    valid = np.ones((80, 80), bool)
    valid[::8] = False
    put("a", size=60)
    sites = sites_of(put("gaps", size=80, ratio=2, seed=1, valid=valid, nodata=0))
    stream = stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=Said())
    assert {site.files.name for i in range(8) for site in stream(i, 2).sites} == {"a"}


def test_kinds_do_not_mix(put: Callable[..., Path]) -> None:
    put("a", size=60, ratio=4)
    sites = sites_of(put("b", size=80, ratio=2, seed=1))
    stream = stream_of(sites, batch=3, seed=0, workers=0, group=Group(), hears=Said())
    seen = [{site.files.name for site in stream(i, 3).sites} for i in range(8)]
    assert all(len(names) == 1 for names in seen)
    assert len({name for names in seen for name in names}) == 2


def test_landsats_grid_ends_within_a_pixel(put: Callable[..., Path]) -> None:
    (site,) = sites_of(put("a", size=48, ratio=2, phase=0))
    shorter = replace(site, pan_shape=(95, 95))
    size = Geometry.of(site.sampling.ratio, 64)
    corner = Box(Span(48 - size.ms, 48), Span(48 - size.ms, 48))
    assert _pan_box(shorter, corner, size) == Box(Span(95 - size.pan, 95), Span(95 - size.pan, 95))
