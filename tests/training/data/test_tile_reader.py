from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clippan_cli.base.geometry import Box, Span
from clippan_cli.errors import InputError, ResourceError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.scene import open_files
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.find import SceneFiles
from clippan_cli.scene.pair import Pair
from clippan_cli.training.data import tile_reader
from clippan_cli.training.data.full_tiles import RawTile
from clippan_cli.training.data.surveyed_scenes import Geometry, Site, survey_scenes
from clippan_cli.training.data.tile_reader import TileReader, TileStream, Unreadable, _pan_box, held_tiles
from clippan_cli.training.loop.distributed import Group
from tests.conftest import read
from tests.training.conftest import CPU, Put, Said, sites_of, stream_of


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
    reader = TileReader(sites, 0)
    for number in range(12):
        raw = reader[number, 0]
        assert isinstance(raw, RawTile)
        assert float(raw.window.ms.values.min()) > 0
        assert float(raw.window.pan.values.min()) > 0


def test_tiles_that_are_validated_on_do_not_overlap(put: Callable[..., Path]) -> None:
    sites = sites_of(put("a", size=120))
    kept = held_tiles(sites, 6, CPU, Said())
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
    with pytest.raises(InputError, match="no tile without gaps was found"):
        stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=said)(0, 2)


def test_no_room_without_gaps(put: Callable[..., Path]) -> None:
    valid = np.ones((40, 40), bool)
    valid[::8] = False
    sites = sites_of(put("a", size=40, valid=valid, nodata=0))
    for workers in (0, 1):
        with pytest.raises(InputError, match="no tile without gaps") as caught:
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


def raw_of(reader: TileReader, batch: int, place: int = 0) -> RawTile:
    raw = reader[batch, place]
    assert isinstance(raw, RawTile)
    return raw


def test_a_tile_holds_the_pixels_of_its_boxes(put: Put) -> None:
    place = put("a", size=60)
    sites = sites_of(place)
    ms, pan = (read(str(place / "a" / f"{name}.tif")) for name in ("ms", "pan"))
    for number in range(4):
        raw = raw_of(TileReader(sites, 3), number)
        for pixels, box, whole in (
            (raw.window.ms.values, raw.window.ms_box, ms),
            (raw.window.pan.values[None], raw.window.pan_box, pan),
        ):
            wanted = whole[:, box.rows.slice, box.cols.slice]
            np.testing.assert_allclose(pixels.numpy() * sites[0].scale, wanted, rtol=1e-5)
        assert sites[0].learned is not None
        assert raw.window.ms_box.inside(sites[0].learned)


def test_tiles_lie_everywhere_in_what_is_learned(put: Put) -> None:
    (site,) = sites_of(put("a", size=60))
    reader = TileReader([site], 0)
    corners = [raw_of(reader, 0, place).window.ms_box.corner for place in range(150)]
    assert site.learned is not None
    for axis in (0, 1):
        starts = {corner[axis] for corner in corners}
        assert min(starts) <= 2
        assert max(starts) >= site.learned[axis].size - 20 - 2
        assert len(starts) > 15


