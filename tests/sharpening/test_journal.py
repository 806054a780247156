from __future__ import annotations

from pathlib import Path

import pytest

from clippan_cli.base.documents import Plain
from clippan_cli.errors import OutputError
from clippan_cli.fusion.guard import Score, Verdict
from clippan_cli.fusion.moments import MomentsRecord
from clippan_cli.sharpening.journal import Header, Journal, State
from clippan_cli.sharpening.quantiser import Changes

HEAD = b"II*\0 where the blocks lie "
GUARD = Verdict(Score(0.5, None), Score(1.0, 0.1), "the network is worse")


def header(**more: Plain) -> Header:
    key: dict[str, Plain] = {"options": {"method": "gsa"}, "inputs": ["ms.tif"]}
    return Header(key={**key, **more}, moments=MomentsRecord(names=[], sums=[]), method="gsa", guard=GUARD)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data file after two rows of tiles; its head was rewritten on the way, as TIFF does."""
    path = tmp_path / "hrms.tif.partial"
    path.write_bytes(HEAD)
    journal = Journal(path)
    journal.start(header())
    for row in range(2):
        content = path.read_bytes()
        path.write_bytes(HEAD.replace(b"blocks", f"row {row} ".encode()) + content[len(HEAD) :] + b"pixels" * 50)
        journal.note(row, Changes(clipped=row + 1, moved_off_nodata=3))
    return path


def others(data: Path) -> list[Path]:
    return sorted(path for path in data.parent.iterdir() if path != data)


def test_a_run_goes_on_where_it_stopped(data: Path) -> None:
    before = data.read_bytes()
    found = Journal(data).resume(header().key)
    assert found is not None
    told, state = found
    assert told == Header(**{**vars(header()), "head": len(HEAD)})
    assert state == State(rows=2, size=len(before), counts=Changes(2, 3))
    assert data.read_bytes() == before


@pytest.mark.parametrize("more", [b"", b"half a row", b"x" * 5000])
@pytest.mark.parametrize("damaged", [0, 1, len(HEAD)])
def test_whatever_came_after_the_last_row_is_undone(data: Path, more: bytes, damaged: int) -> None:
    before = data.read_bytes()
    data.write_bytes(b"\xff" * damaged + before[damaged:] + more)
    assert Journal(data).resume(header().key) is not None
    assert data.read_bytes() == before


def test_a_resumed_run_books_on_and_can_be_resumed_again(data: Path) -> None:
    journal = Journal(data)
    assert journal.resume(header().key) is not None
    data.write_bytes(data.read_bytes() + b"row 3")
    journal.note(2, Changes(9, 9))
    whole = data.read_bytes()
    data.write_bytes(b"?" + whole[1:] + b"...")
    found = Journal(data).resume(header().key)
    assert found is not None
    assert found[1] == State(rows=3, size=len(whole), counts=Changes(9, 9))
    assert data.read_bytes() == whole


@pytest.mark.parametrize("suffix", ["", ".journal", ".state"])
def test_nothing_is_resumed_without_all_three_files(data: Path, suffix: str) -> None:
    data.with_name(data.name + suffix).unlink()
    assert Journal(data).resume(header().key) is None


def test_nothing_is_resumed_from_a_shorter_file(data: Path) -> None:
    data.write_bytes(data.read_bytes()[:-1])
    assert Journal(data).resume(header().key) is None


def test_another_run_is_refused_and_left_alone(data: Path) -> None:
    data.write_bytes(data.read_bytes() + b"half a row")
    before = {path.name: path.read_bytes() for path in data.parent.iterdir()}
    with pytest.raises(OutputError, match=r"hrms\.tif\.partial belongs to another run.*another inputs") as found:
        Journal(data).resume(header(inputs=["other.tif"]).key)
    assert "options" not in found.value.what
    assert before == {path.name: path.read_bytes() for path in data.parent.iterdir()}


def test_a_start_forgets_the_former_run(data: Path) -> None:
    data.write_bytes(HEAD)
    journal = Journal(data)
    journal.start(header())
    assert [path.suffix for path in others(data)] == [".journal"]
    assert Journal(data).resume(header().key) is None
    journal.note(0, Changes())
    found = Journal(data).resume(header().key)
    assert found is not None
    assert found[1].rows == 1


def test_nothing_is_left_behind(data: Path) -> None:
    for _ in range(2):
        Journal(data).remove()
        assert others(data) == []


def test_a_full_disk_leaves_the_last_booking(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = data.read_bytes()
    journal = Journal(data)
    assert journal.resume(header().key) is not None
    data.write_bytes(before + b"row 3")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        journal.note(2, Changes(9, 9))
    found = Journal(data).resume(header().key)
    assert found is not None
    assert found[1].rows == 2
    assert data.read_bytes() == before


@pytest.mark.parametrize("suffix", [".journal", ".state"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"rows": 1', b"\xff\xfe", b'{"rows": 1, "size": 4}'])
def test_what_is_damaged_is_not_resumed(data: Path, suffix: str, content: bytes) -> None:
    journal = Journal(data)
    journal.start(header())
    journal.note(0, Changes())
    data.with_name(data.name + suffix).write_bytes(content)
    assert Journal(data).resume(header().key) is None
