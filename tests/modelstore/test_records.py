from __future__ import annotations

import math
import tomllib
from dataclasses import replace

import jsonschema
import pytest
import tomli_w

from clippan_cli.base.documents import as_plain, from_plain, schema
from clippan_cli.modelstore.model import shipped
from clippan_cli.modelstore.records import ClipRecord, ModelRecord, SupervisorRecord, TrainingRecord, as_table
from clippan_cli.supervision.prompts import read_prompts

TRAINING = TrainingRecord(
    command="clippan train",
    minutes=1.5,
    sources={"scenes": 2},
    init="injector-4",
    skipped=0,
    held_out={"model": {"hqnr": 0.9}},
    options={"rate": 1e-3, "scenes": ["a", "b"], "losses": {"language": 1.0}, "keep_teacher": False},
)
MODEL = ModelRecord(
    id="m", network="pnn", settings={"widths": [6, 4]}, bands=3, ratios=(2.0, 6.0), sha256="0" * 64, training=TRAINING
)
SUPERVISOR = SupervisorRecord(
    bands=4,
    wavelengths=(480.0, 545.0, 660.0, 0.0),
    ms_input="conv",
    sha256="0" * 64,
    clip=ClipRecord(
        name="RN50",
        weights="openai",
        precision="fp32",
        sha256="1" * 64,
        mean=(0.5,) * 3,
        deviation=(0.25,) * 3,
        config="",
    ),
    prompts=read_prompts(),
    training=TRAINING,
    held_out={"cosine": 0.5},
)


@pytest.mark.parametrize("record", [MODEL, SUPERVISOR, replace(MODEL, training=TrainingRecord())])
def test_toml_holds_a_record(record: ModelRecord | SupervisorRecord) -> None:
    text = tomli_w.dumps(as_table(record))
    assert from_plain(type(record), tomllib.loads(text)) == record
    jsonschema.validate(as_plain(as_table(record)), schema(type(record), "record"))


def test_what_ships_is_valid() -> None:
    for model in shipped():
        jsonschema.validate(as_plain(as_table(model.record)), schema(ModelRecord, "model"))


def test_what_is_not_known_is_left_out() -> None:
    assert as_table(TrainingRecord()) == {}
    assert as_table(TrainingRecord(skipped=0, options={"bands": None, "prompts": {"name": None}})) == {
        "skipped": 0,
        "options": {"prompts": {}},
    }
    assert as_table(MODEL)["bands"] == 3
    training = as_table(MODEL)["training"]
    assert isinstance(training, dict)
    assert "best_iteration" not in training


def test_what_is_no_field_is_an_option() -> None:
    said = TrainingRecord.of({"init": "injector-4", "sources": {"scenes": 2}, "rate": 0.01, "widths": (6, 4)})
    assert said == TrainingRecord(init="injector-4", sources={"scenes": 2}, options={"rate": 0.01, "widths": [6, 4]})
    assert said.key == {
        "rate": 0.01,
        "widths": [6, 4],
        "init": "injector-4",
        "init_sha256": None,
        "sources": {"scenes": 2},
        "learned_from": None,
        "algorithm": None,
    }
    assert TrainingRecord.of(as_table(said)) == said
    with pytest.raises(ValueError, match="minutes"):
        TrainingRecord.of({"minutes": "long"})


def test_scores_that_are_no_numbers() -> None:
    """Older folders call them by their name."""
    old = TrainingRecord.of({"held_out": {"exp": {"hqnr": "nan", "d_rho": "inf"}}, "prompt": "nan"})
    assert math.isnan(old.held_out["exp"]["hqnr"])
    assert old.held_out["exp"]["d_rho"] == math.inf
    assert old.options == {"prompt": "nan"}
    again = TrainingRecord.of(tomllib.loads(tomli_w.dumps(as_table(old))))
    assert math.isnan(again.held_out["exp"]["hqnr"])
