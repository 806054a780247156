from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clippan_cli.base.files import replace_file
from clippan_cli.errors import Interrupted, ModelError, OutputError, ResourceError, UsageError
from clippan_cli.modelstore.model import find_model
from clippan_cli.modelstore.records import ModelRecord, TrainingRecord
from clippan_cli.modelstore.store import pack
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import network
from clippan_cli.training.data import simulated_pairs as samples
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.loop import state
from clippan_cli.training.loop import steps as loops
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.loop.steps import Loop, begin_from, check_folder
from clippan_cli.training.loop.task import Run, Schedule, Task, Trained
from clippan_cli.training.objectives.simulated import Supervised
from clippan_cli.training.pretrain import pretrain
from clippan_cli.training.products.model import ModelProduct
from tests.training.conftest import SMALL, Said, rows, same

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


class Line(Task):
    """A line is fitted; each iteration has points of its own."""

    terms: tuple[str, ...] = ("error", "size")
    checks = ("far",)

    def __init__(self, scores: Sequence[float] = ()) -> None:
        self.scores, self.drawn, self.ranks = list(scores), list[tuple[int, int]](), bool(scores)
        self.fault: Callable[[int], None] = lambda _: None

    def draw(self, iteration: int, size: int) -> Tensor:
        self.fault(iteration)
        self.drawn.append((iteration, size))
        return Draw(iteration).normal(size, 3)

    def losses(self, net: nn.Module, sample: Tensor) -> dict[str, Tensor]:
        wanted = sample @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3
        return {"error": (net(sample) - wanted).square().mean(), "size": net.weight.square().sum()}  # type: ignore[operator]

    def weights(self, progress: float) -> dict[str, float]:
        return {"error": 1.0, "size": 0.01 * progress}

    def validate(self, net: nn.Module) -> dict[str, float]:
        assert isinstance(net, nn.Linear)
        assert not torch.is_grad_enabled()
        return {"far": float((net.bias - 3).abs())}

    def score(self, found: Mapping[str, float]) -> float:
        return self.scores.pop(0)

    def where(self, sample: Tensor) -> str:
        return "points of a line"


class Kept:
    """Writes the weights, and the key as the record."""

    record = "line.json"

    def __init__(self, key: dict[str, Any]) -> None:
        self.key, self.run, self.seen = key, list[Run](), list[int]()

    def read(self, folder: Path) -> Any:
        return SimpleNamespace(training=SimpleNamespace(key=json.loads((folder / self.record).read_text())))

    def clear(self, folder: Path) -> None:
        (folder / "line.pt").unlink(missing_ok=True)

    def picture(self, net: nn.Module, done: int, found: Mapping[str, float], folder: Path) -> None:
        self.seen.append(done)

    def write(self, folder: Path, net: nn.Module, run: Run) -> Any:
        self.run.append(run)
        torch.save(net.state_dict(), folder / "line.pt")
        (folder / self.record).write_text(json.dumps(self.key))
        return Trained(str(folder), cast(Any, self.read(folder)))


KEY = {"rate": 0.1, "sides": (4, 4), "init": None}


def fit(folder: Path, *, iterations: int = 7, every: int = 2, batch: int = 4, **more: Any) -> Loop[Any]:
    torch.manual_seed(0)
    said = more.pop("hears", None) or Said()
    key = more.pop("key", KEY)
    parts = {"net": nn.Linear(3, 1), "task": Line(), "product": Kept(key), "group": Group(), **more}
    schedule = Schedule(iterations, batch, 0.1, every)
    return Loop(folder=folder, schedule=schedule, key=key, hears=said, stop=said.stop, **parts)


