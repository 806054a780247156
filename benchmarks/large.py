"""Large scenes: speed beside GDAL, peak memory, and a kill with SIGKILL in the middle.

python benchmarks/large.py make FOLDER --size 16384     a scene of that many PAN pixels a side, 4 bands, uint16
python benchmarks/large.py speed FOLDER                 clippan and gdal_pansharpen.py, in turn, in one run
python benchmarks/large.py kill FOLDER                  killed at 40 %, resumed, compared with an unbroken run
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

_PATCH = 1024
_RATIO = 4


def make(folder: Path, size: int) -> None:
    """Write ``ms.tif`` and ``pan.tif``: one drawn patch, mirrored over and over, brighter to the south-east."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "sample_scenes"))
    from landscape import draw
    from make import Recipe, degrade, observe

    recipe = Recipe("large", "quickbird", ("blue", "green", "red", "nir"), _RATIO, 1.5, _PATCH // _RATIO, 0.5, 3)
    hrms, pan, sampling = observe(recipe, draw((_PATCH, _PATCH), recipe.seed))
    folder.mkdir(parents=True, exist_ok=True)
    place = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
    _mosaic(folder / "pan.tif", pan[None], size, place)
    _mosaic(folder / "ms.tif", degrade(hrms, sampling), size // _RATIO, place @ Affine.scale(_RATIO))


def _mosaic(path: Path, patch: np.ndarray, size: int, place: Affine) -> None:
    rng = np.random.default_rng(1)
    side = patch.shape[1]
    profile = {"driver": "GTiff", "count": len(patch), "height": size, "width": size, "dtype": "uint16", "tiled": True}
    profile |= {"blockxsize": 512, "blockysize": 512, "crs": "EPSG:32631", "transform": place, "BIGTIFF": "IF_SAFER"}
    with rasterio.open(path, "w", photometric="MINISBLACK", **profile) as target:
        for row in range(0, size, side):
            for col in range(0, size, side):
                part = patch[:, :: -1 if row // side % 2 else 1, :: -1 if col // side % 2 else 1]
                part = part[:, : size - row, : size - col]
                light = 0.8 + 0.4 * (row + col) / (2 * size)
                noisy = part * 2400 * light + rng.normal(0, 2, part.shape)
                window = Window(col, row, part.shape[2], part.shape[1])
                target.write(np.clip(np.rint(noisy), 1, 2047).astype(np.uint16), window=window)


def speed(folder: Path, runs: int) -> None:
    """Time whole processes, in turn, and print the median and the ratio to GDAL's."""
    ms, pan, out = str(folder / "ms.tif"), str(folder / "pan.tif"), folder / "out.tif"
    clippan = [sys.executable, "-m", "clippan_cli", "-q", "sharpen", ms, pan, "-o", str(out), "--overwrite"]
    gdal = shutil.which("gdal_pansharpen.py") or shutil.which("gdal_pansharpen")
    for options in (["COMPRESS=NONE"], ["COMPRESS=DEFLATE", "PREDICTOR=1"]):
        ours = [word for option in [*options, "TILED=YES"] for word in ("--co", option)]
        theirs = [
            word
            for option in [*options, "TILED=YES", "BIGTIFF=IF_SAFER", "NUM_THREADS=ALL_CPUS"]
            for word in ("-co", option)
        ]
        commands = {
            "brovey, no back-projection": [*clippan, "--method", "brovey", "--consistency", "0", *ours],
            "mtf-glp-hpm-r": [*clippan, "--method", "mtf-glp-hpm-r", *ours],
            "default (injector-4)": [*clippan, *ours],
            "the same in 32 bits": [*clippan, *ours, "--precision", "fp32"],
        }
        if gdal:
            commands = {"GDAL": [gdal, "-q", "-threads", "ALL_CPUS", pan, ms, str(out), *theirs]} | commands
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                out.unlink(missing_ok=True)
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - start)
                if name != "GDAL":
                    record = json.loads((folder / "out.tif.clippan.json").read_text())
                    shares[name] = record["timing"], record["peak_memory_mib"]
        _print(options, seconds, folder)
    out.unlink(missing_ok=True)


shares: dict[str, tuple[dict[str, float], float]] = {}


def _print(options: list[str], seconds: dict[str, list[float]], folder: Path) -> None:
    with rasterio.open(folder / "pan.tif") as pan:
        pixels = pan.width * pan.height
    print(f"\n{' '.join(options)}, {os.cpu_count()} cores, PAN of {pixels / 1e6:.0f} M pixels, whole process")
    print(f"{'':<28}{'median s':>9}{'M px/s':>8}{'÷ GDAL':>8}   read / compute / write s   peak MiB")
    base = float(np.median(seconds["GDAL"])) if "GDAL" in seconds else float("nan")
    for name, times in seconds.items():
        middle = float(np.median(times))
        line = f"{name:<28}{middle:9.1f}{pixels / middle / 1e6:8.1f}{middle / base:8.2f}"
        if name in shares:
            timing, peak = shares[name]
            line += f"   {timing['read']:.1f} / {timing['compute']:.1f} / {timing['write']:.1f}{peak:18.0f}"
        print(line)


def kill(folder: Path) -> None:
    """SIGKILL at 40 %, resume, compare byte by byte."""
    ms, pan = str(folder / "ms.tif"), str(folder / "pan.tif")
    whole, broken = folder / "whole.tif", folder / "broken.tif"
    base = [sys.executable, "-m", "clippan_cli", "sharpen", ms, pan]
    for path in (whole, broken):
        path.unlink(missing_ok=True)
    subprocess.run([*base, "-o", str(whole)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record = json.loads((folder / "whole.tif.clippan.json").read_text())
    print(f"unbroken: {record['timing']['seconds']:.1f} s, peak {record['peak_memory_mib']:.0f} MiB")
    process = subprocess.Popen([*base, "-o", str(broken)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("sharpening") and int(line.split()[1].rstrip("%")) >= 40:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    print(f"killed at: {line.strip()}; final name exists: {broken.exists()}")
    start = time.perf_counter()
    subprocess.run([*base, "-o", str(broken), "--resume"], check=True, stdout=subprocess.DEVNULL)
    record = json.loads((folder / "broken.tif.clippan.json").read_text())
    print(f"resumed: {time.perf_counter() - start:.1f} s, peak {record['peak_memory_mib']:.0f} MiB")
    print(f"same bytes: {filecmp.cmp(whole, broken, shallow=False)}")
    for path in (whole, broken):
        path.unlink()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "speed", "kill"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what == "make":
        make(arguments.folder, arguments.size)
    elif arguments.what == "speed":
        speed(arguments.folder, arguments.runs)
    else:
        kill(arguments.folder)


if __name__ == "__main__":
    main()
