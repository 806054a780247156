from __future__ import annotations

from pathlib import Path

import pytest

from clippan_cli.errors import InputError
from clippan_cli.scene.find import SceneFiles, find_scenes


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_of_common_products(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "ms.tif", tmp_path / "a" / "pan.tif")
    touch(tmp_path / "wv" / "12_M2AS_R1C1.TIF", tmp_path / "wv" / "12_P2AS_R1C1.TIF")
    touch(tmp_path / "spot" / "IMG_MS_1.JP2", tmp_path / "spot" / "IMG_PAN_1.JP2", tmp_path / "spot" / "readme.txt")
    touch(tmp_path / "two" / "ms.tif", tmp_path / "two" / "pan.tif", tmp_path / "two" / "pan2_pan.tif")
    touch(tmp_path / "one" / "ms.tif")
    assert [scene.name for scene in find_scenes(tmp_path)] == ["a", "spot", "wv"]
    assert find_scenes(tmp_path / "a") == [
        SceneFiles("a", (str(tmp_path / "a" / "ms.tif"),), str(tmp_path / "a" / "pan.tif"))
    ]
    assert find_scenes(tmp_path / "nowhere") == []


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "store" / "ms.tif", tmp_path / "store" / "pan.tif")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "archive" / "zagain").symlink_to(tmp_path / "store")
    (tmp_path / "archive" / "loop").symlink_to(tmp_path / "archive")
    assert [scene.name for scene in find_scenes(tmp_path / "archive")] == ["linked"]


def test_lists(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("ms, pan\na/ms.tif, a/pan.tif\n/vsicurl/http://x/m.tif, b/p.tif\n")
    first, second = find_scenes(table)
    assert first == SceneFiles("a", (str(tmp_path / "a" / "ms.tif"),), str(tmp_path / "a" / "pan.tif"))
    assert second.ms == ("/vsicurl/http://x/m.tif",)
    document = tmp_path / "list.toml"
    document.write_text('[[scene]]\nname = "l8"\nms = ["B2.TIF", "B3.TIF"]\npan = "B8.TIF"\n')
    (scene,) = find_scenes(document)
    assert scene == SceneFiles("l8", (str(tmp_path / "B2.TIF"), str(tmp_path / "B3.TIF")), str(tmp_path / "B8.TIF"))


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.csv", "ms\nx.tif\n", "it has no 'pan'"),
        ("a.csv", "ms,pan\nx.tif,\n", "lacks its ms or its pan"),
        ("a.toml", "scene = 3", "cannot use the list"),
        ("a.toml", "[[scene", "cannot use the list"),
        ("a.toml", '[[scene]]\nms = []\npan = "p.tif"', "lacks its ms or its pan"),
    ],
)
def test_bad_lists(tmp_path: Path, name: str, text: str, what: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=what):
        find_scenes(tmp_path / name)
    with pytest.raises(InputError, match="cannot use the list"):
        find_scenes(tmp_path / "nowhere.csv")
