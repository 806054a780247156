from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.base.files import replace_file
from clippan_cli.base.listener import Deaf
from clippan_cli.errors import ClippanError, InputError, Interrupted, ModelError, OutputError, ResourceError, UsageError
from clippan_cli.modelstore.model import find_model
from clippan_cli.modelstore.records import ModelRecord, TrainingRecord
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import network
from clippan_cli.training.data import simulated_pairs as samples
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.loop import state
from clippan_cli.training.loop import steps as loops
from clippan_cli.training.loop.steps import Loop
from clippan_cli.training.loop.task import Schedule
from clippan_cli.training.objectives import simulated as supervised
from clippan_cli.training.objectives.simulated import Supervised
from clippan_cli.training.options import PretrainOptions, TuneOptions
from clippan_cli.training.pretrain import pretrain
from clippan_cli.training.products.model import ModelProduct
from clippan_cli.training.tune import tune
from tests.conftest import PLACE, Made, bands, write

MakeScene = Callable[..., Made]

SMALL = PretrainOptions(
    settings={"width": 8, "blocks": 1}, iterations=6, batch=1, rate=1e-2, procedural=1, every=2, device="cpu"
)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small patches, and one pair to validate on."""
    monkeypatch.setattr(samples, "RATIOS", {2.0: 48, 4.0: 64})
    monkeypatch.setattr(samples, "_RATIO_SHARES", (0.5, 0.5))
    monkeypatch.setattr(supervised, "_VALIDATION", 1)
    monkeypatch.setattr(loops, "draw_curves", lambda *_: None)


class Said(Deaf):
    """Keeps what it hears, and can stop the training."""

    def __init__(self, stop_at: int = -1) -> None:
        self.lines: list[str] = []
        self.stop, self._left = Event(), stop_at

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"warning: {text}")

    def advance(self, pixels: int) -> None:
        self._left -= pixels
        if self._left == 0:
            self.stop.set()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return find_model(str(folder)).load().state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / loops.LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    pretrain(tmp_path / "whole", SMALL)
    said = Said(stop_at=3)
    with pytest.raises(Interrupted, match="stopped after 3 of 6"):
        pretrain(tmp_path / "parts", SMALL, said, said.stop)
    with pytest.raises(OutputError, match="holds a training that was stopped"):
        pretrain(tmp_path / "parts", SMALL)
    with pytest.raises(ModelError, match=r"another rate: 0\.01, not 0\.02"):
        pretrain(tmp_path / "parts", replace(SMALL, rate=0.02, resume=True))
    record = pretrain(tmp_path / "parts", replace(SMALL, resume=True)).record
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert [row["iteration"] for row in rows(tmp_path / "parts")] == ["2", "4", "6"]
    assert record.training.options["iterations"] == 6
    assert not (tmp_path / "parts" / loops.STATE).exists()
    assert (tmp_path / "parts" / "CARD.md").stat().st_size > 100


def test_a_finished_training_is_not_begun_again(tmp_path: Path) -> None:
    first = pretrain(tmp_path / "m", replace(SMALL, iterations=2))
    said = Said()
    again = pretrain(tmp_path / "m", replace(SMALL, iterations=2, resume=True), said)
    assert again == first
    assert said.lines[-1].endswith("is complete already")
    with pytest.raises(ModelError, match="another iterations: 2, not 3"):
        pretrain(tmp_path / "m", replace(SMALL, iterations=3, resume=True))


def test_going_on_from_a_model(tmp_path: Path) -> None:
    short = replace(SMALL, iterations=2)
    pretrain(tmp_path / "a", short)
    record = pretrain(tmp_path / "b", replace(short, init=str(tmp_path / "a"), settings={})).record
    assert record.training.init == "a"
    assert record.settings == {"width": 8, "blocks": 1}
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    with pytest.raises(UsageError, match="cannot go on from itself"):
        pretrain(tmp_path / "a", replace(short, init=str(tmp_path / "a"), overwrite=True))


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    short = replace(SMALL, iterations=2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        pretrain(tmp_path / name, replace(short, seed=seed))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_it_learns(tmp_path: Path) -> None:
    pretrain(tmp_path / "m", replace(SMALL, iterations=60, every=20))
    assert float(rows(tmp_path / "m")[-1]["validation_error"]) < 0.85


def test_its_model_sharpens(tmp_path: Path, make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    pretrain(tmp_path / "m", replace(SMALL, iterations=2))
    record = sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(model=str(tmp_path / "m"), guard=False))
    assert record.method_used == "m"
    assert record.guard is None


def test_images_and_scenes(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene(size=80)
    (tmp_path / "photos").mkdir()
    image = (255 * bands((260, 240), 3)).astype("uint8")
    write(tmp_path / "photos" / "a.png", image, PLACE, driver="PNG", crs=None)
    write(tmp_path / "photos" / "small.tif", image[:, :40, :40], PLACE)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"not an image")
    said = Said()
    options = replace(SMALL, iterations=1, images=(str(tmp_path / "photos"),), scenes=(str(tmp_path),), procedural=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clippan_cli.training.data.imagery.SIDE", 64)
        record = pretrain(tmp_path / "m", options, said).record
    assert record.training.sources == {"images": 1, "scenes": 1}
    assert "--images photos" in (record.training.command or "")
    assert [line.split(" is left out")[0].rsplit("/", 1)[1] for line in said.lines if "left out" in line] == [
        "broken.jpg",
        "small.tif",
    ]


def test_fixed_numbers_of_bands(tmp_path: Path) -> None:
    options = replace(SMALL, network="pnn", settings={"widths": (4, 4)}, iterations=1)
    with pytest.raises(UsageError, match="pnn serves one number of bands"):
        pretrain(tmp_path / "m", options)
    assert pretrain(tmp_path / "m", replace(options, bands=3)).record.bands == 3


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="nothing to learn from"):
        pretrain(tmp_path / "m", replace(SMALL, procedural=0))
    with pytest.raises(InputError, match="no image to learn from"):
        pretrain(tmp_path / "m", replace(SMALL, images=(str(tmp_path / "empty"),)))
    with pytest.raises(InputError, match="no scene in"):
        pretrain(tmp_path / "m", replace(SMALL, scenes=(str(tmp_path / "empty"),)))
    with pytest.raises(InputError, match="is no folder"):
        pretrain(tmp_path / "m", replace(SMALL, images=(str(tmp_path / "nowhere"),)))


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        pretrain(tmp_path / "file", SMALL)
    pretrain(tmp_path / "m", replace(SMALL, iterations=1))
    with pytest.raises(OutputError, match="holds a model"):
        pretrain(tmp_path / "m", SMALL)
    pretrain(tmp_path / "m", replace(SMALL, iterations=2, overwrite=True))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def sometimes(path: Path, content: bytes) -> None:
        calls.append(0)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        replace_file(path, content)

    monkeypatch.setattr(state, "replace_file", sometimes)
    with pytest.raises(OutputError, match="No space left"):
        pretrain(tmp_path / "m", SMALL)
    said = Said()
    pretrain(tmp_path / "m", replace(SMALL, resume=True), said)
    assert "resuming after 2 iterations" in said.lines


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    said = Said(stop_at=2)
    with pytest.raises(Interrupted):
        pretrain(tmp_path / "m", SMALL, said, said.stop)
    path = tmp_path / "m" / loops.STATE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be used"):
        pretrain(tmp_path / "m", replace(SMALL, resume=True))


class _Scarce(Supervised):
    """A device that holds so many pairs only."""

    room = 2

    def losses(self, net: torch.nn.Module, sample: Batch) -> dict[str, torch.Tensor]:
        if len(sample.ms) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().losses(net, sample)


def loop(
    kind: type[Supervised], folder: Path, draw: Callable[[int, int], Batch], hears: Said, batch: int
) -> Loop[ModelRecord]:
    settings = {"width": 8, "blocks": 1}
    net: Network = network("injector", 1, **settings)
    return Loop(
        folder=folder,
        net=net,
        task=kind(draw, 1.0, 2),
        product=ModelProduct(network="injector", settings=settings, ratios=(2, 8), recipe=TrainingRecord(), lessons=""),
        schedule=Schedule(2, batch, 1e-3, 2),
        key={},
        hears=hears,
        stop=hears.stop,
    )


def test_out_of_memory_halves_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = samples.Source("made", torch.rand(4, 260, 260, generator=torch.Generator().manual_seed(0)))

    def draw(number: int, size: int) -> Batch:
        return samples.make_batch([(1.0, [source])], size, Draw(number))

    said = Said()
    made = loop(_Scarce, tmp_path / "m", draw, said, 8)
    made._begin(False)
    made._step(0)
    assert [line.rsplit("going on", 1)[1] for line in said.lines] == [
        " with 4 pairs in a step",
        " with 2 pairs in a step",
    ]
    monkeypatch.setattr(_Scarce, "room", 0)
    with pytest.raises(ResourceError, match="not enough memory for a step"):
        made._step(1)


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    source = samples.Source("made", torch.rand(4, 260, 260, generator=torch.Generator().manual_seed(0)))

    def draw(number: int, size: int) -> Batch:
        batch = samples.make_batch([(1.0, [source])], size, Draw(number))
        return replace(batch, truth=batch.truth * np.nan)

    made = loop(Supervised, tmp_path / "m", draw, Said(), 1)
    made._begin(False)
    with pytest.raises(ModelError, match="not finite at iteration 1"):
        made._step(0)


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
