"""The process's memory: reuse what was freed, hand it back before the bound."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Self

_HAND_BACK = 0.9
# The most that mallopt takes.
_KEPT = (1 << 31) - 1
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -8, -3, -1, -2
_KEEPING = {_ARENA_MAX: 1, _MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: _KEPT, _TOP_PAD: 16 << 20}
_USUAL = {_ARENA_MAX: 0, _MMAP_THRESHOLD: 128 << 10, _TRIM_THRESHOLD: 128 << 10, _TOP_PAD: 128 << 10}


class Memory:
    """Keeps the process below a bound.

    glibc hands large freed blocks back at once and takes them again for the next tile, which costs a page fault for
    each 4 KiB: half the time of a light method. Within the context it is told to keep them; in return what is free is
    handed back whenever the process comes near its bound. On leaving, glibc goes on with its documented defaults.

    Args:
        bound: The bytes that the process may take.
        cache: The bytes of them that a cache larger than usual holds for good.
    """

    def __init__(self, bound: int, cache: int = 0) -> None:
        self._limit = int(_HAND_BACK * bound) + cache
        try:
            self._libc: ctypes.CDLL | None = ctypes.CDLL("libc.so.6")
        except OSError:
            self._libc = None

    def __enter__(self) -> Self:
        """Keep what is freed from now on."""
        self._set(_KEEPING)
        return self

    def __exit__(self, *_: object) -> None:
        """Hand everything back that is free."""
        self._set(_USUAL)
        if self._libc is not None:
            self._libc.malloc_trim(0)

    def check(self) -> None:
        """Hand free memory back if the process has grown near its bound."""
        if self._libc is not None and resident() > self._limit:
            self._libc.malloc_trim(0)

    def _set(self, parameters: dict[int, int]) -> None:
        if self._libc is not None:
            for parameter, value in parameters.items():
                self._libc.mallopt(parameter, value)


def resident() -> int:
    """Count the bytes of the process in memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
