"""What the indices of assess see, and what they cost.

python benchmarks/indices.py damage SCENES [NAME …]   good results, damaged in four ways: which index sees which
python benchmarks/indices.py speed FOLDER             time and peak memory beside reading the three files once

SCENES is a folder of folders with ms.tif and pan.tif; FOLDER holds ms.tif, pan.tif and hrms.tif
(``python benchmarks/large.py make FOLDER --size 20000``, then ``clippan sharpen``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window
from scipy import ndimage

from clippan_cli import SharpenOptions, assess, sharpen
from clippan_cli.errors import InputError

Image = NDArray[np.float32]
KEYS = ("hqnr", "d_lambda_k", "d_s", "d_rho", "r_ergas", "r_sam", "r_q2n", "d_lambda", "qnr")


def blurred(x: Image, ratio: float) -> Image:
    """A Gaussian of a quarter of an MS pixel."""
    return np.stack([ndimage.gaussian_filter(plane, ratio / 4) for plane in x])


def tinted(x: Image, ratio: float) -> Image:
    """The first band a tenth brighter, the last a tenth darker."""
    factors = np.ones(len(x), np.float32)
    factors[0], factors[-1] = 1.1, 0.9
    return np.asarray(x * factors[:, None, None], np.float32)


def shifted(x: Image, ratio: float) -> Image:
    """Half an MS pixel down."""
    return np.stack([ndimage.shift(plane, (ratio / 2, 0), order=1, mode="nearest") for plane in x])


def noisy(x: Image, ratio: float) -> Image:
    """White noise of a fifth of each band's deviation."""
    rng = np.random.default_rng(0)
    deviation = np.nanstd(x, axis=(1, 2), keepdims=True)
    return np.asarray(x + 0.2 * deviation * rng.standard_normal(x.shape), np.float32)


DAMAGE: dict[str, tuple[Callable[[Image, float], Image], str]] = {
    "blurred": (blurred, "d_rho"),
    "tinted": (tinted, "r_sam"),
    "shifted": (shifted, "r_ergas"),
    "noisy": (noisy, "d_rho"),
}
"""Each damage, and the index that should see it."""


def damage(folders: list[Path]) -> None:
    """The table."""
    names = ("good", *DAMAGE, "exp")
    table: dict[str, dict[str, list[float]]] = {name: {key: [] for key in KEYS} for name in names}
    seen: dict[str, list[tuple[bool, bool]]] = {name: [] for name in DAMAGE}
    for folder in folders:
        try:
            found = _scene(folder)
        except InputError as error:
            print(f"{folder.name}: left out, {error.what}")
            continue
        print(f"{folder.name:<18}" + "".join(f"  {name}: {found[name]['hqnr']:.4f}" for name in names), flush=True)
        for name in names:
            for key in KEYS:
                table[name][key].append(found[name][key])
        for name, (_, key) in DAMAGE.items():
            seen[name].append((found[name][key] > found["good"][key], found[name]["hqnr"] < found["good"]["hqnr"]))
    print(f"\nmedians over {len(table['good']['hqnr'])} scenes, scene convention")
    print(f"{'':<10}" + "".join(f"{key:>14}" for key in KEYS) + "   should be seen by")
    for name in names:
        line = "".join(f"{np.median(table[name][key]):14.4f}" for key in KEYS)
        note = ""
        if name in DAMAGE:
            counts = [sum(column) for column in zip(*seen[name], strict=True)]
            note = f"   {DAMAGE[name][1]}: {counts[0]} of {len(seen[name])} scenes (hqnr: {counts[1]})"
        print(f"{name:<10}{line}{note}")


def _scene(folder: Path) -> dict[str, dict[str, float]]:
    ms, pan = str(folder / "ms.tif"), str(folder / "pan.tif")
    found = {}
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "hrms.tif"
        record = sharpen([ms], pan, path, SharpenOptions(dtype="float32", dst_nodata=float("nan")))
        with rasterio.open(path) as source:
            good, profile = source.read(), source.profile
        changes: dict[str, Callable[[Image, float], Image]] = {"good": lambda x, _: x}
        changes |= {name: change for name, (change, _) in DAMAGE.items()}
        for name, change in changes.items():
            with rasterio.open(path, "w", **profile) as target:
                target.write(change(good, record.geometry.ratio[0]).astype(np.float32))
            rows = {row.role: row.full or {} for row in assess([ms], pan, str(path)).candidates}
            found[name], found["exp"] = _numbers(rows["result"]), _numbers(rows["interpolation"])
    return found


def _numbers(indices: Mapping[str, float | None]) -> dict[str, float]:
    if indices["hqnr"] is None or indices["r_q2n"] is None:
        raise InputError("too few blocks")
    return {key: float("nan") if (value := indices[key]) is None else value for key in KEYS}


def speed(folder: Path, runs: int) -> None:
    """Whole processes, in turn."""
    paths = [str(folder / name) for name in ("hrms.tif", "ms.tif", "pan.tif")]
    command = [sys.executable, "-m", "clippan_cli", "-q", "assess", *paths, "--json"]
    print(f"{'reading s':>10}{'assess s':>10}{'ratio':>7}{'peak MiB':>10}   read / compute s of the threads")
    for _ in range(runs):
        start = time.perf_counter()
        for path in paths:
            _read(path)
        reading = time.perf_counter() - start
        start = time.perf_counter()
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        assessing = time.perf_counter() - start
        timing = json.loads(answer)["timing"]
        print(
            f"{reading:10.1f}{assessing:10.1f}{assessing / reading:7.2f}{timing['peak_memory_mib']:10.0f}"
            f"   {timing['read']:.1f} / {timing['compute']:.1f}",
            flush=True,
        )


def _read(path: str) -> None:
    """Every pixel once, in windows of 1024."""
    with rasterio.open(path) as source:
        for row in range(0, source.height, 1024):
            for col in range(0, source.width, 1024):
                source.read(window=Window(col, row, min(1024, source.width - col), min(1024, source.height - row)))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("damage", "speed"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    if arguments.what == "speed":
        speed(arguments.folder, arguments.runs)
        return
    folders = sorted(path.parent for path in arguments.folder.glob("**/pan.tif"))
    if arguments.names:
        folders = [arguments.folder / name for name in arguments.names]
    damage(folders)


if __name__ == "__main__":
    main()
