"""Processes that train one net together (torchrun)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from clippan_cli.errors import UsageError


@dataclass(frozen=True)
class Group:
    """This process among its fellows; alone, everything here does nothing.

    Args:
        rank: The number of this process, from 0 on.
        size: The number of processes.
        device: The device that this process computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, size: int) -> range:
        """Return which of the pairs of a step are this process's."""
        return range(self.rank, size, self.size)

    def average(self, weights: Iterable[nn.Parameter]) -> None:
        """Average the gradients over the processes, all in one message."""
        if self.size == 1:
            return
        known = [weight for weight in weights if weight.grad is not None]
        flat = torch.cat([weight.grad.flatten() for weight in known if weight.grad is not None])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.size, [weight.numel() for weight in known])
        for weight, part in zip(known, parts, strict=True):
            weight.grad = part.view_as(weight)

    def mean(self, values: Sequence[float]) -> list[float]:
        """Average numbers over the processes."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return (shared / self.size).tolist()

    def any(self, said: bool) -> bool:
        """Tell whether one of the processes says so."""
        return said if self.size == 1 else self.mean([float(said)])[0] > 0

    def wait(self) -> None:
        """Wait until all processes have come so far."""
        if self.size > 1:
            dist.barrier()


def check_alone(what: str) -> None:
    """Refuse to run in several processes.

    Args:
        what: The command that works in one.

    Raises:
        UsageError: torchrun started more than one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"{what} works in one process", "start it without torchrun")


def is_first() -> bool:
    """Tell whether this process is alone, or the first of those that torchrun started."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ["RANK"] == "0"


@contextmanager
def join_group(device: torch.device) -> Iterator[Group]:
    """Join the group that torchrun has set up, and leave it in the end; a process that stands alone is one by itself.

    Args:
        device: The device of the training; with several GPUs, each process takes its own.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group(device=device)
        return
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device.type == "cuda" else device
    if own.type == "cuda":
        torch.cuda.set_device(own)
    # The others wait while the first one adapts CLIP.
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=timedelta(hours=12))
    try:
        yield Group(dist.get_rank(), size, own)
    finally:
        dist.destroy_process_group()
