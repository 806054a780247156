"""The page of a training needs no other file, and no network."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread, imsave

from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.loop.curves import CURVES
from clippan_cli.training.products.page import PAGE, PICTURES, draw_page, draw_tile, pictures

ROWS = {"exp": {"hqnr": 0.81234, "d_rho": 0.4}, "model": {"hqnr": 0.9, "d_rho": float("nan")}}


class Links(HTMLParser):
    """Whatever a page refers to, and its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found, self.cells, self._open = list[str](), list[str](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_data(self, data: str) -> None:
        if self._open in ("td", "th") and data.strip():
            self.cells.append(data)


def paint(folder: Path, *iterations: int) -> None:
    """A picture each, whose grey tells which it is."""
    (folder / PICTURES).mkdir(exist_ok=True)
    for number in iterations:
        imsave(folder / PICTURES / f"{number:06}.png", np.full((2, 2, 3), (number % 250) / 255))


def page(folder: Path) -> str:
    return (folder / PAGE).read_text("utf-8")


def test_a_page_refers_to_nothing(tmp_path: Path) -> None:
    paint(tmp_path, 50, 100)
    imsave(tmp_path / CURVES, np.zeros((4, 4, 3)))
    draw_page(tmp_path, ROWS)
    links = Links(page(tmp_path)).found
    assert len(links) == 3
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert not re.search(r"https?:|file:|@import|url\(|<script|<link", page(tmp_path))
    shown = [base64.b64decode(link.split(",", 1)[1]) for link in links]
    assert shown[0] == (tmp_path / CURVES).read_bytes()
    assert shown[1:] == [(tmp_path / PICTURES / f"{number:06}.png").read_bytes() for number in (50, 100)]


def test_the_table_of_a_page(tmp_path: Path) -> None:
    draw_page(tmp_path, ROWS)
    assert Links(page(tmp_path)).cells == ["hqnr", "d_rho", "exp", "0.8123", "0.4000", "model", "0.9000", "nan"]


@pytest.mark.parametrize(
    ("kept", "said"),
    [(None, ""), (0, "Nothing was better, before the truth, than what"), (40, "Kept: iteration 40, the best")],
)
def test_what_was_kept_is_said_once_it_is_known(tmp_path: Path, kept: int | None, said: str) -> None:
    draw_page(tmp_path, ROWS, kept)
    assert ("<strong>" in page(tmp_path)) == (kept is not None)
    assert said in page(tmp_path)
    assert ("Kept" in page(tmp_path)) == bool(kept)


@pytest.mark.parametrize("count", [0, 1, 6, 7, 40])
def test_six_pictures_at_most_the_first_and_the_last_among_them(tmp_path: Path, count: int) -> None:
    paint(tmp_path, *range(10, 10 * count + 10, 10))
    draw_page(tmp_path, ROWS)
    shown = [int(number) for number in re.findall(r"after (\d+) iterations", page(tmp_path))]
    assert len(shown) == min(6, count)
    assert shown == sorted(set(shown))
    assert not count or (shown[0], shown[-1]) == (10, 10 * count)


def test_names_are_no_markup(tmp_path: Path) -> None:
    folder = tmp_path / "<b>a & b"
    folder.mkdir()
    draw_page(folder, {"<i>x</i>": {"hqnr": 1.0}})
    assert "<title>&lt;b&gt;a &amp; b</title>" in page(folder)
    assert "<i>" not in page(folder)


def test_pictures_are_ordered_by_their_iterations(tmp_path: Path) -> None:
    paint(tmp_path, 1000000, 200, 50)
    (tmp_path / PICTURES / "notes.png").write_bytes(b"")
    (tmp_path / PICTURES / "000007.txt").write_bytes(b"")
    assert {path.stem for path in pictures(tmp_path)} == {"000050", "000200", "1000000"}
    assert [path.stem for path in pictures(tmp_path)][:2] == ["000050", "000200"]
    assert pictures(tmp_path / "nowhere") == []


def test_a_tile_is_drawn_before_after_and_pan(tiles: Tiles, tmp_path: Path) -> None:
    path = tmp_path / "new" / "000001.png"
    draw_tile(tiles.ms_up[0], tiles, path)
    picture = imread(path)[..., :3]
    side = tiles.pan.shape[-1]
    assert picture.shape == (side, 3 * side + 8, 3)
    before, after, pan = (picture[:, at : at + side] for at in (0, side + 4, 2 * side + 8))
    # The fused image is interpolation here, and looks so; PAN is grey; white lies between.
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(pan[..., 0], pan[..., 2])
    wanted = tiles.pans(tiles.pan[:1])[0, 0].clamp(0, 1).numpy()
    np.testing.assert_allclose(pan[..., 0], wanted, atol=1 / 128)
    assert (picture[:, side : side + 4] == 1).all()


def test_what_is_too_bright_is_white(tiles: Tiles, tmp_path: Path) -> None:
    draw_tile(torch.full_like(tiles.ms_up[0], 1e6), tiles, tmp_path / "a.png")
    side = tiles.pan.shape[-1]
    assert set(np.unique(imread(tmp_path / "a.png")[:, side + 4 : 2 * side + 4, :3])) <= {0.0, 1.0}
