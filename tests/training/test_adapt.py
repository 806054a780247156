from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from clippan_cli.errors import Interrupted, ModelError, OutputError, UsageError
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore.supervisor import load_supervisor
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.training import adapt as adapting
from clippan_cli.training.adapt import Classroom, adapt
from clippan_cli.training.data.surveyed_scenes import survey_scenes
from clippan_cli.training.objectives import stage_one
from clippan_cli.training.options import AdaptOptions, TrainOptions
from clippan_cli.training.train import train
from tests.conftest import Made
from tests.training.conftest import Said, rows

pytestmark = pytest.mark.usefixtures("few_tiles")


def test_a_supervisor_learns_the_types(
    scene: Made, tmp_path: Path, learning: AdaptOptions, training: TrainOptions
) -> None:
    options = replace(learning, iterations=40, every=40, batch=4, rate=3e-3)
    record = adapt([str(scene.folder)], tmp_path / "s", options).record
    assert record.held_out["type_accuracy"] > 0.45
    made = load_supervisor(tmp_path / "s")
    assert made.bands == 4
    # What it has learned tells a fusion from an interpolation.
    trained = replace(training, supervisor=str(tmp_path / "s"), iterations=1)
    held = train([str(scene.folder)], tmp_path / "m", trained).record.training.held_out
    assert held["gsa"]["validation_language"] < held["exp"]["validation_language"]
    (row,) = rows(tmp_path / "s")
    assert {"type", "scene", "fusion", "type_accuracy", "retrieval", "cosine"} <= set(row)


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