def line(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(folder / "line.pt")
    return found


def test_weights_are_those_of_a_plain_training(tmp_path: Path) -> None:
    """Optimiser, schedule, clipping and running mean, written out in a few lines."""
    steps_, net = 30, nn.Linear(3, 1)
    made = fit(tmp_path / "m", iterations=steps_, every=steps_, net=net)
    mine = copy.deepcopy(net)
    made.run(False)
    task, mean = Line(), [weight.detach().clone() for weight in mine.parameters()]
    optimiser = torch.optim.AdamW(mine.parameters(), 0.1, (0.9, 0.98), weight_decay=1e-4)
    for i in range(steps_):
        rate = 0.1 * min(1, (i + 1) / 3) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * i / steps_)))
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        terms = task.losses(mine, task.draw(i, 4))
        (terms["error"] + 0.01 * i / steps_ * terms["size"]).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(mine.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, (i + 1) / (i + 20))
        mean = [decay * m + (1 - decay) * w.detach() for m, w in zip(mean, mine.parameters(), strict=True)]
    for ours, theirs in zip(net.parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    for kept, m in zip(line(tmp_path / "m").values(), mean, strict=True):
        torch.testing.assert_close(kept, m)


@pytest.mark.parametrize("iterations", [1, 9, 50, 4000])
def test_the_rate_rises_then_falls(tmp_path: Path, iterations: int) -> None:
    made = fit(tmp_path, iterations=iterations)
    rates = [made._rate(i) for i in range(iterations)]
    warm = max(1, min(200, iterations // 10))
    assert all(0 < rate <= 0.1 for rate in rates)
    assert rates[0] == pytest.approx(0.1 / warm)
    peak = rates.index(max(rates))
    assert peak <= warm
    assert all(a >= b for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))
    if iterations > 1000:
        assert rates[-1] == pytest.approx(0.001, rel=0.01)


def test_the_log_holds_means_since_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terms: list[list[float]] = []
    made = fit(tmp_path / "m", iterations=7, every=3)
    step = made._step

    def watched(iteration: int) -> list[float]:
        terms.append(step(iteration))
        return terms[-1]

    monkeypatch.setattr(made, "_step", watched)
    made.run(False)
    table = rows(tmp_path / "m")
    assert list(table[0]) == ["iteration", "seconds", "rate", "error", "size", "gradient", "far"]
    assert [row["iteration"] for row in table] == ["3", "6", "7"]
    for row, part in zip(table, (terms[:3], terms[3:6], terms[6:]), strict=True):
        for column, name in enumerate(("error", "size", "gradient")):
            assert float(row[name]) == pytest.approx(sum(each[column] for each in part) / len(part), abs=1e-5)
        assert float(row["rate"]) == pytest.approx(made._rate(int(row["iteration"]) - 1), rel=1e-3)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "draw_curves", lambda *_: None)
        fit(folder).run(False)
    return folder


@pytest.mark.parametrize("at", range(1, 7))
def test_wherever_it_is_stopped_it_ends_the_same(tmp_path: Path, unbroken: Path, at: int) -> None:
    said = Said(stop_at=at)
    with pytest.raises(Interrupted, match=f"stopped after {at} of 7 iterations"):
        fit(tmp_path / "m", hears=said).run(False)
    assert not (tmp_path / "m" / "line.json").exists()
    said = Said()
    fit(tmp_path / "m", hears=said).run(True)
    assert said.lines[0] == f"resuming after {at} iterations"
    assert same(line(unbroken), line(tmp_path / "m"))
    ours, theirs = rows(tmp_path / "m"), rows(unbroken)
    for name in ("iteration", "rate", "far"):
        assert [row[name] for row in ours] == [row[name] for row in theirs]
    assert not (tmp_path / "m" / loops.STATE).exists()


def test_stopped_again_and_again_it_ends_the_same(tmp_path: Path, unbroken: Path) -> None:
    for at in range(1, 7):
        said = Said(stop_at=at)
        said.stop.set()
        with pytest.raises(Interrupted, match=f"stopped after {at} of 7"):
            fit(tmp_path / "m", hears=said).run(at > 1)
    fit(tmp_path / "m").run(True)
    assert same(line(unbroken), line(tmp_path / "m"))


def test_who_stops_after_the_last_step_has_finished(tmp_path: Path, unbroken: Path) -> None:
    fit(tmp_path / "m", hears=Said(stop_at=7)).run(False)
    assert same(line(unbroken), line(tmp_path / "m"))


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(tmp_path: Path, unbroken: Path) -> None:
    """Whatever it has logged since, even half a row, is dropped."""
    task = Line()

    def killed(iteration: int) -> None:
        if iteration == 5:
            raise KeyboardInterrupt

    task.fault = killed
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "m", task=task).run(False)
    log = tmp_path / "m" / loops.LOG
    log.write_text(log.read_text() + "6,0.1,1e-3,1.0,1.0,1.0,0.5\n7,0.1,1e-")
    again = Line()
    fit(tmp_path / "m", task=again).run(True)
    assert again.drawn[0] == (4, 4)
    assert [row["iteration"] for row in rows(tmp_path / "m")] == ["2", "4", "6", "7"]
    assert all(None not in row.values() for row in rows(tmp_path / "m"))
    assert same(line(unbroken), line(tmp_path / "m"))


