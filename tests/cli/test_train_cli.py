from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clippan_cli.cli.params import name_folder
from clippan_cli.training import adapt
from clippan_cli.training import train as fullres
from clippan_cli.training.loop import steps
from tests.cli.test_cli import call, refused
from tests.conftest import Made
from tests.training.conftest import Said

MakeScene = Callable[..., Made]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt, "HELD", 2)
    monkeypatch.setattr(fullres, "HELD", 1)
    monkeypatch.setattr(steps, "draw_curves", lambda *_: None)


def test_adapt_train_and_sharpen(make_scene: MakeScene, tmp_path: Path, tiny_clip: str) -> None:
    scene = make_scene(size=60)
    place, supervisor, model = str(tmp_path), str(tmp_path / "supervisor"), str(tmp_path / "model")
    common = ("--jobs", "0", "--iterations", "1", "--batch", "1")
    clip = ("--clip", tiny_clip, "--clip-weights", "none")
    result = call(
        "adapt", "--scenes", place, "-o", supervisor, *clip, *common, "--ms-input", "rgb", "--loss", "fusion=0"
    )
    assert result.stdout == supervisor + "\n", result.stderr
    assert "CLIP is untrained" in result.stderr
    result = call("train", "--scenes", place, "-o", model, "--supervisor", supervisor, *common, "--json", "-q")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["training"]["options"]["prompt"] == "wald"
    assert "--supervisor supervisor" in document["training"]["command"]
    result = call("sharpen", scene.ms, scene.pan, "-o", scene.out, "--model", model, "--no-guard", "--json", "-q")
    assert json.loads(result.stdout)["method_used"] == "model"


def test_a_table(make_scene: MakeScene, tmp_path: Path, tiny_clip: str) -> None:
    make_scene(size=60)
    words = ["--clip", tiny_clip, "--clip-weights", "none", "--jobs", "0", "--iterations", "1", "--batch", "1"]
    words += ["--adapt-iterations", "1", "--seeds", "1", "-q"]
    result = call("ablate", "input", "--scenes", str(tmp_path), "-o", str(tmp_path / "table"), *words)
    assert result.exit_code == 0, result.stderr
    names = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert names == ["exp", "mtf-glp-hpm-r", "gsa", "start", "differences", "conv", "pca", "rgb", "gbnir"]


