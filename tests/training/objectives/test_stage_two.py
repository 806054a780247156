from __future__ import annotations

import math
from dataclasses import replace

import pytest

from clippan_cli.training.objectives import stage_two
from clippan_cli.training.objectives.stage_two import LOSSES
from clippan_cli.training.options import TrainOptions


def test_a_score_that_is_no_number_is_never_best() -> None:
    assert stage_two._loss("hqnr", float("nan")) == stage_two._loss("d_rho", float("inf")) == float("inf")
    assert stage_two._loss("hqnr", 0.9) == pytest.approx(math.log(0.1))


def judging(options: TrainOptions, weights: dict[str, float]) -> stage_two.FullResolution:
    return stage_two.FullResolution(
        stream=None,  # type: ignore[arg-type]
        held=[],
        supervisor=None,
        weights=weights,
        options=options,
        init=None,
    )


def test_weights_over_time(training: TrainOptions) -> None:
    task = judging(training, LOSSES)
    assert [round(task.weights(p)["language"] / LOSSES["language"], 3) for p in (0, 0.2, 0.3, 0.4, 1)] == [
        0,
        0,
        0.5,
        1,
        1,
    ]
    full = replace(training, losses={"teacher": 1.0})
    task = judging(full, {"teacher": 1.0})
    assert [task.weights(p)["teacher"] for p in (0, 0.5, 1)] == [1, 0.5, 0]
    kept = replace(full, keep_teacher=True)
    task = judging(kept, {"teacher": 1.0})
    assert task.weights(1)["teacher"] == 1
