from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from clippan_cli.cli.app import app
from tests.conftest import PLACE, Made, read, write

MakeScene = Callable[..., Made]


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def scene(make_scene: MakeScene) -> Made:
    made = make_scene(size=64)
    assert call("-q", "sharpen", made.ms, made.pan, "-o", made.out).exit_code == 0
    return made


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_a_table_on_stdout_and_talk_on_stderr(scene: Made) -> None:
    result = call("assess", scene.out, scene.ms, scene.pan)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Sharp, and true to the measured MS"
    assert any(line.startswith("full resolution") and "HQNR" in line for line in lines)
    assert any(line.startswith("hrms.tif") for line in lines)
    assert any(line.startswith("exp") for line in lines)
    assert "assessing 100%" in result.stderr


def test_json_is_one_document(scene: Made) -> None:
    result = call("-q", "assess", scene.out, scene.ms, scene.pan, "--json")
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert document["candidates"][0]["role"] == "result"
    assert document["indices"]["hqnr"]["rising"]
    assert result.stderr == ""


def test_report_and_maps(scene: Made, tmp_path: Path) -> None:
    report, maps = tmp_path / "r.html", tmp_path / "maps"
    words = ("assess", scene.out, scene.ms, scene.pan, "-o", str(report), "--maps", str(maps))
    assert call(*words).exit_code == 0
    assert report.read_text("utf-8").startswith("<!doctype html>")
    assert len(list(maps.iterdir())) == 3
    refused(call(*words), 5, "exists", "--overwrite")
    assert call(*words, "--overwrite").exit_code == 0


def test_the_gate(scene: Made, tmp_path: Path) -> None:
    words = ("assess", scene.out, scene.ms, scene.pan)
    assert call(*words, "--min-hqnr", "0.5", "--min-qnr", "0.5", "--max-r-ergas", "5").exit_code == 0
    failed = call(*words, "--min-hqnr", "0.9999", "--max-r-ergas", "0", "-o", str(tmp_path / "r.html"))
    refused(failed, 7, "HQNR is 0.", "at least 0.9999 is asked for", "R-ERGAS is 0.", "at most 0 is asked for")
    assert "full resolution" in failed.stdout
    assert (tmp_path / "r.html").exists()
    reference = ("--reference", scene.out)
    assert call(*words, *reference, "--max-ergas", "0.001").exit_code == 0


def test_the_gate_fails_without_data(make_scene: MakeScene) -> None:
    valid = np.zeros((64, 64), bool)
    valid[:24, :12] = True
    made = make_scene(size=64, valid=valid, nodata=0)
    assert call("-q", "sharpen", made.ms, made.pan, "-o", made.out).exit_code == 0
    result = call("assess", made.out, made.ms, made.pan, "--min-hqnr", "0")
    refused(result, 7, "HQNR has not enough data")
    assert result.stdout.startswith("Not enough data")


def test_comparing_methods(scene: Made) -> None:
    result = call("assess", scene.ms, scene.pan, "--compare", "gsa, brovey")
    assert result.exit_code == 0, result.output
    for words in ("gsa + 2 BP", "brovey + 2 BP", "full resolution", "one scale down (Wald)", "suits this scene best"):
        assert words in result.stdout
    result = call("assess", scene.ms, scene.pan, "--reduced", "--method", "gsa")
    assert result.exit_code == 0, result.output
    assert "full resolution" not in result.stdout


def test_sharpen_reports(scene: Made, tmp_path: Path) -> None:
    report = tmp_path / "r.html"
    words = ("sharpen", scene.ms, scene.pan, "-o", scene.out, "--overwrite", "--report", str(report), "-b", "2,1")
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [scene.out]
    assert "band 2" in report.read_text("utf-8")
    refused(call("sharpen", scene.ms, scene.pan, "-o", str(tmp_path / "x.tif"), "--report", str(report)), 5, "exists")
    for name in ("x.tif", "x.tif.clippan.json", "ms.tif"):
        again = ("sharpen", scene.ms, scene.pan, "-o", str(tmp_path / "x.tif"), "--overwrite")
        refused(call(*again, "--report", str(scene.folder / name)), 5, "is an input or another output")
    assert not (tmp_path / "x.tif").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "0 files were given, 3 expected"),
        (("OUT", "MS"), "2 files were given, 3 expected"),
        (("OUT", "MS", "PAN", "--compare", "gsa"), "3 files were given, 2 expected"),
        (("MS", "PAN", "--reduced"), "--reduced needs a method"),
        (("MS", "PAN", "--method", "gsa"), "add --reduced"),
        (("MS", "PAN", "--compare", ","), "--compare names no method"),
        (("MS", "PAN", "--compare", "gsa", "--method", "exp", "--reduced"), "exclude each other"),
        (("MS", "PAN", "--compare", "gsa", "--min-hqnr", "0.9"), "a gate judges one image"),
        (("OUT", "MS", "PAN", "--max-ergas", "3"), "--max-ergas needs a truth"),
        (("MS", "PAN", "--compare", "magic"), "no method or model 'magic'"),
        (("OUT", "MS", "PAN", "--convention", "khan"), "unknown convention 'khan'"),
    ],
)
def test_contradictions(words: tuple[str, ...], said: str, scene: Made) -> None:
    files = {"OUT": scene.out, "MS": scene.ms, "PAN": scene.pan}
    refused(call("assess", *(files.get(word, word) for word in words)), 2, said)


def test_files_may_have_names(scene: Made) -> None:
    bands = []
    for k, plane in enumerate(read(scene.ms)):
        bands += ["--ms", write(scene.folder / f"b{k}.tif", plane[None], PLACE @ PLACE.scale(4))]
    result = call("assess", scene.out, *bands, "--pan", scene.pan)
    assert result.exit_code == 0, result.output


def test_bad_input_has_numbers(scene: Made) -> None:
    refused(call("assess", scene.ms, scene.ms, scene.pan), 3, "another grid than PAN", "2 × 2", "0.5 × 0.5")
    refused(call("assess", scene.pan, scene.ms, scene.pan), 3, "has 1 bands, MS has 4")
    small = write(scene.folder / "small.tif", read(scene.out)[:, :30, :30], PLACE)
    refused(call("assess", small, scene.ms, scene.pan), 3, "30 × 30 px, is smaller than a block of 32 px")


def test_the_image_is_told_even_if_it_cannot_be_judged(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=7)
    result = call("sharpen", scene.ms, scene.pan, "-o", scene.out, "--report", str(tmp_path / "r.html"))
    refused(result, 3, "smaller than a block")
    assert result.stdout.splitlines() == [scene.out]


def test_clipping_is_said_aloud(scene: Made) -> None:
    hot = read(scene.out)
    hot[:, 0] = 65535
    path = write(scene.folder / "hot.tif", hot, PLACE)
    result = call("assess", path, scene.ms, scene.pan)
    assert "clipped" in result.stderr