def test_without_resume_it_begins_anew(tmp_path: Path, unbroken: Path) -> None:
    said = Said(stop_at=3)
    with pytest.raises(Interrupted):
        fit(tmp_path / "m", hears=said, key={"rate": 7}).run(False)
    fit(tmp_path / "m").run(False)
    assert same(line(unbroken), line(tmp_path / "m"))
    assert len(rows(tmp_path / "m")) == 4


def test_resume_where_nothing_is_begins(tmp_path: Path, unbroken: Path) -> None:
    fit(tmp_path / "new" / "m").run(True)
    assert same(line(unbroken), line(tmp_path / "new" / "m"))


@pytest.mark.parametrize("finished", [True, False])
def test_another_key_names_what_differs(tmp_path: Path, finished: bool) -> None:
    if finished:
        fit(tmp_path / "m").run(False)
    else:
        said = Said(stop_at=3)
        with pytest.raises(Interrupted):
            fit(tmp_path / "m", hears=said).run(False)
    other = {**KEY, "rate": 0.2, "losses": {"a": 1.0}}
    with pytest.raises(ModelError, match=r"another rate: 0\.1, not 0\.2; another losses: null, not") as caught:
        fit(tmp_path / "m", key=other).run(True)
    assert "`overwrite`" in caught.value.hint
    assert str(tmp_path / "m") in str(caught.value)


def damaged(content: bytes) -> dict[str, bytes]:
    """Ways in which a checkpoint may be none."""
    return {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "head": content[:20],
        "noise": bytes(range(256)) * 8,
        "of another program": pack({"weight": torch.ones(2)}),
        "of another net": content.replace(b"net.weight", b"net.wright"),
        "without a number": content.replace(b'"iteration"', b'"iteratioN"'),
        "of no number": content.replace(b'"iteration":"3"', b'"iteration":"x"'),
    }


@pytest.mark.parametrize("how", list(damaged(b"")))
def test_damaged_and_foreign_checkpoints(tmp_path: Path, how: str) -> None:
    said = Said(stop_at=3)
    with pytest.raises(Interrupted):
        fit(tmp_path / "m", hears=said).run(False)
    state = tmp_path / "m" / loops.STATE
    content = damaged(state.read_bytes())[how]
    assert content != state.read_bytes()
    state.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        fit(tmp_path / "m").run(True)
    assert str(state) in str(caught.value)
    assert "overwrite" in caught.value.hint
    assert state.read_bytes() == content


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_for_the_log_keeps_the_checkpoint(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loops, "draw_curves", full)
        with pytest.raises(OutputError, match=r"cannot write into .*: No space left") as caught:
            fit(tmp_path / "m").run(False)
    assert caught.value.hint == "free some space; `resume` continues"
    said = Said()
    fit(tmp_path / "m", hears=said).run(True)
    assert "resuming after 2 iterations" in said.lines
    assert same(line(unbroken), line(tmp_path / "m"))


def test_a_disk_that_is_full_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = Kept(KEY)
    monkeypatch.setattr(product, "picture", full)
    with pytest.raises(OutputError, match="No space left"):
        fit(tmp_path / "m", product=product).run(False)
    assert (tmp_path / "m" / loops.STATE).is_file()


