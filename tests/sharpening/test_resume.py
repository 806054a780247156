from __future__ import annotations

import filecmp
import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import rasterio

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.base import machine as machines
from clippan_cli.base.documents import as_plain
from clippan_cli.base.geometry import Box
from clippan_cli.base.options import build
from clippan_cli.errors import Interrupted, OutputError
from clippan_cli.physics.pixels import EVERYWHERE, Validity
from clippan_cli.sharpening.record import Record
from tests.conftest import Made, read

MakeScene = Callable[..., Made]


class Stopping:
    """A listener that asks to stop once so many pixels are sharpened, and hears everything."""

    def __init__(self, stop: Event, pixels: int | None) -> None:
        self._stop, self._left, self._part = stop, pixels, ""
        self.said: list[str] = []
        self.done = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)

    def begin(self, what: str, total: int) -> None:
        self._part, self.done = what, 0

    def advance(self, pixels: int) -> None:
        self.done += pixels
        if self._part == "sharpening" and self._left is not None and self.done >= self._left:
            self._stop.set()


@pytest.fixture
def scene(make_scene: MakeScene) -> Made:
    """A scene of 4 x 4 tiles, of which the last row and column are thin."""
    return make_scene(size=52, peak=400)


OPTIONS: dict[str, Any] = {
    "tile_size": 64,
    "method": "gsa",
    "jobs": 2,
    "register": "off",
    # Values must be clipped, and moved off nodata.
    "dtype": "uint8",
    "dst_nodata": 100.0,
}
ROW = 64 * 208
"""Pixels of a row of tiles."""


def run(scene: Made, output: str, pixels: int | None = None, **more: Any) -> tuple[Record | None, Stopping]:
    """Sharpen, up to so many pixels; the record is None where it was stopped."""
    stop = Event()
    hears = Stopping(stop, pixels)
    options = build(SharpenOptions, OPTIONS | more)
    try:
        return sharpen([scene.ms], scene.pan, output, options, hears, stop=stop), hears
    except Interrupted:
        return None, hears


def rounded(value: Any) -> Any:
    """A document without the last digits of its numbers: what threads measure differs there."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(rounded, value))
    return round(value, 6) if isinstance(value, float) else value if is_plain(value) else rounded(as_plain(value))


def is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, str))


def without_times(record: Record) -> Any:
    plain = as_plain(record)
    for name in ("timing", "created", "peak_memory_mib", "output"):
        del plain[name]
    for name in ("overwrite", "resume"):
        del plain["options"][name]
    return rounded(plain)


def test_a_run_stopped_after_each_row_ends_the_same(scene: Made) -> None:
    whole = str(scene.folder / "whole.tif")
    undisturbed, _ = run(scene, whole, register="auto")
    assert undisturbed is not None
    assert undisturbed.counts.clipped > 0
    assert undisturbed.counts.moved_off_nodata > 0
    assert undisturbed.plan.tiles == (4, 4)
    for row in range(1, 4):
        record, _ = run(scene, scene.out, row * ROW, register="auto", resume=row > 1)
        assert record is None
        assert not Path(scene.out).exists()
        state = json.loads(Path(scene.out + ".partial.state").read_bytes().partition(b"\n")[0])
        assert state["rows"] == row
    resumed, hears = run(scene, scene.out, register="auto", resume=True)
    assert resumed is not None
    assert "resuming after 3 of 4 rows of tiles" in hears.said
    assert filecmp.cmp(whole, scene.out, shallow=False)
    assert resumed.counts == undisturbed.counts
    assert resumed.timing.resumed_at_row == 3
    assert without_times(resumed) == without_times(undisturbed)
    assert {path.name for path in scene.folder.iterdir()} == {
        "ms.tif", "pan.tif", "whole.tif", "whole.tif.clippan.json", "hrms.tif", "hrms.tif.clippan.json"
    }  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3])
def test_the_seam_to_a_former_run_is_blended(scene: Made, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Each tile is another constant, so that a seam shows."""
    from clippan_cli.sharpening.engine import Engine

    def constant(self: Engine, job: tuple[int, Box], _: Any) -> tuple[Any, Validity]:
        value = job[1].rows.start + 2 * job[1].cols.start
        return np.full((4, *job[1].shape), value, np.float32), EVERYWHERE

    monkeypatch.setattr(Engine, "_fuse", constant)
    whole, more = str(scene.folder / "whole.tif"), dict[str, Any](dtype="float32")
    run(scene, whole, **more)
    assert len(np.unique(read(whole))) > 16 * 2
    run(scene, scene.out, rows * ROW, **more)
    run(scene, scene.out, resume=True, **more)
    assert filecmp.cmp(whole, scene.out, shallow=False)


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
def test_what_happened_to_the_file_since_does_not_matter(scene: Made, driver: str) -> None:
    more: dict[str, Any] = {"driver": driver, "overviews": True}
    whole = str(scene.folder / "whole.tif")
    run(scene, whole, **more)
    run(scene, scene.out, 2 * ROW, **more)
    partial = Path(scene.out + ".partial")
    content = partial.read_bytes()
    partial.write_bytes(b"\0" * 200 + content[200:] + b"half a row of tiles" * 100)
    record, hears = run(scene, scene.out, resume=True, **more)
    assert record is not None
    assert "resuming after 2 of 4 rows of tiles" in hears.said
    assert filecmp.cmp(whole, scene.out, shallow=False)


