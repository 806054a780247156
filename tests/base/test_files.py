from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from clippan_cli.base.files import check_parent, replace_file, replace_table
from clippan_cli.errors import OutputError


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for content in (b"first", b"", bytes(range(256)) * 1000):
        replace_file(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("former", [None, b"precious"])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, former: bytes | None
) -> None:
    path = tmp_path / "record.json"
    if former is not None:
        path.write_bytes(former)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place, full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == (
        {} if former is None else {"record.json": former}
    )


def test_a_stop_from_outside_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"precious")

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"new")
    assert path.read_bytes() == b"precious"
    monkeypatch.undo()
    replace_file(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["record.json"]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        replace_file(tmp_path / "taken", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def test_parents_that_do_not_take_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_parent(tmp_path / "hrms.tif")
    with pytest.raises(OutputError, match="does not exist") as found:
        check_parent(tmp_path / "no" / "hrms.tif")
    assert found.value.hint == f"create it: mkdir -p {tmp_path / 'no'}"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="does not exist"):
        check_parent(tmp_path / "file" / "hrms.tif")
    # root may write anywhere, so the system's answer is replaced
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="is not writable"):
        check_parent(tmp_path / "hrms.tif")


def test_a_table_is_replaced_whole(tmp_path: Path) -> None:
    replace_table(tmp_path / "t.csv", [["variant", "hqnr"], ["a, b", 0.5]])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["variant", "hqnr"], ["a, b", "0.5"]]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