def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = Kept(KEY)
    monkeypatch.setattr(product, "clear", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        fit(tmp_path / "m", product=product).run(False)
    assert caught.value.hint == "choose another folder"


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write into"):
        fit(tmp_path / "file" / "m").run(False)


class _Watch:
    """Stands for the setting of memory; it says who is in it."""

    inside = 0

    def __init__(self, bound: int) -> None:
        assert bound > 0

    def __enter__(self) -> None:
        type(self).inside += 1

    def __exit__(self, *_: object) -> None:
        type(self).inside -= 1


def test_memory_is_given_back_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "Memory", _Watch)
    seen: list[int] = []
    for error in (None, ZeroDivisionError, KeyboardInterrupt, Interrupted):
        task, said = Line(), Said(stop_at=2 if error is Interrupted else -1)

        def fault(iteration: int, error: type[BaseException] | None = error) -> None:
            seen.append(_Watch.inside)
            if iteration == 3 and error in (ZeroDivisionError, KeyboardInterrupt):
                raise error

        task.fault = fault
        with contextlib.nullcontext() if error is None else pytest.raises(error):
            fit(tmp_path / "m", task=task, hears=said).run(False)
        assert _Watch.inside == 0
    assert set(seen) == {1}


def test_memory_that_runs_out_while_a_sample_is_drawn(tmp_path: Path) -> None:
    task, said = Line(), Said()
    room = iter([8, 2])

    def fault(_: int) -> None:
        if next(room, 0):
            raise torch.OutOfMemoryError("CUDA out of memory")

    task.fault = fault
    fit(tmp_path / "m", task=task, batch=8, iterations=2, hears=said).run(False)
    assert task.drawn == [(0, 2), (1, 2)]
    assert [line for line in said.lines if "out of memory" in line] == [
        "warning: cpu is out of memory: going on with 4 pairs in a step",
        "warning: cpu is out of memory: going on with 2 pairs in a step",
    ]


