from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clippan_cli.errors import OutputError, UsageError
from clippan_cli.training.ablate import TABLES, ablate, variants
from clippan_cli.training.options import AblateOptions, TrainOptions
from tests.conftest import Made

pytestmark = pytest.mark.usefixtures("few_tiles")


def test_the_tables_of_the_paper(training: TrainOptions) -> None:
    assert [len(variants(table, training)) for table in TABLES] == [7, 4, 4, 5]
    with pytest.raises(UsageError, match="unknown table"):
        variants("colours", training)
    for table in TABLES:
        with pytest.raises(UsageError, match="the lines would not differ"):
            variants(table, replace(training, supervisor="none"))


def test_an_ablation(scene: Made, tmp_path: Path, training: TrainOptions) -> None:
    short = replace(training, iterations=1, every=1, adapt_iterations=1)
    options = AblateOptions(seeds=2, training=short)
    found = ablate([str(scene.folder)], tmp_path / "t", "stage1", options)
    assert [row.variant for row in found.rows] == ["no language", "scene", "+ type", "+ fusion"]
    assert any(row.spread["hqnr"] > 0 for row in found.rows)
    more = AblateOptions(seeds=2, training=replace(short, resume=True))
    assert ablate([str(scene.folder)], tmp_path / "t", "stage1", more).rows == found.rows
    assert len(list(found.lines())) == 1 + 3 + 4
    assert (tmp_path / "t" / "ablation.csv").read_text().count("\n") == 5
    with pytest.raises(OutputError, match="holds a table"):
        ablate([str(scene.folder)], tmp_path / "t", "stage1", options)
