from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from clippan_cli.base import machine as machines
from clippan_cli.base.machine import CACHE, MachineOptions, choose_device, use_machine
from clippan_cli.base.memory import Memory, resident
from clippan_cli.errors import ResourceError, UsageError


class Libc:
    """Hears what glibc would be told."""

    def __init__(self) -> None:
        self.trims, self.told = 0, dict[int, int]()

    def malloc_trim(self, _: int) -> None:
        self.trims += 1

    def mallopt(self, parameter: int, value: int) -> None:
        self.told[parameter] = value


@pytest.fixture
def libc(monkeypatch: pytest.MonkeyPatch) -> Libc:
    found = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: found)
    return found


@pytest.fixture
def three_threads() -> None:
    torch.set_num_threads(3)


@pytest.mark.usefixtures("three_threads")
def test_threads_of_torch_are_given_back() -> None:
    with use_machine(MachineOptions(device="cpu", jobs=2)) as machine:
        assert torch.get_num_threads() == 1
        assert (machine.workers, machine.device.type, machine.cache) == (2, "cpu", CACHE)
    assert torch.get_num_threads() == 3
    with pytest.raises(ValueError, match="broken"), use_machine(MachineOptions(device="cpu")):
        raise ValueError("broken")
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)


def test_all_processors_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, workers in ((7, 7), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        with use_machine(MachineOptions(device="cpu", jobs=0)) as machine:
            assert machine.workers == workers


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "cpu:x", "quantum"])
def test_no_such_device(name: str) -> None:
    before = torch.get_num_threads()
    refused = pytest.raises(ResourceError, match=f"device {name!r} is not available here")
    with refused as found, use_machine(MachineOptions(device=name)):
        pytest.fail("it was taken")
    assert "`device=cpu`" in found.value.hint
    assert torch.get_num_threads() == before


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == kind


def test_memory_is_handed_back_near_the_bound(libc: Libc) -> None:
    with Memory(resident() // 2) as memory:
        kept = dict(libc.told)
        memory.check()
        assert libc.trims == 1
    assert libc.trims == 2
    assert libc.told.keys() == kept.keys()
    assert all(libc.told[key] != kept[key] for key in kept)


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("flags : fpu avx512f avx512_bf16 avx512_vnni", "bf16"),
        ("flags : fpu amx_bf16", "bf16"),
        ("flags : fpu avx2 avx512f", "fp32"),
        (None, "fp32"),
    ],
)
def test_16_bits_where_the_processor_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str | None, found: str
) -> None:
    processor = tmp_path / "cpuinfo"
    if flags is not None:
        processor.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(machines, "_PROCESSOR", processor)
    for said, expected in (("auto", found), ("fp32", "fp32"), ("bf16", "bf16")):
        with use_machine(MachineOptions(device="cpu", precision=said)) as machine:
            assert machine.precision == expected


def test_16_bits_where_the_gpu_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has: has)
        assert machines.choose_precision("auto", torch.device("cuda")) == expected


def test_no_such_precision() -> None:
    with pytest.raises(UsageError, match="unknown precision 'int8'"), use_machine(MachineOptions(precision="int8")):
        pytest.fail("it was taken")


def test_memory_is_kept_far_below_the_bound(libc: Libc) -> None:
    with Memory(1 << 40) as memory:
        memory.check()
        assert libc.trims == 0


def test_a_large_cache_does_not_count(libc: Libc) -> None:
    with Memory(1, cache=1 << 40) as memory:
        memory.check()
        assert libc.trims == 0


def test_memory_without_glibc_or_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Any) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with Memory(1) as memory:
        memory.check()
    monkeypatch.setattr(Path, "read_text", missing)
    assert resident() == 0


def test_a_bound_that_is_far_too_small_is_lived_with() -> None:
    with Memory(1) as memory:
        memory.check()
        assert resident() > 1 << 20