@pytest.mark.parametrize(("batch", "size"), [(1, 1), (4, 2)])
def test_memory_that_cannot_be_saved(tmp_path: Path, batch: int, size: int) -> None:
    """One pair is the least; and a process does not halve its share while its fellows keep theirs."""
    task = Line()

    def fault(_: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    task.fault = fault
    made = fit(tmp_path / "m", task=task, batch=batch, group=Group(0, size))
    with pytest.raises(ResourceError, match="cpu has not enough memory for a step") as caught:
        made._step(0)
    assert "`batch`" in caught.value.hint


@pytest.mark.parametrize(("term", "said"), [(math.nan, ", points of a line$"), (math.inf, ", points of a line$")])
def test_where_a_loss_is_not_finite(tmp_path: Path, term: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fit(tmp_path / "m")
    before = copy.deepcopy(made._net.state_dict())
    real = Line.losses
    monkeypatch.setattr(Line, "losses", lambda *all_: {name: x * term for name, x in real(*all_).items()})
    with pytest.raises(ModelError, match="not finite at iteration 1" + said) as caught:
        made._step(0)
    assert "lower `rate`" in caught.value.hint
    assert same(before, made._net.state_dict())


def test_who_is_not_at_fault_names_no_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of a fellow is not finite, one's own losses are."""

    def shared(_: Group, weights: list[nn.Parameter]) -> None:
        for weight in weights:
            assert weight.grad is not None
            weight.grad *= math.nan

    monkeypatch.setattr(Group, "average", shared)
    with pytest.raises(ModelError, match=r"not finite at iteration 1$"):
        fit(tmp_path / "m")._step(0)


def test_the_best_net_is_kept_over_a_stop(tmp_path: Path) -> None:
    """Of four validations the second is best; a number that is none is never, and the start is the worst."""
    scores = [3.0, 2.0, 0.5, math.nan, 0.5]
    product = Kept(KEY)
    fit(tmp_path / "whole", task=Line(scores), product=product).run(False)
    assert product.run[0].best_iteration == 4
    said = Said(stop_at=5)
    with pytest.raises(Interrupted):
        fit(tmp_path / "parts", task=Line(scores[:3]), hears=said).run(False)
    product, said = Kept(KEY), Said()
    fit(tmp_path / "parts", task=Line(scores[3:]), product=product, hears=said).run(True)
    assert product.run[0].best_iteration == 4
    assert said.lines[-1] == "the best was that of iteration 4"
    assert same(line(tmp_path / "whole"), line(tmp_path / "parts"))
    fit(tmp_path / "four", iterations=4).run(False)
    assert not same(line(tmp_path / "four"), line(tmp_path / "whole"))  # its schedule was another


NOTHING_BETTER = "warning: nothing was better than what it began with: that is what is written"


@pytest.mark.parametrize("later", [0.0, 0.1, math.nan, math.inf])
@pytest.mark.parametrize("at", [None, 1, 5])
def test_what_nothing_is_better_than_is_what_is_written(tmp_path: Path, later: float, at: int | None) -> None:
    """Who is no better than the start does not take its place; also if the training is stopped and goes on."""
    net, task = nn.Linear(3, 1), Line([0.0, *[later] * 4])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    product, said = Kept(KEY), Said(stop_at=at or -1)
    with contextlib.nullcontext() if at is None else pytest.raises(Interrupted):
        fit(tmp_path / "m", net=net, task=task, product=product, hears=said).run(False)
    if at is not None:
        assert not same(before, net.state_dict())
        said = Said()
        fit(tmp_path / "m", task=task, product=product, hears=said).run(True)
    assert said.lines[-1] == NOTHING_BETTER
    assert same(before, line(tmp_path / "m"))
    assert [run.best_iteration for run in product.run] == [0]
    assert product.seen == [0, 2, 4, 6, 7]
    assert task.scores == []


def test_what_is_better_than_the_start_only_at_once_is_kept(tmp_path: Path) -> None:
    product, said = Kept(KEY), Said()
    fit(tmp_path / "m", task=Line([0.0, 0.2, 0.1, -0.1, 0.1]), product=product, hears=said).run(False)
    assert product.run[0].best_iteration == 6
    assert NOTHING_BETTER not in said.lines


def test_who_ranks_is_judged_before_the_first_step(tmp_path: Path) -> None:
    task, said = Line([0.0] * 5), Said()
    task.fault = lambda _: said.lines.append("a step")
    net = nn.Linear(3, 1)
    far = float((net.bias.detach() - 3).abs())
    fit(tmp_path / "m", net=net, task=task, hears=said).run(False)
    assert said.lines[0] == f"0: far {far:.4g}"
    assert said.lines[1] == "a step"
    first, second = rows(tmp_path / "m")[:2]
    assert [first[name] for name in ("iteration", "seconds", "error", "size", "gradient")] == [
        "0", "0.0", "nan", "nan", "nan"
    ]  # fmt: skip
    assert float(first["far"]) == pytest.approx(far, abs=1e-5)
    assert second["iteration"] == "2"


def test_a_training_that_was_killed_before_its_first_step_is_judged_once(tmp_path: Path) -> None:
    task = Line([0.0] * 6)

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    task.fault = killed
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "m", task=task).run(False)
    fit(tmp_path / "m", task=Line([0.0] * 6)).run(True)
    assert [row["iteration"] for row in rows(tmp_path / "m")] == ["0", "2", "4", "6", "7"]


def test_only_who_leads_judges_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("average", "wait"):
        monkeypatch.setattr(Group, name, lambda *_: None)
    monkeypatch.setattr(Group, "mean", lambda _, values: list(values))
    fit(tmp_path / "m", task=Line([0.0] * 5)).run(False)
    task = Line([0.0])
    fit(tmp_path / "m", task=task, group=Group(1, 2)).run(False)
    assert task.scores == [0.0]


def test_the_last_net_is_kept_where_nothing_is_scored(tmp_path: Path) -> None:
    product = Kept(KEY)
    fit(tmp_path / "m", product=product).run(False)
    (run,) = product.run
    assert run.best_iteration is None
    assert run.device == "cpu"
    assert run.minutes >= 0
    assert product.seen == [2, 4, 6, 7]


def test_what_is_frozen_stays(tmp_path: Path) -> None:
    net = nn.Linear(3, 1)
    net.bias.requires_grad_(False)
    before = net.bias.detach().clone()
    fit(tmp_path / "m", net=net).run(False)
    assert torch.equal(line(tmp_path / "m")["bias"], before)
    assert not torch.equal(line(tmp_path / "m")["weight"], torch.zeros(1, 3))


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("average", "wait"):
        monkeypatch.setattr(Group, name, lambda *_: None)
    monkeypatch.setattr(Group, "mean", lambda _, values: list(values))
    fit(tmp_path / "m").run(False)
    task, product = Line(), Kept(KEY)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    trained = fit(tmp_path / "m", task=task, product=product, group=Group(1, 2)).run(False)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    assert (product.run, product.seen) == ([], [])
    assert trained.output == str(tmp_path / "m")
    assert len(task.drawn) == 7


def test_one_process_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Group, "any", lambda *_: True)
    with pytest.raises(Interrupted, match="stopped after 1 of 7"):
        fit(tmp_path / "m").run(False)


