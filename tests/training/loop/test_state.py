from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from clippan_cli.errors import ModelError, OutputError
from clippan_cli.training.loop.state import Best, Learner, load_state, save_state


def parts() -> Learner:
    net, mean = nn.Linear(2, 1), nn.Linear(2, 1)
    return Learner(net, mean, torch.optim.AdamW(net.parameters()))


def test_there_and_back(tmp_path: Path) -> None:
    net, mean, optimiser = learner = parts()
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    best = Best(0.5, 2, {name: value.clone() for name, value in mean.state_dict().items()})
    former = os.umask(0o027)
    try:
        save_state(tmp_path / "m" / "state", 3, learner, {"rate": 0.1, "sides": (4, 4)}, best)
    finally:
        os.umask(former)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["state"]
    assert (tmp_path / "m" / "state").stat().st_mode & 0o777 == 0o640
    other = parts()
    iteration, found = load_state(tmp_path / "m" / "state", other, {"rate": 0.1, "sides": (4, 4)})
    assert iteration == 3
    assert found is not None
    assert (found.score, found.iteration) == (0.5, 2)
    assert torch.equal(found.weights["weight"], best.weights["weight"])
    assert torch.equal(other[0].weight, net.weight)  # type: ignore[arg-type]
    assert torch.equal(other[1].weight, mean.weight)  # type: ignore[arg-type]
    moments = other[2].state[next(other[0].parameters())]
    assert torch.equal(moments["exp_avg"], optimiser.state[next(net.parameters())]["exp_avg"])


def test_another_training_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "state", 3, parts(), {"rate": 0.1, "init": None})
    with pytest.raises(ModelError, match=r"another rate: 0\.1, not 0\.2; another init: null, not \"a\"$"):
        load_state(tmp_path / "state", parts(), {"rate": 0.2, "init": "a"})


def test_a_weight_that_was_never_needed_has_no_state(tmp_path: Path) -> None:
    learner = parts()
    net, optimiser = learner.net, learner.optimiser
    net.bias.requires_grad_(False)
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    save_state(tmp_path / "state", 1, learner, {})
    other = parts()
    assert load_state(tmp_path / "state", other, {}) == (1, None)
    assert set(other[2].state[other[0].weight]) == {"exp_avg", "exp_avg_sq", "step"}  # type: ignore[index]
    assert other[2].state[other[0].bias] == {}  # type: ignore[index]


def test_a_disk_that_is_full_leaves_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path / "state", 3, parts(), {})
    former = (tmp_path / "state").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write the checkpoint .*: .*No space left"):
        save_state(tmp_path / "state", 4, parts(), {})
    assert (tmp_path / "state").read_bytes() == former
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_is_loaded_goes_on_as_what_was_saved(tmp_path: Path) -> None:
    """Step by step, to the last bit."""
    first = parts()

    def step(net: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        net(torch.tensor([[1.0, -2.0]])).square().sum().backward()
        optimiser.step()

    for _ in range(3):
        step(first[0], first[2])
    save_state(tmp_path / "state", 3, first, {})
    other = parts()
    load_state(tmp_path / "state", other, {})
    for _ in range(3):
        step(first[0], first[2])
        step(other[0], other[2])
    assert all(torch.equal(a, b) for a, b in zip(first[0].parameters(), other[0].parameters(), strict=True))


def test_another_net_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "state", 3, parts(), {})
    net, mean = nn.Linear(3, 1), nn.Linear(3, 1)
    with pytest.raises(ModelError, match=r"(?s)cannot be used: .*size mismatch"):
        load_state(tmp_path / "state", Learner(net, mean, torch.optim.AdamW(net.parameters())), {})


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be used"):
        load_state(tmp_path / "state", parts(), {})
