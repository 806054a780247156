from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clippan_cli.base.files import replace_file
from clippan_cli.errors import Interrupted, ModelError, OutputError, ResourceError
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
from clippan_cli.training.objectives.simulated import Supervised
from clippan_cli.training.pretrain import pretrain
from clippan_cli.training.products.model import ModelProduct
from tests.training.conftest import SMALL, Said

pytestmark = pytest.mark.usefixtures("short_pairs")


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