@pytest.mark.parametrize(
    ("there", "overwrite", "resume", "what"),
    [
        ("line.json", False, False, "holds a line"),
        (loops.STATE, False, False, "holds a training that was stopped"),
        ("line.json", True, False, None),
        ("line.json", False, True, None),
        (loops.STATE, True, False, None),
        (loops.STATE, False, True, None),
        ("notes.txt", False, False, None),
    ],
)
def test_which_folders_are_taken(tmp_path: Path, there: str, overwrite: bool, resume: bool, what: str | None) -> None:
    (tmp_path / there).write_text("")
    with contextlib.nullcontext() if what is None else pytest.raises(OutputError, match=what):
        check_folder(tmp_path, "line.json", overwrite=overwrite, resume=resume)
    assert (tmp_path / there).exists()


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    with pytest.raises(OutputError, match=f"the folder {tmp_path} is not writable"):
        check_folder(tmp_path / "a" / "b", "line.json", overwrite=False, resume=False)
    assert not (tmp_path / "a").exists()


def test_what_is_begun_from(tmp_path: Path) -> None:
    assert begin_from("injector-4", tmp_path).id == "injector-4"
    with pytest.raises(UsageError):
        begin_from("magic", tmp_path)


def test_a_model_does_not_go_on_from_itself_through_a_link(tmp_path: Path) -> None:
    shutil.copytree(find_model("injector-4").folder, tmp_path / "m")
    (tmp_path / "link").symlink_to(tmp_path / "m")
    with pytest.raises(UsageError, match="cannot go on from itself") as caught:
        begin_from(str(tmp_path / "m"), tmp_path / "link")
    assert caught.value.hint == "choose another folder"


def test_the_user_hears_how_it_goes(tmp_path: Path) -> None:
    said = Said()
    fit(tmp_path / "m", hears=said).run(False)
    assert len(said.lines) == 4
    assert all(re.fullmatch(r"\d: error \S+, size \S+; far \S+", text) for text in said.lines)


@pytest.mark.parametrize("left", ["", "iteration,loss\n", "\x00\x01", "iteration,sec"])
def test_a_damaged_log_begins_again(tmp_path: Path, left: str) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path / "m", hears=Said(stop_at=3)).run(False)
    head = (tmp_path / "m" / loops.LOG).read_text().splitlines()[0]
    (tmp_path / "m" / loops.LOG).write_text(left)
    fit(tmp_path / "m").run(True)
    assert (tmp_path / "m" / loops.LOG).read_text().splitlines()[0] == head


def test_a_full_disk_on_resuming_keeps_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path / "m", hears=Said(stop_at=3)).run(False)
    before = (tmp_path / "m" / loops.LOG).read_text()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loops, "replace_table", full)
    with pytest.raises(OutputError, match=r"training\.csv: No space"):
        fit(tmp_path / "m").run(True)
    assert (tmp_path / "m" / loops.LOG).read_text() == before


def test_a_training_by_other_algorithms_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path / "m", hears=Said(stop_at=3)).run(False)
    monkeypatch.setattr(loops, "ALGORITHM", "1999-12")
    with pytest.raises(ModelError, match="another algorithm"):
        fit(tmp_path / "m").run(True)


def test_a_checkpoint_of_another_net_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path / "m", hears=Said(stop_at=3)).run(False)
    with pytest.raises(ModelError, match=r"size mismatch|Missing key") as caught:
        fit(tmp_path / "m", net=torch.nn.Linear(4, 1)).run(True)
    assert "\n" not in caught.value.what