def test_few_files_stay_open(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        place = put(f"{i}", size=30, seed=i)
    sites = sites_of(place)
    monkeypatch.setattr(tile_reader, "_MOST_OPEN", 2)
    reader = TileReader(sites, 0)
    first = [raw_of(reader, number) for number in range(12)]
    assert {raw.site for raw in first} == {0, 1, 2, 3}
    assert len(reader._open) == 2
    # What was closed and opened again gives the same.
    fresh = [raw_of(TileReader(sites, 0), number) for number in range(12)]
    assert all(
        torch.equal(a.window.pan.values, b.window.pan.values) and a.site == b.site
        for a, b in zip(first, fresh, strict=True)
    )


def test_what_is_no_longer_needed_is_closed(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a", size=30)
    reader = TileReader(sites_of(put("b", size=30, seed=1)), 0)
    monkeypatch.setattr(tile_reader, "_MOST_OPEN", 1)
    former = reader._pair(0)
    assert reader._pair(0) is former
    kept = reader._pair(1)
    assert list(reader._open) == [1]
    with pytest.raises(InputError, match="Dataset is closed"):
        former.pan.read(Box(Span(0, 4), Span(0, 4)))
    kept.pan.read(Box(Span(0, 4), Span(0, 4)))


def test_scenes_are_opened_as_they_were_surveyed(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SceneOptions(mtf_gain=0.2, src_nodata=9.0, config={"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"})
    (site,) = survey_scenes([str(put("a", size=30))], 80, {}, options, Said())
    seen: list[tuple[SceneFiles, SceneOptions]] = []
    real = open_files

    def watch(files: SceneFiles, said: SceneOptions) -> Pair:
        seen.append((files, said))
        return real(files, said)

    monkeypatch.setattr(tile_reader, "open_files", watch)
    reader = TileReader([site], 0)
    for number in range(3):
        raw_of(reader, number)
    assert seen == [(site.files, options)]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_scene_that_vanishes_is_skipped(put: Put, workers: int) -> None:
    put("a", size=30)
    place = put("b", size=30, seed=1)
    sites = sites_of(place)
    shutil.rmtree(place / "b")
    said = Said()
    stream = stream_of(sites, batch=2, workers=workers, hears=said)
    for number in range(6):
        assert {site.files.name for site in stream(number, 2).sites} == {"a"}
    assert [line for line in said.lines if "skipped" in line] == [
        f"warning: scene b is skipped from here on: {stream.lost[1]}"
    ]
    assert "ms.tif" in stream.lost[1]


def test_all_scenes_vanish(put: Put) -> None:
    place = put("a", size=30)
    sites = sites_of(place)
    shutil.rmtree(place / "a")
    with pytest.raises(InputError, match=r"no tile without gaps was found \(a: "):
        stream_of(sites, batch=1)(0, 1)


def test_a_scene_that_breaks_does_not_move_the_tiles_of_others(put: Put) -> None:
    put("a", size=30)
    place = put("b", size=30, seed=1)
    sites = sites_of(place)
    before = [raw_of(TileReader(sites, 0), number) for number in range(10)]
    (place / "b" / "pan.tif").write_bytes(b"gone")
    reader = TileReader(sites, 0)
    after = [raw_of(reader, number) for number in range(10)]
    for one, other in zip(before, after, strict=True):
        assert one.site == 1 or (one.site == other.site and torch.equal(one.window.pan.values, other.window.pan.values))
    assert {raw.site for raw in after} == {0}


def test_nothing_to_take_tiles_from(put: Put) -> None:
    (site,) = sites_of(put("a", size=30))
    reader = TileReader([replace(site, learned=None)], 0)
    assert reader[0, 0] == Unreadable("there is no scene to take tiles from")


def test_a_reader_that_dies_says_what_helps(put: Put) -> None:
    stream = stream_of(sites_of(put("a", size=30)), batch=1)

    def dies() -> Iterator[list[RawTile | Unreadable]]:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.\nmore")
        yield []

    stream(0, 1)
    stream._steps = dies()
    with pytest.raises(ResourceError, match=r"has ended: DataLoader worker \(pid 7\) is killed by signal: Killed\.$"):
        stream(1, 1)


def test_a_step_is_read_once_however_often_it_is_asked_for(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(sites_of(put("a", size=40)), batch=3)
    first = stream(4, 3)
    monkeypatch.setattr(stream, "_steps", iter(()))
    again = stream(4, 2)
    assert torch.equal(again.pan, first.pan[:2])


@settings(max_examples=100, deadline=None)
@given(
    st.floats(1.2, 6.5), st.tuples(st.floats(-1, 4), st.floats(-1, 4)), st.integers(0, 40), st.integers(0, 40),
    st.integers(100, 400), st.integers(8, 100),
)  # fmt: skip
def test_pan_lies_in_the_middle_of_its_ms(
    ratio: float, phase: tuple[float, float], row: int, col: int, most: int, side: int
) -> None:
    sampling = Sampling.uniform((ratio, ratio), phase, (0.3,))
    size = Geometry.of((ratio, ratio), side)
    ms_box = Box.at((row, col), (size.ms, size.ms))
    site = cast(Site, SimpleNamespace(sampling=sampling, pan_shape=(most, most)))
    found = _pan_box(site, ms_box, size)
    for axis, first in enumerate((row, col)):
        # Centres of the outermost MS pixels, in PAN pixels.
        middle = phase[axis] + ratio * (first + (size.ms - 1) / 2)
        within = middle - size.pan / 2 >= -0.5 and middle + size.pan / 2 <= most - 0.5
        if found is None:
            continue
        assert found[axis].size == size.pan
        assert found[axis].start >= 0
        assert found[axis].stop <= most
        assert abs((found[axis].start + found[axis].stop - 1) / 2 - middle) <= (0.51 if within else 1.51)
    outside = [
        phase[axis] + ratio * (first + (size.ms - 1) / 2) + size.pan / 2 > most + 2
        for axis, first in enumerate((row, col))
    ]
    assert found is None or not any(outside)


def test_tiles_to_validate_on_repeat_and_fill_up(put: Put) -> None:
    sites = sites_of(put("a", size=120))
    first, again = (held_tiles(sites, 3, CPU, Said()) for _ in range(2))
    assert len(first) == len(again) == 3
    assert all(len(tiles.sites) == 1 for tiles in first)
    assert all(torch.equal(a.pan, b.pan) for a, b in zip(first, again, strict=True))
    more = held_tiles(sites, 4, CPU, Said())
    assert all(torch.equal(a.pan, b.pan) for a, b in zip(first, more, strict=False))


def test_what_is_kept_aside_may_have_no_tile(put: Put) -> None:
    valid = np.ones((60, 60), bool)
    valid[42:, ::6] = False
    said = Said()
    sites = sites_of(put("a", size=60, valid=valid, nodata=0))
    (tiles, *_) = held_tiles(sites, 2, CPU, said)
    assert "what is kept aside has no tile without gaps" in said.lines[-1]
    assert sites[0].learned is not None
    assert tiles.boxes[0][0].inside(sites[0].learned)
