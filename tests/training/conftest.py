"""Scenes, trainings that take moments, and what hears of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from clippan_cli.base.listener import Deaf
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore.model import find_model
from clippan_cli.opening.options import SceneOptions
from clippan_cli.physics.pixels import Pixels, Validity, Window
from clippan_cli.training import adapt as adapting
from clippan_cli.training import train as fullres
from clippan_cli.training.data import simulated_pairs as samples
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.full_tiles import RawTile, Tiles
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.procedural import procedural
from clippan_cli.training.data.simulated_pairs import SIDE, Source, make_batch
from clippan_cli.training.data.surveyed_scenes import Site, survey_scenes
from clippan_cli.training.data.tile_reader import TileStream
from clippan_cli.training.loop import steps
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.objectives import simulated, stage_two
from clippan_cli.training.options import (
    AdaptOptions,
    ClipOptions,
    PretrainOptions,
    TrainOptions,
)
from tests.conftest import Made

MakeScene = Callable[..., Made]
Put = Callable[..., Path]
CPU = torch.device("cpu")

SMALL = PretrainOptions(
    settings={"width": 8, "blocks": 1}, iterations=6, batch=1, rate=1e-2, procedural=1, every=2, device="cpu"
)


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
    with (folder / steps.LOG).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def put(make_scene: MakeScene, tmp_path: Path) -> Callable[..., Path]:
    """Makes scenes, each in a folder of its own under ``scenes``."""

    def make(name: str, **more: object) -> Path:
        scene = make_scene(**more)
        folder = tmp_path / "scenes" / name
        folder.mkdir(parents=True)
        for path in (scene.ms, scene.pan):
            Path(path).rename(folder / Path(path).name)
        return tmp_path / "scenes"

    return make


def sites_of(place: Path, said: Said | None = None, side: int = 80) -> list[Site]:
    return survey_scenes([str(place)], side, {"gsa": method("gsa")}, SceneOptions(), said or Said())


def stream_of(sites: list[Site], **more: Any) -> TileStream:
    return TileStream(**{"sites": sites, "seed": 0, "workers": 0, "group": Group(), "hears": Said(), **more})


@pytest.fixture
def tiles(put: Callable[..., Path]) -> Tiles:
    sites = sites_of(put("a", size=60))
    return stream_of(sites, batch=2, seed=0, workers=0, group=Group(), hears=Said())(0, 2)


def raw_of(tiles: Tiles, index: int) -> RawTile:
    """Take a tile of the first scene out of a batch again."""
    ms_box, pan_box = tiles.boxes[index]
    return RawTile(0, Window(Pixels(tiles.ms[index]), Pixels(tiles.pan[index, 0]), ms_box, pan_box))


def source(seed: int = 0, *, bands: int = 4, pan: bool = False, gap: bool = False) -> Source:
    image = procedural(bands + pan, SIDE + 40, Draw(seed))
    valid = None
    if gap:
        valid = torch.ones(image.shape[1:], dtype=torch.bool)
        valid[:30] = False
        image[:, :30] = math.nan
    return Source("made", image[:bands], image[bands] if pan else None, Validity(valid))


def pair() -> Batch:
    return make_batch([(1.0, [source(3)])], 2, Draw(8))


@pytest.fixture
def short_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small patches, and one pair to validate on."""
    monkeypatch.setattr(samples, "RATIOS", {2.0: 48, 4.0: 64})
    monkeypatch.setattr(samples, "_RATIO_SHARES", (0.5, 0.5))
    monkeypatch.setattr(simulated, "_VALIDATION", 1)
    monkeypatch.setattr(steps, "draw_curves", lambda *_: None)


@pytest.fixture
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tiles to validate on."""
    monkeypatch.setattr(adapting, "HELD", 4)
    monkeypatch.setattr(fullres, "HELD", 2)
    monkeypatch.setattr(steps, "draw_curves", lambda *_: None)


@pytest.fixture
def last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last network of a training is kept, whatever the truth says of it."""
    monkeypatch.setattr(stage_two.FullResolution, "ranks", False)


@pytest.fixture
def scene(make_scene: MakeScene) -> Made:
    return make_scene(size=60)


@pytest.fixture
def learning(tiny_clip: str) -> AdaptOptions:
    clip = ClipOptions(clip=tiny_clip, clip_weights="none")
    return AdaptOptions(clip=clip, iterations=4, batch=2, every=2, jobs=0, device="cpu")


@pytest.fixture
def training(learning: AdaptOptions) -> TrainOptions:
    return TrainOptions(
        backbone="injector", settings=SMALL.settings, clip=learning.clip, adapt_iterations=4, teacher="mtf-glp-hpm-r",
        iterations=4, batch=2, every=2, jobs=0, device="cpu",
    )  # fmt: skip
