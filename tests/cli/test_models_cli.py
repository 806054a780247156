from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clippan_cli.training.data import simulated_pairs as samples
from clippan_cli.training.loop import steps
from clippan_cli.training.objectives import simulated as supervised
from tests.cli.test_cli import call, refused
from tests.conftest import Made

MakeScene = Callable[..., Made]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "RATIOS", {2.0: 48})
    monkeypatch.setattr(samples, "_RATIO_SHARES", (1.0,))
    monkeypatch.setattr(supervised, "_VALIDATION", 1)
    monkeypatch.setattr(steps, "draw_curves", lambda *_: None)


def test_models() -> None:
    assert call("models", "list").stdout.startswith("injector-2\tinjector\tany bands\tratio 2–8\t64,744 weights")
    before, listed = json.loads(call("models", "list", "--json").stdout)["models"]
    assert before["id"] == "injector-2"
    assert listed == json.loads(call("models", "show", "injector-4", "--json").stdout)
    assert {"id", "network", "bands", "ratios", "weights", "sha256", "settings", "training", "folder"} == set(listed)
    assert (listed["id"], listed["training"]["options"]["iterations"]) == ("injector-4", 12_000)
    assert "How it was trained" in call("models", "show", "injector-4").stdout
    assert "\tok\tsha256 " in call("models", "verify").stdout
    refused(call("models", "show", "nothing"), 2, "no method or model 'nothing'")


def test_supervisors() -> None:
    assert "\nsupervisor-1\tsupervisor\t" in call("models", "list").stdout
    (listed,) = json.loads(call("models", "list", "--json").stdout)["supervisors"]
    assert listed == json.loads(call("models", "show", "supervisor-1", "--json").stdout)
    assert (listed["bands"], listed["ms_input"]) == (0, "differences")
    assert "How it was taught" in call("models", "show", "supervisor-1").stdout
    assert call("models", "verify", "supervisor-1").stdout.startswith("supervisor-1\tok\tsha256 ")


def test_pretrain_tune_and_sharpen(make_scene: MakeScene, tmp_path: Path) -> None:
    made, tuned = str(tmp_path / "made"), str(tmp_path / "tuned")
    words = ("--set", "width=8", "--set", "blocks=1", "--iterations", "2", "--procedural", "1", "--batch", "1")
    assert call("pretrain", "-o", made, *words, "-q").stdout == made + "\n"
    scene = make_scene(size=96)
    tuning = ("--init", made, "--weights", "full", "--iterations", "2", "-q")
    result = call("tune", "--scenes", str(tmp_path), "-o", tuned, *tuning)
    assert result.stdout == tuned + "\n", result.stderr
    result = call("sharpen", scene.ms, scene.pan, "-o", scene.out, "--model", tuned, "--no-guard", "--json", "-q")
    assert json.loads(result.stdout)["method_used"] == "tuned"


def test_bad_words(tmp_path: Path) -> None:
    refused(call("pretrain", "-o", str(tmp_path / "m"), "--set", "widht=3"), 2, "injector cannot be made", "width")
    refused(call("pretrain", "-o", str(tmp_path / "m"), "--network", "resnet"), 2, "unknown network 'resnet'")
    refused(call("pretrain", "-o", str(tmp_path / "m"), "--resume", "--overwrite"), 2, "exclude each other")
    refused(call("tune", "--scenes", str(tmp_path), "-o", str(tmp_path / "m"), "--weights", "all"), 2, "unknown way")


def test_a_damaged_model_is_refused_before_any_work(make_scene: MakeScene, tmp_path: Path) -> None:
    made = tmp_path / "made"
    words = ("--set", "width=8", "--set", "blocks=1", "--iterations", "1", "--procedural", "1", "--batch", "1")
    call("pretrain", "-o", str(made), *words, "-q")
    weights = made / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    scene = make_scene(size=40)
    refused(call("sharpen", scene.ms, scene.pan, "-o", scene.out, "--model", str(made)), 4, "sha256")
    refused(call("models", "verify", str(made)), 4, "sha256")
    assert not Path(scene.out).exists()
