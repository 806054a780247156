from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clippan_cli.errors import OutputError, UsageError
from clippan_cli.supervision.forms import INPUTS
from clippan_cli.supervision.prompts import wordings
from clippan_cli.training import ablate as ablating
from clippan_cli.training.ablate import COLUMNS, TABLES, Ablation, Row, ablate, variants
from clippan_cli.training.objectives.stage_two import PAPER
from clippan_cli.training.options import AblateOptions, AdaptOptions, TrainOptions
from clippan_cli.training.train import Ground
from tests.conftest import Made

pytestmark = pytest.mark.usefixtures("few_tiles")


def test_the_tables_of_the_paper(training: TrainOptions) -> None:
    assert {table: len(variants(table, training)) for table in TABLES} == {
        "losses": 7, "backbones": 20, "stage1": 4, "input": 5, "prompts": 5
    }  # fmt: skip
    with pytest.raises(UsageError, match="unknown table"):
        variants("colours", training)
    for table in TABLES:
        with pytest.raises(UsageError, match="the lines would not differ"):
            variants(table, replace(training, supervisor="none"))


@pytest.mark.usefixtures("last_is_kept")
def test_an_ablation(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    short = replace(training, iterations=1, every=1, adapt_iterations=1)
    options = AblateOptions(seeds=2, training=short)
    found = ablate([str(scene.folder)], tmp_path / "t", "stage1", options)
    assert [row.variant for row in found.rows] == ["no language", "scene", "+ type", "+ fusion"]
    assert any(row.spread["hqnr"] > 0 for row in found.rows)
    assert list(found.beside) == ["exp", "mtf-glp-hpm-r", "gsa", "start"]
    more = AblateOptions(seeds=2, training=replace(short, resume=True))
    assert ablate([str(scene.folder)], tmp_path / "t", "stage1", more).rows == found.rows
    assert len(list(found.lines())) == 1 + 4 + 4
    assert (tmp_path / "t" / "ablation.csv").read_text().count("\n") == 5
    with pytest.raises(OutputError, match="holds a table"):
        ablate([str(scene.folder)], tmp_path / "t", "stage1", options)


def test_lines_differ_in_what_their_table_is_about(training: TrainOptions) -> None:
    stage1 = {line.name: line for line in variants("stage1", training)}
    assert stage1["no language"].training.supervisor == "none"
    kept = [tuple(name for name, weight in line.adapting.losses.items() if weight) for line in stage1.values()]
    assert kept[1:] == [("scene",), ("type", "scene"), ("type", "scene", "fusion")]
    assert [line.adapting.clip.ms_input for line in variants("input", training)] == list(INPUTS)
    prompts = [line.adapting.clip.prompt for line in variants("prompts", training)]
    assert prompts == wordings()
    seeing = replace(training, losses={"language": PAPER["language"]})
    for table in ("input", "prompts"):
        assert all(line.training == seeing for line in variants(table, training))
        # A weight that was given is kept.
        said = variants(table, replace(training, losses={"language": 2.0, "quality": 0.3}))
        assert all(line.training.losses == {"language": 2.0, "quality": 0.3} for line in said)


def test_the_table_of_networks(training: TrainOptions) -> None:
    """Each is trained with and without language, one scale down and at full resolution."""
    lines = {line.name: line.training for line in variants("backbones", training)}
    for name in ("pnn", "lambda-pnn", "arbrpn", "lformer", "pan-mamba"):
        on = {
            mark: {loss for loss, weight in lines[f"{name}{mark}"].losses.items() if weight}
            for mark in (", reduced", "-C, reduced", ", full", "-C, full")
        }
        assert on == {
            ", reduced": {"truth"},
            "-C, reduced": {"truth", "language"},
            ", full": {"spectral", "spatial", "quality"},
            "-C, full": {"spectral", "spatial", "quality", "language"},
        }
        assert all(lines[f"{name}{mark}"].backbone == name for mark in on)


def test_the_table_of_losses(training: TrainOptions) -> None:
    lines = {line.name: line.training.losses for line in variants("losses", training)}
    on = {name: {loss for loss, weight in losses.items() if weight} for name, losses in lines.items()}
    basic = {"spectral", "spatial", "quality"}
    assert on["spectral + spatial"] == {"spectral", "spatial"}
    assert on["quality"] == {"quality"}
    assert on["all three"] == basic
    assert on["+ language"] == basic | {"language"}
    assert on["+ teacher"] == basic | {"teacher"}
    assert on["+ language + teacher"] == basic | {"language", "teacher"}
    assert lines["as given"] == {"language": PAPER["language"]}
    # A weight that was given is kept, and a loss that is off by default has one where the table asks for it.
    said = {line.name: line.training.losses for line in variants("losses", replace(training, losses={"quality": 0.7}))}
    assert said["quality"]["quality"] == 0.7
    assert said["all three"]["spatial"] == 1


def test_lines_that_ask_for_the_same_share_a_supervisor(
    scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted: list[tuple[int, Path]] = []
    trained: list[tuple[str, bool]] = []
    surveys: list[Any] = []

    def adapt_on(_: Any, path: Path, options: AdaptOptions, *more: Any) -> None:
        adapted.append((options.seed, path))

    def train_on(ground: Ground, place: Path, *_: Any, **__: Any) -> Any:
        place.mkdir(parents=True)
        trained.append((place.name, ground.supervisor is not None))
        row = {**dict.fromkeys(COLUMNS, 0.9), "d_rho": 0.1 * len(trained)}
        return SimpleNamespace(record=SimpleNamespace(training=SimpleNamespace(held_out={"exp": row, "model": row})))

    def survey(*given: Any) -> list[Any]:
        surveys.append(given)
        return []

    monkeypatch.setattr(ablating, "adapt_on", adapt_on)
    monkeypatch.setattr(ablating, "load_supervisor", lambda path, encoder: path)
    monkeypatch.setattr(ablating, "train_on", train_on)
    monkeypatch.setattr(ablating, "survey_scenes", survey)
    found = ablate([str(scene.folder)], tmp_path / "t", "losses", AblateOptions(seeds=2, training=training))
    # Three lines of two seeds see language; what it is adapted with is the same in all of them.
    assert adapted == [(0, tmp_path / "t" / "supervisor-0"), (1, tmp_path / "t" / "supervisor-1")]
    assert [name for name, seeing in trained if seeing] == [
        f"{name}-{seed}" for name in ("+_language", "+_language_+_teacher", "as_given") for seed in (0, 1)
    ]
    assert len(trained) == 14
    assert len(surveys) == 1
    assert found.rows[0].variant == "spectral + spatial"
    # Of 0.1 and 0.2.
    assert found.rows[0].means["d_rho"] == pytest.approx(0.15)
    assert found.rows[0].spread["d_rho"] == pytest.approx(0.1 / 2**0.5, abs=1e-5)
    assert found.rows[0].spread["hqnr"] == 0


def test_one_seed_has_no_spread() -> None:
    row = ablating._summarise("line", [{"model": {**dict.fromkeys(COLUMNS, 0.9), "r_ergas": 1.23456789}}])
    assert row.spread == dict.fromkeys(COLUMNS, 0)
    assert row.means["r_ergas"] == 1.23457


def test_a_table_for_people() -> None:
    means = {"ergas": 3, "sam": 2, "hqnr": 0.9, "d_rho": 0.1, "r_ergas": 1}
    row = Row(variant="quality", means=means, spread=dict.fromkeys(COLUMNS, 0.01))
    beside = {"exp": {"ergas": 5.0, "sam": 3.0, "hqnr": 0.8, "d_rho": 0.4, "r_ergas": 2.0}}
    lines = list(Ablation(output="t", table="losses", seeds=2, rows=[row], beside=beside).lines())
    assert [line.split() for line in lines] == [
        ["ergas", "sam", "hqnr", "d_rho", "r_ergas"],
        ["exp", "5.0000", "3.0000", "0.8000", "0.4000", "2.0000"],
        ["quality", *(part for mean in means.values() for part in (f"{mean:.4f}", "±0.0100"))],
    ]
    assert len({len(line) for line in lines}) == 1


def test_a_table_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ablating, "replace_table", full)
    with pytest.raises(OutputError, match=r"cannot write .*ablation.csv: No space left on device"):
        ablating._write(tmp_path / "ablation.csv", [])


def test_a_table_is_known_before_a_scene_is_opened(
    scene: Made, tmp_path: Path, training: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablating, "read_clip", None)
    for table, options, what in (
        ("colours", training, "unknown table 'colours'"),
        ("input", replace(training, losses={"language": 0.0}), "the lines would not differ"),
        ("losses", replace(training, losses={"charm": 1.0}), "unknown loss 'charm'"),
    ):
        with pytest.raises(UsageError, match=what):
            ablate([str(scene.folder)], tmp_path / "t", table, AblateOptions(training=options))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="clippan ablate works in one process"):
        ablate([str(scene.folder)], tmp_path / "t", "input", AblateOptions(training=training))
