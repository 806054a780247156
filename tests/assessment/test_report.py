from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from clippan_cli.assessment.assess import assess
from clippan_cli.assessment.figures import heat, places, visible_bands
from clippan_cli.assessment.lattice import Lattice
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.machine import MachineOptions
from clippan_cli.scene.pair import open_pair
from clippan_cli.sharpening.options import SharpenOptions
from clippan_cli.sharpening.sharpen import sharpen
from tests.conftest import Made, box

ONE = MachineOptions(jobs=1)
Make = Callable[..., Made]


class Page(HTMLParser):
    """What a page refers to, and its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "img", "br", "polygon", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs) if tag == "img" else None

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def pictures(self) -> list[np.ndarray]:
        found = []
        for reference in self.references:
            with MemoryFile(base64.b64decode(reference.split(",", 1)[1])) as file, file.open() as source:
                found.append(source.read())
        return found


@pytest.fixture
def page(make_scene: Make, tmp_path: Path) -> tuple[str, Page]:
    valid = np.ones((96, 96), bool)
    valid[:, :10] = False
    scene = make_scene(size=96, valid=valid, nodata=0)
    sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(machine=ONE))
    report = tmp_path / "report.html"
    assess([scene.ms], scene.pan, scene.out, AssessOptions(report=str(report), machine=ONE))
    text = report.read_text("utf-8")
    return text, Page(text)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_page_stands_alone(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert all(reference.startswith("data:image/png;base64,") for reference in parsed.references)
    assert not re.search(r"url\(|@import|https?:|<script|<link", text)
    assert not parsed.unbalanced
    assert not parsed.open
    pictures = parsed.pictures()
    # Up to three places with MS, PAN, the image and the classical method, the image, three maps.
    assert len(pictures) in (8, 12, 16)
    for crop in pictures[:4]:
        assert crop.shape == (4, 256, 256)
    assert all(len(np.unique(picture[0])) > 5 for picture in pictures)


def test_the_page_says_what_matters(page: tuple[str, Page]) -> None:
    text, _ = page
    for words in ("HQNR", "best classical", "interpolation", "touch nodata", "registration", "rewards doing nothing"):
        assert words in text, words
    assert "--sensor names it" in text
    for version in ("clippan ", "torch ", "gdal "):
        assert version in text, version


def test_nothing_is_left_behind_and_names_are_escaped(make_scene: Make, tmp_path: Path) -> None:
    scene = make_scene(size=64)
    image = tmp_path / "a<b>&c.tif"
    sharpen([scene.ms], scene.pan, image, SharpenOptions(machine=ONE))
    assess([scene.ms], scene.pan, str(image), AssessOptions(report=str(tmp_path / "r.html"), machine=ONE))
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "a&lt;b&gt;&amp;c.tif" in text
    assert "<b>" not in text
    assert not list(tmp_path.glob("*.partial"))


def test_a_comparison_has_a_page_too(make_scene: Make, tmp_path: Path) -> None:
    scene = make_scene(size=96)
    for name, reduced in (("both.html", False), ("reduced.html", True)):
        options = AssessOptions(compare=("gsa",), reduced=reduced, report=str(tmp_path / name), machine=ONE)
        assess([scene.ms], scene.pan, None, options)
        text = (tmp_path / name).read_text("utf-8")
        assert "gsa + 2 BP" in text
        assert "One scale down" in text
        assert ("Full resolution" in text) is not reduced


def test_places_are_where_the_map_says() -> None:
    score = np.full((20, 20), 0.8, np.float32)
    score[:8, :8], score[12:, 12:] = 0.95, 0.4
    score[0, 19] = np.nan
    lattice = Lattice(Box(Span(64, 64 + 640), Span(0, 640)), box(1, 1), ())
    found = {name: at for name, at, _ in places({"consistent": score, "d_s": np.zeros_like(score)}, lattice)}
    assert found["best"] == Box(Span(64, 64 + 256), Span(0, 256))
    assert found["worst"] == Box(Span(64 + 384, 64 + 640), Span(384, 640))
    assert list(found) == ["best", "typical", "worst"]


def test_places_without_data() -> None:
    nothing = np.full((4, 4), np.nan, np.float32)
    assert places({"consistent": nothing, "d_s": nothing}, Lattice(box(128, 128), box(1, 1), ())) == []


def test_heat_is_transparent_where_nothing_was_judged() -> None:
    values = np.array([[0.0, 0.5], [np.nan, 1.0]], np.float32)
    picture, top = heat(values)
    assert 0.5 < top <= 1
    with (
        rasterio.Env(),
        MemoryFile(base64.b64decode(picture.split(",")[1])) as file,
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        file.open() as source,
    ):
        rgba = source.read()
    assert rgba[3].tolist() == [[255, 255], [0, 255]]
    assert rgba[:3, 0, 0].sum() < rgba[:3, 1, 1].sum()


def test_visible_bands(make_scene: Make) -> None:
    for count, expected in ((1, [0]), (2, [0]), (3, [0, 1, 2]), (4, [2, 1, 0]), (8, [4, 2, 1])):
        scene = make_scene(count=count, size=32)
        with open_pair([scene.ms], scene.pan) as pair:
            assert visible_bands(pair, range(count)) == expected
