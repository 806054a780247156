"""A card's command repeats the training: what the command line reads from it are the options that it was made with."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from clippan_cli.base.options import Entry, build, entries, spelled, stated
from clippan_cli.cli.app import app
from clippan_cli.modelstore.records import ClipRecord, SupervisorRecord, TrainingRecord
from clippan_cli.networks.registry import network
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.training import adapt, pretrain, train, tune
from clippan_cli.training.options import AdaptOptions, ClipOptions, PretrainOptions, TrainOptions, TuneOptions
from clippan_cli.training.products.card import supervisor_card, training_card
from clippan_cli.training.products.recipe import make_recipe

MODULES: dict[str, Any] = {"adapt": adapt, "pretrain": pretrain, "train": train, "tune": tune}
KINDS: dict[str, type[Any]] = {
    "adapt": AdaptOptions, "pretrain": PretrainOptions, "train": TrainOptions, "tune": TuneOptions
}  # fmt: skip

RECORDED_CLIP = ClipRecord(
    name="ViT-X", weights="none", precision="fp32", sha256="", mean=(0.5,) * 3, deviation=(0.5,) * 3, config=""
)


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], Any]:
    """Reads words as the real command does; nothing is trained."""
    seen: list[Any] = []

    def run(*given: Any) -> Any:
        seen.append(next(each for each in given if dataclasses.is_dataclass(each)))
        return SimpleNamespace(output="m", plain=dict)

    for name, module in MODULES.items():
        monkeypatch.setattr(module, name, run)

    def read(name: str, words: list[str]) -> Any:
        head = [name] if name == "pretrain" else [name, "--scenes", "SCENES"]
        result = CliRunner().invoke(app, [*head, "-o", "m", *words])
        assert result.exit_code == 0, result.output
        return seen.pop()

    return read


def repeated(options: Any) -> dict[str, Any]:
    """The options that a command repeats; of places the name alone."""
    found = {}
    for entry in entries(type(options)):
        value = entry.value(options)
        if entry.option.place:
            value = tuple(map(_name, value)) if isinstance(value, tuple) else _name(value)
        found[entry.key] = value if entry.repeated else entry.default
    return found


def _name(place: str | None) -> str | None:
    return None if place is None else Path(place).name


SCENE = SceneOptions(register=(-0.25, 0.5), sensor="worldview-3", mtf_gain=0.27, src_nodata=-9999.0, warp=True)
CLIP = ClipOptions(
    clip="/some/tiny.json", clip_weights="/some/clip.pt", precision="bf16", ms_input="rgb", prompt="khan",
    prompts="/some/mine.toml",
)  # fmt: skip

SAID: dict[str, tuple[str, Any]] = {
    "adapt": ("adapt", AdaptOptions(
        clip=CLIP, losses={"type": 0.5, "scene": 0.0}, type_temperature=0.1, iterations=7, batch=3, rate=2e-4, seed=9,
        scene=SCENE,
    )),
    "train on": ("train", TrainOptions(
        init="/models/mine", supervisor="/some/s", losses={"language": 0.1}, degradation="bicubic", teacher="gsa",
        keep_teacher=True, iterations=12, rate=1e-5, consistency=3, scene=SCENE,
    )),
    "train anew": ("train", TrainOptions(
        backbone="injector", settings={"width": 8, "blocks": 1}, clip=CLIP, adapt_iterations=4, teacher="none",
    )),
    "train without language": ("train", TrainOptions(supervisor="none", scene=SceneOptions(register="off"))),
    "tune": ("tune", TuneOptions(init="/models/mine", weights="freeze", angle=0.3, consistency=0, scene=SCENE)),
    "pretrain": ("pretrain", PretrainOptions(
        images=("/a/photos", "/b/tiles"), scenes=("/c/wv3",), procedural=0, network="pnn",
        settings={"width": 12, "form": "a"}, bands=3, iterations=20_000, batch=2, rate=0.0031, angle=2.5,
        scene=SceneOptions(src_nodata="none"),
    )),
    "pretrain on": ("pretrain", PretrainOptions(init="injector-4", seed=2**31)),
    "nothing": ("pretrain", PretrainOptions()),
}  # fmt: skip


@pytest.mark.parametrize("which", list(SAID))
def test_a_command_repeats_its_training(which: str, parse: Callable[[str, list[str]], Any]) -> None:
    name, options = SAID[which]
    assert stated(parse(name, spelled(options))) == repeated(options)


def test_what_is_usual_needs_no_word() -> None:
    for kind in KINDS.values():
        assert spelled(kind()) == []


def test_how_a_training_was_run_is_not_repeated() -> None:
    """Neither the machine nor what it did about a former run makes another training."""
    options = TrainOptions(
        every=7, jobs=5, device="cuda:1", overwrite=True, resume=True, clip=ClipOptions(download=True),
        scene=SceneOptions(config={"GDAL_NUM_THREADS": "2"}),
    )  # fmt: skip
    assert spelled(options) == []


def _values(entry: Entry) -> st.SearchStrategy[Any]:
    """Values of a number or of a switch; six digits of a number are printed."""
    least, most = entry.option.least or 0, entry.option.most or 10_000
    if entry.kind is bool:
        return st.booleans()
    if entry.kind is int:
        return st.integers(int(least), int(most))
    return st.floats(least, most).map(lambda value: float(f"{value:.4g}"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_options_are_repeated(parse: Callable[[str, list[str]], Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(KINDS)))
    values: dict[str, Any] = {}
    for entry in entries(KINDS[name]):
        if entry.kind in (int, float, bool) and data.draw(st.booleans()):
            values[entry.key] = data.draw(_values(entry))
    if values.get("overwrite") and values.get("resume"):
        values["resume"] = False
    if name == "train":
        # It stands beside `clip` only.
        values.pop("adapt_iterations", None)
    options = build(KINDS[name], values)
    assert stated(parse(name, spelled(options))) == repeated(options)


def test_what_a_card_says() -> None:
    options: dict[str, Any] = {"seed": 4, "iterations": 12_000, "batch": 3}
    training = TrainingRecord(
        options=options, sources={"images": 3, "scenes": 2}, command="clippan pretrain -o m --seed 4", minutes=1.5,
        device="cpu", torch="2.6",
    )  # fmt: skip
    net = network("injector", 1, width=8, blocks=1)
    text = training_card("mine", net, training, "It learned {much}.")
    assert text.startswith("# mine\n")
    assert "    clippan pretrain -o m --seed 4\n" in text
    assert "1.5 minutes on cpu, torch 2.6, seed 4: 12,000 steps of 3 pairs. Sources: 3 images, 2 scenes." in text
    assert f"{sum(weight.numel() for weight in net.parameters()):,} weights, any number of bands." in text
    assert "It learned {much}." in text
    fixed = training_card("mine", network("pnn", 3, widths=(4, 4)), training, "")
    assert "weights, 3 bands." in fixed


@pytest.mark.parametrize("bands", [0, 4])
@pytest.mark.parametrize("leaks", [False, True])
def test_what_the_card_of_a_supervisor_says(bands: int, leaks: bool) -> None:
    """Whether the type is read from the image, or the adapter gives it away."""
    held = {"accuracy_ms": 0.9, "accuracy_pan": 0.8, "accuracy_hrms": 0.75, "accuracy_distorted": 0.71}
    held |= {"swapped": 0.4 if leaks else 0.79, "noise": 0.33, "retrieval": 0.5, "cosine": 0.6}
    options: dict[str, Any] = {"seed": 4, "iterations": 1_300, "batch": 8}
    record = SupervisorRecord(
        id="mine", bands=bands, wavelengths=(0.0,) * bands, ms_input="pca", adapters="six", sha256="",
        clip=RECORDED_CLIP, prompts=read_prompts(), held_out=held,
        training=TrainingRecord(
            options=options, command="clippan adapt -o mine", minutes=1.5, device="cpu", torch="2.6"
        ),
    )  # fmt: skip
    text = supervisor_card(record)
    assert text.startswith("# mine\n")
    assert f"beside CLIP ViT-X; {'4 bands' if bands else 'any number of bands'}." in text
    assert "    clippan adapt -o mine\n" in text
    assert "1.5 minutes on cpu, torch 2.6, seed 4:\n1,300 steps of 8 tiles." in text
    assert "Adapters: six. MS as CLIP sees it: pca." in text
    assert f"| 0.90 | 0.80 | 0.75 | 0.71 | {held['swapped']:.2f} | 0.33 |" in text
    assert ("an adapter of another type changes nothing" in text) == (not leaks)
    assert ("**The adapter gives it away**" in text) == leaks
    assert all(len(line) <= 120 for line in text.splitlines())


def test_the_command_can_be_typed(tmp_path: Path) -> None:
    options = PretrainOptions(images=("/a/my photos",), rate=0.00123456789, network="pnn", settings={"widths": (4, 4)})
    words = shlex.split(str(make_recipe("clippan pretrain", tmp_path / "m", options, {}).command))
    assert words[:4] == ["clippan", "pretrain", "-o", "m"]
    assert {"my photos", "0.00123456789", "widths=4,4"} <= set(words)
