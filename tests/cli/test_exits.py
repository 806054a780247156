"""Each exit code once, by the command that gives it; and what stands on stdout."""

from __future__ import annotations

import filecmp
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clippan_cli.sharpening.journal import Journal
from tests.cli.test_cli import call, left, refused, sharpen
from tests.conftest import Made

MakeScene = Callable[..., Made]
FAST = ("--method", "exp", "--consistency", "0", "--register", "off", "-j", "1")


def test_each_error_has_its_code(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    assert sharpen(scene, *FAST).exit_code == 0
    cases: list[tuple[int, tuple[str, ...]]] = [
        (2, ("sharpen", scene.ms, scene.pan)),
        (3, ("sharpen", scene.ms, str(tmp_path / "no.tif"), "-o", "out.tif")),
        (4, ("models", "verify", str(tmp_path / "model"))),
        (5, ("sharpen", scene.ms, scene.pan, "-o", scene.out)),
        (8, ("sharpen", scene.ms, scene.pan, "-o", scene.out, "--overwrite", "--memory", "1M")),
    ]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.toml").write_text("half a record")
    for code, words in cases:
        result = call(*words)
        refused(result, code)
        assert len(result.stderr.splitlines()) == 2 or code == 8, result.stderr
    result = call("assess", scene.out, scene.ms, scene.pan, "--min-hqnr", "1")
    assert result.exit_code == 7
    assert "error: HQNR is " in result.stderr
    assert result.stdout.startswith("Sharp") or "full resolution" in result.stdout


def test_interrupted_and_resumed(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(size=40)
    words = (*FAST, "--tile-size", "64")
    whole = str(scene.folder / "whole.tif")
    assert call("sharpen", scene.ms, scene.pan, "-o", whole, *words).exit_code == 0
    note = Journal.note

    def stopped(self: Journal, row: int, changes: Any) -> None:
        note(self, row, changes)
        if row == 0:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Journal, "note", stopped)
    result = sharpen(scene, *words, "--json")
    refused(result, 130, "stopped after row 1 of 3", "continue with --resume", "once more stops at once")
    monkeypatch.undo()
    result = sharpen(scene, *words, "--resume", "--json", "-q")
    assert result.stderr == ""
    assert json.loads(result.stdout)["timing"]["resumed_at_row"] == 1
    assert filecmp.cmp(whole, scene.out, shallow=False)


def test_a_fault_of_the_program_is_told_as_one(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(size=16)

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("clippan_cli.sharpening.sharpen.sharpen", broken)
    result = sharpen(scene, *FAST)
    refused(result, 1, "internal: ZeroDivisionError: by zero", "CLIPPAN_DEBUG=1")
    assert left(scene) == set()


@pytest.mark.parametrize(
    "words",
    [
        ("sharpen", "MS", "PAN", "-o", "OUT", *FAST),
        ("sharpen", "MS", "PAN", "--dry-run", *FAST),
        ("info", "MS", "PAN"),
        ("assess", "MS", "PAN", "--compare", "exp"),
        ("models", "list"),
        ("models", "show", "injector-4"),
        ("models", "verify"),
    ],
)
def test_stdout_is_one_document_and_nothing_else(make_scene: MakeScene, words: tuple[str, ...]) -> None:
    scene = make_scene(size=40)
    files = {"MS": scene.ms, "PAN": scene.pan, "OUT": scene.out}
    result = call(*(files.get(word, word) for word in words), "--json")
    assert result.exit_code == 0, result.output
    assert isinstance(json.loads(result.stdout), dict)
    assert result.stdout.endswith("}\n")
    by_variable = call(*(files.get(word, word) for word in words), "-q", CLIPPAN_JSON="1", CLIPPAN_CONFIG_FILE="")
    if "-o" not in words:
        assert by_variable.exit_code == 0, by_variable.output
        assert json.loads(by_variable.stdout).keys() == json.loads(result.stdout).keys()
        assert by_variable.stderr == ""


@pytest.mark.parametrize("quiet", [("-q",), ("-qq",), ("--quiet",)])
def test_quiet_leaves_errors(make_scene: MakeScene, quiet: tuple[str, ...]) -> None:
    scene = make_scene(size=16)
    result = sharpen(scene, *quiet, "--method", "magic")
    refused(result, 2, "unknown method 'magic'")
    assert len(result.stderr.splitlines()) == 2
    result = sharpen(scene, *quiet, *FAST)
    assert (result.stdout, result.stderr) == (scene.out + "\n", "")


def test_verbose_undoes_quiet(make_scene: MakeScene) -> None:
    scene = make_scene(size=16)
    result = call("-v", "sharpen", scene.ms, scene.pan, "-o", scene.out, *FAST, "-q")
    assert "registration is off" in result.stderr


def test_the_old_spellings_say_where_they_went(tmp_path: Path) -> None:
    words = ("train", "--scenes", str(tmp_path), "-o", str(tmp_path / "m"))
    result = call(*words, "--tune", "freeze")
    refused(result, 2, "--tune is a command of its own now")
    assert result.stderr.endswith("hint: clippan tune --scenes DIR -o DIR --weights freeze\n")
    result = call(*words, "--ablate", "losses")
    refused(result, 2, "--ablate is a command of its own now")
    assert result.stderr.endswith("hint: clippan ablate losses --scenes DIR -o DIR\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (("--src-nodata", "zero"), ("--src-nodata 'zero'", "--src-nodata 0")),
        (("--register", "x"), ("--register 'x'", "--register -0.5,0.25")),
        (("--memory", "x"), ("--memory 2G",)),
        (("-j", "x"), ("--jobs 'x'",)),
        (("-b", "x"), ("--bidx 'x'",)),
        (("--creation-option", "x"), ("--co 'x'", "--co COMPRESS=ZSTD")),
        (("--config", "x"), ("--config 'x'", "--config GDAL_HTTP_TIMEOUT=30")),
        (("--overwrite", "--resume"), ("--overwrite and --resume exclude",)),
        (("--device", "abacus"), ("--device cpu",)),
    ],
)
def test_messages_name_flags_and_not_keys(
    make_scene: MakeScene, words: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    result = sharpen(make_scene(size=16), *words)
    assert result.exit_code in (2, 8)
    assert "`" not in result.stderr
    for flag in flags:
        assert flag in result.stderr


def test_files_may_be_named_in_any_way(make_scene: MakeScene) -> None:
    scene = make_scene(size=16)
    ms, pan = scene.ms, scene.pan
    ways = [[ms, pan], ["--ms", ms, "--pan", pan], ["--pan", pan, ms], ["--ms", ms, pan]]
    for words in ways:
        found = json.loads(call("sharpen", *words, "--dry-run", "--json", *FAST).stdout)["inputs"]
        assert (found["ms"]["files"][0]["path"], found["pan"]["files"][0]["path"]) == (ms, pan)
    for words in ([], [ms], ["--ms", ms], ["--pan", pan], [ms, pan, pan]):
        refused(call("sharpen", *words, "--dry-run"), 2, "give one MS and one PAN")