def test_whether_losses_point_to_the_truth(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene(size=80)
    words = ("ablate", "gradient", "--scenes", str(tmp_path), "-o", str(tmp_path / "table"), "--supervisor", "none")
    result = call(*words, "-q")
    assert result.exit_code == 0, result.stderr
    names = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert names == ["spectral", "spatial", "quality", "structure", "teacher", "PAN"]
    refused(call(*words), 5, "holds a table", "--overwrite")
    document = json.loads(call(*words, "--overwrite", "--json", "-q").stdout)
    assert document["scenes"] == [tmp_path.name]
    assert {row["loss"] for row in document["rows"]} == {*names[:-1], "PAN gain"}


def test_a_folder_is_named_after_the_scenes(
    make_scene: MakeScene, tmp_path: Path, tiny_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(size=60)
    (tmp_path / "town").mkdir()
    for path in (scene.ms, scene.pan):
        Path(path).rename(tmp_path / "town" / Path(path).name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    common = ("--jobs", "0", "--iterations", "1", "--batch", "1")
    place = ("--scenes", str(tmp_path / "town"))
    result = call("adapt", *place, "--clip", tiny_clip, "--clip-weights", "none", *common)
    assert result.stdout == "town-supervisor\n", result.stderr
    assert "the supervisor will be in ./town-supervisor (--output names another folder)" in result.stderr
    result = call("train", *place, "--supervisor", "town-supervisor", *common, "-q")
    assert result.stdout == "town-model\n", result.stderr
    assert {path.name for path in Path().iterdir()} == {"town-supervisor", "town-model"}
    assert (Path("town-model") / "model.toml").is_file()
    refused(call("train", *place, "--supervisor", "none", *common), 5, "town-model holds a model", "--overwrite")


@pytest.mark.parametrize(
    ("scenes", "name"),
    [
        (["/data/town"], "town"),
        (["/data/town/", "/data/sea"], "town"),
        (["lists/2026.csv"], "2026"),
        (["town.toml"], "town"),
        (["scenes.v2"], "scenes.v2"),
        (["."], "here"),
        ([".."], "above"),
        (["../sea"], "sea"),
        (["link"], "link"),
    ],
)
def test_what_a_folder_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenes: list[str], name: str) -> None:
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    Path("link").symlink_to(tmp_path)
    said = Said()
    assert name_folder(None, scenes, "model", said) == f"{name}-model"
    assert said.lines == [f"the model will be in ./{name}-model (--output names another folder)"]
    assert name_folder("mine", scenes, "model", said) == "mine"
    assert len(said.lines) == 1


@pytest.mark.parametrize(
    "idle",
    [
        ("--clip", "RN50"), ("--precision", "bf16"), ("--ms-input", "rgb"), ("--adapters", "six"), ("--prompt", "khan"),
        ("--prompts", "mine.toml"), ("--adapt-iterations", "3"),
    ],
)  # fmt: skip
def test_what_a_supervisor_was_adapted_with_is_not_said_again(tmp_path: Path, idle: tuple[str, str]) -> None:
    words = ("train", "--scenes", str(tmp_path), "-o", str(tmp_path / "m"), "--supervisor", "s", *idle)
    refused(call(*words), 2, f"{idle[0]} cannot stand beside --supervisor")


def test_what_is_refused(make_scene: MakeScene, tmp_path: Path, tiny_clip: str) -> None:
    out = ("-o", str(tmp_path / "m"))
    place = ("--scenes", str(tmp_path))
    refused(call("adapt", *place, *out), 3, "no scene in", "folders with an MS and a PAN")
    refused(call("train", *place, *out), 3, "no scene in")
    make_scene(size=60)
    refused(call("train", *place, *out, "--clip", "ViT-B-32-quickgelu"), 4, "not on this machine", "--download")
    refused(call("train", *place, *out, "--supervisor", str(tmp_path)), 2, "no supervisor in", "clippan adapt")
    refused(call("train", *place, *out, "--tune", "full"), 2, "--tune is a command of its own", "clippan tune")
    refused(call("train", *place, *out, "--ablate", "input"), 2, "--ablate is a command of its own", "clippan ablate")
    for gone in (("--backbone", "pnn"), ("--batch", "3"), ("--supervisor", "none")):
        assert call("tune", *place, *out, *gone).exit_code == 2
    refused(call("train", *place, *out, "--supervisor", "s", "--clip", "RN50"), 2, "--clip cannot stand beside")
    refused(call("ablate", "input", *place, *out, "--supervisor", "s"), 2, "supervisors of its own")
    refused(call("train", *place, *out, "--set", "width=8"), 2, "--set cannot stand beside --init")
    refused(call("train", *place, *out, "--backbone", "pnn", "--init", "injector-4"), 2, "--init cannot stand beside")
    refused(
        call("pretrain", *out, "--init", "injector-4", "--network", "pnn"), 2, "--network cannot stand beside --init"
    )
    assert call("train", *place, *out, "--angle", "2").exit_code == 2
    refused(call("train", *place, *out, "--supervisor", "none", "--download"), 2, "--download cannot stand beside")
    assert call("train", *place, *out, "--seeds", "2").exit_code == 2
    refused(call("train", *place, *out, "--loss", "language=much"), 2, "not a weight")
    refused(call("train", *place, *out, "--loss", "charm=1"), 2, "unknown loss 'charm'")
    refused(call("ablate", "colours", *place, *out), 2, "unknown table")
    refused(call("adapt", *place, *out, "--clip", tiny_clip, "--prompt", "mine"), 2, "unknown prompt")
    refused(call("adapt", *place, *out, "--clip", tiny_clip, "--clip-weights", "none", "--ms-input", "hsv"), 2, "hsv")
    assert not (tmp_path / "m" / "model.toml").exists()
