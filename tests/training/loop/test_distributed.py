from __future__ import annotations

import multiprocessing
import os
import socket
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from clippan_cli.errors import UsageError
from clippan_cli.training.loop.distributed import Group, check_alone, is_first, join_group
from tests.training.conftest import CPU


def test_a_process_alone() -> None:
    group = Group()
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    group.average([weight])
    group.wait()
    assert weight.grad.tolist() == [1, 2]
    assert group.leads
    assert group.mean([1.5, 2.5]) == [1.5, 2.5]
    assert [group.any(said) for said in (True, False)] == [True, False]
    assert list(group.share(3)) == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("batch", [1, 4, 15])
def test_every_pair_has_one_process(size: int, batch: int) -> None:
    shares = [list(Group(rank, size).share(batch)) for rank in range(size)]
    assert sorted(pair for share in shares for pair in share) == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [Group(rank, size).leads for rank in range(size)] == [True] + [False] * (size - 1)


def test_what_works_in_one_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    check_alone("clippan tune")
    monkeypatch.setenv("WORLD_SIZE", "1")
    check_alone("clippan tune")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="clippan tune works in one process") as caught:
        check_alone("clippan tune")
    assert caught.value.hint == "start it without torchrun"


def test_who_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_first()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert is_first() == (rank == "0")


def test_joining_nobody() -> None:
    with join_group(CPU) as group:
        assert group == Group(0, 1, CPU)
    assert not torch.distributed.is_initialized()


def _work(rank: int, port: int, queue: Any) -> None:
    """One of two processes; what it found out goes into the queue."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    found: dict[str, Any] = {}
    try:
        with join_group(CPU) as group:
            known, idle = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))
            known.grad = torch.full((2, 2), 1.0 + 2 * rank)
            group.average([known, idle])
            found = {"rank": group.rank, "size": group.size, "grad": known.grad.tolist(), "idle": idle.grad is None}
            found |= {"mean": group.mean([float(rank), 10.0]), "any": [group.any(rank == 1), group.any(False)]}
            group.wait()
            raise ZeroDivisionError
    except ZeroDivisionError:
        found["left"] = not torch.distributed.is_initialized()
    queue.put(found)


def test_two_processes_agree() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    both = [context.Process(target=_work, args=(rank, port, queue), daemon=True) for rank in (0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for process in both:
            process.start()
    found = sorted((queue.get(timeout=60) for _ in both), key=lambda each: each["rank"])
    for process in both:
        process.join(timeout=60)
    for rank, each in enumerate(found):
        assert each == {
            "rank": rank, "size": 2, "grad": [[2.0, 2.0], [2.0, 2.0]], "idle": True,
            "mean": [0.5, 10.0], "any": [True, False], "left": True,
        }  # fmt: skip
