"""The machine: where to compute, with how many workers, in how much memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clippan_cli.base.memory import Memory
from clippan_cli.base.options import option
from clippan_cli.base.values import SIZE, THREADS
from clippan_cli.errors import ResourceError, UsageError

if TYPE_CHECKING:
    import torch

_PRECISIONS = ("auto", "fp32", "bf16")
_PROCESSOR = Path("/proc/cpuinfo")

CACHE = 128 << 20
"""The bytes that GDAL's block cache usually takes."""


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """Holds what the user may say of the machine.

    Args:
        memory: The bytes that the process may take.
        device: The device's name: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …
        precision: How networks compute: ``"fp32"``, ``"bf16"``, or ``"auto"`` for what the device is fastest at.
        jobs: The number of threads; 0 for all processors.
    """

    memory: int = option(
        2 << 30, "Bounds the memory of the process.", metavar="SIZE", form=SIZE, variable=True, identity=False
    )
    device: str = option("auto", "Chooses the device that computes.", metavar="auto|cpu|cuda[:N]", variable=True)
    precision: str = option(
        "auto",
        "Chooses how networks compute: in 32 bits, or in 16 where the device has them, which takes half the time.",
        metavar="auto|fp32|bf16",
        variable=True,
    )
    jobs: int = option(
        0,
        "Sets the number of threads.",
        "-j",
        "--jobs",
        metavar="N|ALL_CPUS",
        form=THREADS,
        variable=True,
        identity=False,
    )


@dataclass(frozen=True)
class Machine:
    """Holds what a run computes with.

    Args:
        device: The device that computes.
        workers: The number of tiles or windows that are computed at once.
        memory: The guard that keeps the process below its bound.
        precision: How networks compute: ``"fp32"`` or ``"bf16"``.
        cache: The bytes of GDAL's block cache.
    """

    device: torch.device
    workers: int
    memory: Memory
    precision: str = "fp32"
    cache: int = CACHE


@contextmanager
def use_machine(options: MachineOptions, cache: int = CACHE) -> Iterator[Machine]:
    """Take the machine for a run whose workers are threads; what is changed in the process is undone on leaving.

    Args:
        options: What the user says of the machine.
        cache: The bytes of GDAL's block cache.

    Raises:
        ResourceError: There is no such device.
        UsageError: There is no such precision.
    """
    import torch  # takes seconds: never at start-up

    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    workers = 1 if device.type == "cuda" else options.jobs or os.cpu_count() or 1
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        with Memory(options.memory, max(0, cache - CACHE)) as memory:
            yield Machine(device, workers, memory, precision, cache)
    finally:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """Choose where to compute; ``auto`` takes a GPU when there is one.

    Raises:
        ResourceError: There is no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ResourceError(f"device {name!r} is not available here", "use `device=cpu` or auto") from error
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """Choose how networks compute; ``auto`` takes 16 bits where the device multiplies them by itself.

    Returns:
        ``"fp32"`` or ``"bf16"``.

    Raises:
        UsageError: There is no such precision.
    """
    import torch

    if name not in _PRECISIONS:
        raise UsageError(f"unknown precision {name!r}", "known: " + ", ".join(_PRECISIONS))
    if name != "auto":
        return name
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _multiplies_bf16()
    return "bf16" if fast else "fp32"


def _multiplies_bf16() -> bool:
    """Tell whether the processor multiplies 16 bits by itself: elsewhere that is slower than 32."""
    flags = _PROCESSOR.read_text().split() if _PROCESSOR.is_file() else ()
    return "avx512_bf16" in flags or "amx_bf16" in flags
