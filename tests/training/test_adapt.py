from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import rasterio
import torch

from clippan_cli.errors import InputError, Interrupted, ModelError, OutputError, UsageError
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore import supervisor as supervisors
from clippan_cli.modelstore.supervisor import load_supervisor
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.scene import open_scene
from clippan_cli.scene.find import SceneFiles
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.forms import ADAPTERS
from clippan_cli.supervision.projector import Projector
from clippan_cli.supervision.prompts import KINDS
from clippan_cli.training import adapt as adapting
from clippan_cli.training.adapt import Classroom, adapt
from clippan_cli.training.data import learned_scene
from clippan_cli.training.data.surveyed_scenes import survey_scenes
from clippan_cli.training.objectives import stage_one
from clippan_cli.training.options import AdaptOptions, ClipOptions, TrainOptions
from clippan_cli.training.train import train
from tests.conftest import Made
from tests.training.conftest import MakeScene, Said, rows

pytestmark = pytest.mark.usefixtures("few_tiles")

HELD = (*(f"accuracy_{name}" for name in KINDS), "swapped", "noise", "retrieval", "cosine")


def test_a_supervisor_learns_the_types(
    scene: Made, tmp_path: Path, learning: AdaptOptions, training: TrainOptions
) -> None:
    options = replace(learning, iterations=40, every=40, batch=4, rate=3e-3)
    record = adapt([str(scene.folder)], tmp_path / "s", options).record
    # By chance it would be a quarter.
    assert sum(record.held_out[f"accuracy_{name}"] for name in KINDS) / 4 > 0.45
    made = load_supervisor(tmp_path / "s")
    assert made.bands == 4
    # What it has learned tells a fusion from an interpolation.
    trained = replace(training, supervisor=str(tmp_path / "s"), iterations=1)
    held = train([str(scene.folder)], tmp_path / "m", trained).record.training.held_out
    assert held["gsa"]["validation_language"] < held["exp"]["validation_language"]
    (row,) = rows(tmp_path / "s")
    assert {"type", "scene", "fusion", *HELD} <= set(row)


