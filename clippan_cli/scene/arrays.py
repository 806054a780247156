"""Files of arrays by name: HDF5, and MATLAB's of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clippan_cli.errors import ClippanError, InputError
from clippan_cli.scene.layout import HDF5_ORDERS, MATLAB_ORDERS, Stored

_MATLAB = ".mat"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512
# Compressed chunks often run through many samples: without room for a row of them, each is unpacked for each sample.
_CHUNKS = {"rdcc_nbytes": 256 << 20, "rdcc_nslots": 10_007}


@dataclass(frozen=True)
class ArrayFile:
    """Holds an open file of arrays.

    Args:
        path: Where it lies.
        names: The names of its arrays.
        find: The function that finds an array by its name.
        orders: The orders that axes have in such files, the most usual first.
    """

    path: Path
    names: tuple[str, ...]
    find: Callable[[str], Stored]
    orders: tuple[str, ...]


@contextmanager
def open_arrays(path: Path) -> Iterator[ArrayFile]:
    """Open a file of arrays; HDF5 is read where an array is indexed, older MATLAB files array by array.

    Raises:
        InputError: It is no such file, or damaged, or h5py is not installed.
    """
    try:
        with (_open_hdf5 if _is_hdf5(path) else _open_matlab)(path) as file:
            yield file
    except (ClippanError, MemoryError):
        raise
    except Exception as error:  # Damaged files make their readers fail in every way.
        raise InputError(
            f"cannot read {path}: {error}", "it takes an HDF5 or MATLAB file that is whole: copy it once more"
        ) from error


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_USER_BLOCK + len(_SIGNATURE))
    return path.suffix.lower() != _MATLAB or _SIGNATURE in (head[: len(_SIGNATURE)], head[_USER_BLOCK:])


@contextmanager
def _open_hdf5(path: Path) -> Iterator[ArrayFile]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path} is an HDF5 file, and h5py is not installed", "install it: pip install 'clippan[h5]'"
        ) from error

    with h5py.File(path, "r", **_CHUNKS) as file:
        names = tuple(name for name, each in file.items() if isinstance(each, h5py.Dataset))
        if path.suffix.lower() == _MATLAB:
            yield ArrayFile(path, names, lambda name: _Reversed(file[name]), MATLAB_ORDERS)
        else:
            yield ArrayFile(path, names, file.__getitem__, HDF5_ORDERS)


class _Reversed:
    """An array of a MATLAB 7.3 file, with its axes as MATLAB has them."""

    def __init__(self, array: Stored) -> None:
        self._array = array
        self.shape, self.dtype = array.shape[::-1], array.dtype

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        return np.asarray(self._array[key[::-1]]).T


@contextmanager
def _open_matlab(path: Path) -> Iterator[ArrayFile]:
    from scipy import io  # rarely needed

    names = tuple(name for name, *_ in io.whosmat(path))
    yield ArrayFile(path, names, lambda name: np.asarray(io.loadmat(path, variable_names=[name])[name]), MATLAB_ORDERS)
