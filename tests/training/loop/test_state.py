from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from clippan_cli.errors import ModelError
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