@pytest.mark.parametrize("lost", [".partial", ".partial.journal", ".partial.state"])
def test_a_run_that_lost_a_file_begins_anew(scene: Made, lost: str) -> None:
    whole = str(scene.folder / "whole.tif")
    run(scene, whole)
    run(scene, scene.out, 1)
    Path(scene.out + lost).unlink()
    record, hears = run(scene, scene.out, resume=True)
    assert record is not None
    assert record.timing.resumed_at_row == 0
    assert not any("resuming" in text for text in hears.said)
    assert filecmp.cmp(whole, scene.out, shallow=False)


def test_progress_covers_the_image_once(scene: Made) -> None:
    _, hears = run(scene, scene.out)
    assert hears.done == 208 * 208
    Path(scene.out).unlink()
    run(scene, scene.out, 2 * ROW)
    _, hears = run(scene, scene.out, resume=True)
    assert hears.done == 208 * 208


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"method": "exp"}, "options"),
        ({"tile_size": 128}, "options"),
        ({"bands": (1,)}, "options"),
        ({"dst_nodata": 255.0}, "options"),
        ({"register": (0.5, 0.5)}, "options"),
    ],
)
def test_another_run_is_not_continued(scene: Made, more: dict[str, Any], named: str) -> None:
    run(scene, scene.out, 1)
    before = {path.name: path.read_bytes() for path in scene.folder.iterdir()}
    with pytest.raises(OutputError, match=f"belongs to another run.*another {named}"):
        run(scene, scene.out, resume=True, **more)
    assert before == {path.name: path.read_bytes() for path in scene.folder.iterdir()}


def test_a_machine_that_computes_otherwise_does_not_continue(scene: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "choose_precision", lambda *_: "fp32")
    run(scene, scene.out, 1)
    monkeypatch.setattr(machines, "choose_precision", lambda *_: "bf16")
    with pytest.raises(OutputError, match=r"belongs to another run.*another machine"):
        run(scene, scene.out, resume=True)


def test_other_inputs_are_not_continued(scene: Made) -> None:
    run(scene, scene.out, 1)
    Path(scene.ms).touch()
    with pytest.raises(OutputError, match="another inputs"):
        run(scene, scene.out, resume=True)


def test_other_hands_may_continue(scene: Made) -> None:
    """How many threads there are, and how much memory, makes no other run."""
    whole = str(scene.folder / "whole.tif")
    run(scene, whole, jobs=1)
    run(scene, scene.out, 1, jobs=2)
    run(scene, scene.out, resume=True, jobs=1, memory=3 << 30, config={"GDAL_NUM_THREADS": "1"})
    assert filecmp.cmp(whole, scene.out, shallow=False)


def test_a_finished_run_is_told_and_left_alone(scene: Made) -> None:
    first, _ = run(scene, scene.out)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in scene.folder.iterdir()}
    again, hears = run(scene, scene.out, resume=True)
    assert again == first
    assert hears.said[-1].endswith("is complete already")
    assert before == {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in scene.folder.iterdir()}


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_a_file_without_its_record_is_not_believed(scene: Made, content: bytes | None) -> None:
    run(scene, scene.out)
    record = Path(scene.out + ".clippan.json")
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    with pytest.raises(OutputError, match="has no record that says how it was made"):
        run(scene, scene.out, resume=True)


def test_a_stop_before_the_first_tile_leaves_nothing(scene: Made) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Interrupted, match="stopped before the first tile") as found:
        sharpen([scene.ms], scene.pan, scene.out, build(SharpenOptions, OPTIONS), stop=stop)
    assert found.value.hint == "start again"
    assert {path.name for path in scene.folder.iterdir()} == {"ms.tif", "pan.tif"}


def test_a_stop_in_the_last_row_ends_the_run(scene: Made) -> None:
    record, _ = run(scene, scene.out, 3 * ROW + 1)
    assert record is not None


def test_an_unfinished_run_is_replaced_unless_it_is_continued(scene: Made) -> None:
    run(scene, scene.out, 1)
    record, _ = run(scene, scene.out, method="brovey")
    assert record is not None
    assert record.method_used == "brovey"
    with rasterio.open(scene.out) as made:
        assert made.tags()["CLIPPAN_METHOD"] == "brovey"
    assert not list(scene.folder.glob("*partial*"))


def test_a_full_disk_during_the_work_can_be_resumed(scene: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from clippan_cli.scene.writer import Writer

    whole = str(scene.folder / "whole.tif")
    run(scene, whole)
    write, written = Writer.write, 0

    def little(self: Writer, *words: Any) -> None:
        nonlocal written
        written += 1
        if written > 10:
            raise OSError(28, "No space left on device")
        write(self, *words)

    monkeypatch.setattr(Writer, "write", little)
    with pytest.raises(OutputError, match="No space left"):
        run(scene, scene.out)
    assert not Path(scene.out).exists()
    monkeypatch.undo()
    record, _ = run(scene, scene.out, resume=True)
    assert record is not None
    assert record.timing.resumed_at_row == 2
    assert filecmp.cmp(whole, scene.out, shallow=False)
