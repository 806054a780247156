"""What is published of documents, and what documents are."""

from __future__ import annotations

import json
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from clippan_cli.assessment.assess import assess
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.assessment.record import Assessment
from clippan_cli.base.documents import as_json, as_plain, from_plain, read_json, schema
from clippan_cli.base.machine import MachineOptions
from clippan_cli.modelstore.model import shipped
from clippan_cli.modelstore.records import ModelRecord, SupervisorRecord, TrainingRecord, as_table
from clippan_cli.modelstore.supervisor import save_supervisor
from clippan_cli.opening.options import SceneOptions
from clippan_cli.sharpening.options import SharpenOptions
from clippan_cli.sharpening.record import Explanation, Record
from clippan_cli.sharpening.sharpen import explain, sharpen
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Projector, linear_map
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from tests.conftest import Made

FORMATS = Path(__file__).parents[1] / "docs" / "formats"
DOCUMENTS: dict[str, type[Any]] = runpy.run_path(str(FORMATS / "schemas.py"))["DOCUMENTS"]
ONE = MachineOptions(jobs=1)
Make = Callable[..., Made]


def published(name: str) -> Any:
    return json.loads((FORMATS / f"{name}.schema.json").read_text("utf-8"))


def check(name: str, document: Any) -> None:
    """It is what the schema says, and comes back from JSON as it was."""
    plain = json.loads(as_json(document))
    jsonschema.validate(plain, published(name))
    assert from_plain(DOCUMENTS[name], plain) == document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_published_schema_is_the_dataclass(name: str) -> None:
    assert published(name) == schema(DOCUMENTS[name], name), "make schemas"
    jsonschema.Draft202012Validator.check_schema(published(name))


def test_a_plan_and_a_record(make_scene: Make) -> None:
    scene = make_scene(size=32)
    options = SharpenOptions(machine=ONE)
    plan = explain([scene.ms], scene.pan, scene.out, options)
    assert isinstance(plan, Explanation)
    check("plan", plan)
    check("plan", explain([scene.ms], scene.pan))
    record = sharpen([scene.ms], scene.pan, scene.out, options)
    check("record", record)
    assert read_json(Record, Path(f"{scene.out}.clippan.json")) == record


def test_what_json_lacks_is_a_text_that_the_schema_allows(make_scene: Make) -> None:
    scene = make_scene(size=32, dtype="float32", nodata=float("nan"))
    options = SharpenOptions(
        dtype="float32", dst_nodata=float("nan"), scene=SceneOptions(src_nodata=float("nan")), machine=ONE
    )
    plain = as_plain(sharpen([scene.ms], scene.pan, scene.out, options))
    assert plain["inputs"]["ms"]["nodata"] == plain["plan"]["nodata"] == plain["options"]["dst_nodata"] == "nan"
    jsonschema.validate(plain, published("record"))
    assert as_plain(from_plain(Record, plain)) == plain


@pytest.fixture
def sharpened(make_scene: Make) -> Made:
    scene = make_scene(size=64)
    sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(machine=ONE))
    return scene


@pytest.mark.parametrize("truth", [False, True])
def test_an_assessment_of_an_image(truth: bool, sharpened: Made, tmp_path: Path) -> None:
    scene = sharpened
    options = AssessOptions(
        reference=scene.out if truth else None,
        maps=str(tmp_path / "maps"),
        report=str(tmp_path / "report.html"),
        machine=ONE,
    )
    found = assess([scene.ms], scene.pan, scene.out, options)
    assert (found.candidates[0].truth is not None) is truth
    check("assessment", found)


def test_an_assessment_of_methods(make_scene: Make) -> None:
    scene = make_scene(size=64)
    for options in (
        AssessOptions(compare=("gsa",), machine=ONE),
        AssessOptions(method="gsa", reduced=True, machine=ONE),
    ):
        found = assess([scene.ms], scene.pan, None, options)
        assert isinstance(found, Assessment)
        assert found.reduced is not None
        check("assessment", found)


def test_an_assessment_without_data(make_scene: Make) -> None:
    scene = make_scene(size=12)
    sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(machine=ONE))
    found = assess([scene.ms], scene.pan, scene.out, AssessOptions(machine=ONE))
    assert found.verdict.grade == "unknown"
    check("assessment", found)


def test_the_models_that_ship() -> None:
    for model in shipped():
        jsonschema.validate(tomllib.loads((model.folder / "model.toml").read_text("utf-8")), published("model"))
        jsonschema.validate(model.plain(), published("model"))
        check("model", model.record)


def test_indices_of_a_model_may_be_no_numbers() -> None:
    record = ModelRecord(
        id="m",
        network="pnn",
        settings={},
        bands=3,
        ratios=(2.0, 6.0),
        sha256="0" * 64,
        training=TrainingRecord(held_out={"exp": {"hqnr": float("nan")}}),
    )
    plain = as_plain(as_table(record))
    assert plain["training"]["held_out"] == {"exp": {"hqnr": "nan"}}
    jsonschema.validate(plain, published("model"))


def test_a_supervisor(tiny_clip: str, tmp_path: Path) -> None:
    base = linear_map("conv", (None,) * 4, torch.zeros(4), torch.eye(4))
    made = Supervisor(Encoder(tiny_clip), Projector("conv", *base), read_prompts(), (480.0, 545.0, 660.0, None))
    record = save_supervisor(tmp_path / "s", made, TrainingRecord(options={"iterations": 3}), {"cosine": 0.5})
    assert isinstance(record, SupervisorRecord)
    table = tomllib.loads((tmp_path / "s" / "supervisor.toml").read_text("utf-8"))
    jsonschema.validate(table, published("supervisor"))
    check("supervisor", record)