def test_what_is_read_from_the_adapter_is_no_knowledge(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    """Six adapters learn to say which one an image goes through; a shared one cannot."""
    options = replace(learning, iterations=12, every=12, batch=3, rate=5e-3)
    held = {}
    for form in ADAPTERS:
        said = replace(options, clip=replace(options.clip, adapters=form))
        record = adapt([str(scene.folder)], tmp_path / form, said).record
        assert (record.adapters, load_supervisor(tmp_path / form).adapters.form) == (form, form)
        held[form] = record.held_out
        text = (tmp_path / form / "CARD.md").read_text("utf-8")
        assert f"Adapters: {form}. MS as CLIP sees it: conv." in text
        assert ("an adapter of another type changes nothing" in text) == (form == "shared")
        assert ("The adapter gives it away" in text) == (form == "six")
    plain = {form: sum(found[f"accuracy_{name}"] for name in KINDS) / 4 for form, found in held.items()}
    assert held["shared"]["swapped"] == pytest.approx(plain["shared"], abs=2e-4)
    assert held["six"]["swapped"] < plain["six"] - 0.1


def test_who_looks_at_differences_serves_any_bands(
    scene: Made, tmp_path: Path, learning: AdaptOptions, make_scene: MakeScene
) -> None:
    options = replace(learning, iterations=1, clip=replace(learning.clip, ms_input="differences"))
    record = adapt([str(scene.folder)], tmp_path / "s", options).record
    assert (record.bands, record.ms_input) == (0, "differences")
    (tmp_path / "rgb").mkdir()
    three = make_scene(size=60, count=3)
    for path in (three.ms, three.pan):
        Path(path).rename(tmp_path / "rgb" / Path(path).name)
    (site,) = survey_scenes([str(tmp_path / "rgb")], 64, {}, SceneOptions(), Said())
    load_supervisor(tmp_path / "s").check_fit("rgb", site.wavelengths)
    assert "any number of bands" in (tmp_path / "s" / "CARD.md").read_text("utf-8")


def test_an_adaptation_that_was_stopped_ends_the_same(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    whole = adapt([str(scene.folder)], tmp_path / "whole", learning)
    said = Said(stop_at=3)
    with pytest.raises(Interrupted):
        adapt([str(scene.folder)], tmp_path / "parts", learning, said, said.stop)
    with pytest.raises(ModelError, match="another prompt"):
        adapt(
            [str(scene.folder)],
            tmp_path / "parts",
            replace(learning, clip=replace(learning.clip, prompt="khan"), resume=True),
        )
    parts = adapt([str(scene.folder)], tmp_path / "parts", replace(learning, resume=True))
    assert parts.record.sha256 == whole.record.sha256


def test_losses_of_stage_one_can_be_switched_off(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    options = replace(learning, iterations=1, losses={"scene": 0, "fusion": 0})
    adapt([str(scene.folder)], tmp_path / "s", options)
    assert "scene" not in rows(tmp_path / "s")[0]
    with pytest.raises(UsageError, match="unknown loss 'colour'"):
        adapt([str(scene.folder)], tmp_path / "t", replace(learning, losses={"colour": 1}))
    with pytest.raises(UsageError, match="all losses are switched off"):
        adapt([str(scene.folder)], tmp_path / "t", replace(learning, losses=dict.fromkeys(stage_one.LOSSES, 0.0)))
    with pytest.raises(OutputError, match="holds a supervisor"):
        adapt([str(scene.folder)], tmp_path / "s", learning)


def test_sensors_of_other_bands_do_not_mix(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    encoder = Encoder(learning.clip.clip)
    (site,) = survey_scenes([str(scene.folder)], encoder.side, {"bdsd-pc": method("bdsd-pc")}, SceneOptions(), Said())
    sites = [replace(site, wavelengths=each) for each in ((480.0, 545.0, 660.0, 830.0), (660.0, 545.0, 480.0, 830.0))]
    with pytest.raises(UsageError, match=r"band 1 of .* lies at 660 nm, the supervisor's at 480 nm"):
        adapting.adapt_on(Classroom(sites, encoder), tmp_path / "s", learning, Said(), Event())


def test_only_what_was_learned_is_kept(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    """CLIP itself is read where it lies, and must be the same."""
    record = adapt([str(scene.folder)], tmp_path / "s", learning).record
    made = load_supervisor(tmp_path / "s")
    assert not any("encoder" in name for name in made.state_dict())
    assert record.training.options["iterations"] == 4
    assert tuple(record.held_out) == HELD
    assert "--clip-weights none" in (record.training.command or "")
    assert {path.name for path in (tmp_path / "s").iterdir()} >= {"supervisor.toml", "training.csv", "CARD.md"}


def test_clip_that_is_untrained_is_said(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    said = Said()
    adapt([str(scene.folder)], tmp_path / "s", replace(learning, iterations=1), said)
    assert "warning: CLIP is untrained: what such a supervisor asks for means nothing" in said.lines


def test_seeds_repeat_and_differ(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    digests = [
        adapt([str(scene.folder)], tmp_path / name, replace(learning, iterations=1, seed=seed)).record.sha256
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_scenes_and_clip_are_read_once(
    scene: Made, tmp_path: Path, learning: AdaptOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders: list[str] = []
    opened: list[str] = []

    def build(name: str, *more: Any, **rest: Any) -> Encoder:
        encoders.append(name)
        return Encoder(name, *more, **rest)

    def open_(files: SceneFiles, *more: Any) -> Any:
        opened.append(files.name)
        return open_scene(files, *more)

    monkeypatch.setattr(supervisors, "Encoder", build)
    monkeypatch.setattr(learned_scene, "open_scene", open_)
    adapt([str(scene.folder)], tmp_path / "s", replace(learning, iterations=1))
    assert encoders == [learning.clip.clip]
    assert opened == [scene.folder.name]


@pytest.mark.parametrize(
    ("more", "error", "what"),
    [
        ({"losses": {"colour": 1.0}}, UsageError, "unknown loss 'colour'"),
        ({"losses": dict.fromkeys(stage_one.LOSSES, 0.0)}, UsageError, "all losses are switched off"),
        ({"clip": ClipOptions(prompt="mine")}, UsageError, "unknown prompt 'mine'"),
        ({"clip": ClipOptions(prompts="/nowhere.toml")}, UsageError, "cannot use the prompts of /nowhere.toml"),
        ({"clip": ClipOptions(ms_input="hsv")}, UsageError, "unknown MS input 'hsv'"),
        ({"clip": ClipOptions(adapters="seven")}, UsageError, "unknown form of adapters 'seven'"),
    ],
)
def test_what_is_wrong_is_said_before_clip_is_read(
    scene: Made, tmp_path: Path, learning: AdaptOptions, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any],
    error: type[Exception], what: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(adapting, "read_clip", None)
    with pytest.raises(error, match=what):
        adapt([str(scene.folder)], tmp_path / "s", replace(learning, **more))
    assert not (tmp_path / "s").exists()


def test_no_scene_is_said_before_clip_is_read(
    tmp_path: Path, learning: AdaptOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "read_clip", None)
    with pytest.raises(InputError, match="no scene in"):
        adapt([str(tmp_path)], tmp_path / "s", learning)


def test_wordings_of_ones_own_are_part_of_the_training(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('ms = "a coarse image of many colours"\n')
    said = Said()
    said.stop.set()
    options = replace(learning, clip=replace(learning.clip, prompts=str(mine)))
    with pytest.raises(Interrupted):
        adapt([str(scene.folder)], tmp_path / "s", options, said, said.stop)
    with pytest.raises(ModelError, match="another texts"):
        adapt([str(scene.folder)], tmp_path / "s", replace(learning, resume=True))
    mine.rename(tmp_path / "moved.toml")
    moved = replace(options, clip=replace(options.clip, prompts=str(tmp_path / "moved.toml")), resume=True)
    adapt([str(scene.folder)], tmp_path / "s", moved)
    assert load_supervisor(tmp_path / "s").prompts.ms == "a coarse image of many colours"


def test_what_scenes_need_reaches_the_adaptation(scene: Made, tmp_path: Path, learning: AdaptOptions) -> None:
    said = SceneOptions(mtf_gain=0.2, register="off")
    record = adapt([str(scene.folder)], tmp_path / "s", replace(learning, iterations=1, scene=said)).record
    assert "--register off --mtf-gain 0.2" in (record.training.command or "")
    with pytest.raises(UsageError, match="unknown sensor"):
        adapt([str(scene.folder)], tmp_path / "t", replace(learning, scene=SceneOptions(sensor="sputnik")))


def test_an_adaptation_works_in_one_process(
    scene: Made, tmp_path: Path, learning: AdaptOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="clippan adapt works in one process"):
        adapt([str(scene.folder)], tmp_path / "s", learning)


@pytest.mark.parametrize("kind", ["conv", "pca", "rgb", "gbnir"])
def test_the_projector_begins_as_the_stretched_bands(scene: Made, tmp_path: Path, kind: str) -> None:
    with rasterio.open(scene.ms, "r+") as file:
        file.descriptions = ("blue", "green", "red", "nir")
    (site,) = survey_scenes([str(scene.folder)], 64, {}, SceneOptions(sensor="worldview-4"), Said())
    made = Projector(kind, *site.channels(kind))
    low, width = site.low[:-1], (site.high - site.low)[:-1]
    dark, bright = (
        made(image, image, image[:, :1])
        for end in (low, low + width)
        for image in [((end - low) / width)[None, :, None, None].expand(1, -1, 8, 8)]
    )
    assert dark.shape == (1, 1, 3, 8, 8)
    assert bool(torch.isfinite(bright).all())
    if kind in ("rgb", "conv"):
        torch.testing.assert_close(dark, torch.zeros_like(dark), atol=1e-4, rtol=0)
        torch.testing.assert_close(bright, torch.ones_like(bright), atol=1e-4, rtol=0)
