from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clippan_cli.errors import ClippanError, InputError, UsageError
from clippan_cli.modelstore.model import find_model
from clippan_cli.training.options import TuneOptions
from clippan_cli.training.tune import tune
from tests.training.conftest import MakeScene, rows, weights

pytestmark = pytest.mark.usefixtures("short_pairs")


@pytest.mark.parametrize("way", ["full", "freeze"])
def test_one_shot(tmp_path: Path, make_scene: MakeScene, way: str) -> None:
    make_scene(size=96, gain=0.2)
    (tmp_path / "scene").mkdir()
    for name in ("ms.tif", "pan.tif"):
        (tmp_path / name).rename(tmp_path / "scene" / name)
    options = TuneOptions(weights=way, iterations=20, every=10)
    record = tune([str(tmp_path / "scene")], tmp_path / "tuned", options).record
    table = rows(tmp_path / "tuned")
    assert float(table[-1]["validation_error"]) < float(table[0]["validation_error"]) * 1.02
    before, after = find_model("injector-2").load().state_dict(), weights(tmp_path / "tuned")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == ({"head"} if way == "freeze" else {"band", "pan", "entry", "traits", "blocks", "head", "basis"})
    assert record.training.init == "injector-2"


def test_one_shot_refuses(tmp_path: Path, make_scene: MakeScene) -> None:
    with pytest.raises(UsageError, match="unknown way to tune 'some'"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions(weights="some"))
    with pytest.raises(InputError, match="no scene in"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions())
    make_scene(size=40)
    with pytest.raises(InputError, match="too small to learn from"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions())
    with pytest.raises(ClippanError, match="no method or model 'magic'"):
        tune([str(tmp_path)], tmp_path / "m", TuneOptions(init="magic"))
