"""Every method on real scenes, with and without back-projection and registration.

    python benchmarks/methods.py SCENES [NAME …]

SCENES is a folder of folders with ms.tif and pan.tif. Prints three tables:

1. reduced resolution (Wald's protocol at the true phase): ERGAS, SAM, Q2n of every method, plain and back-projected;
2. full resolution: R-ERGAS of the same, the product seen through the MTF against the measured MS;
3. registration: reduced resolution with half an MS pixel of silent shift, corrected and not.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.fusion.registry import METHODS, method
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.hypercomplex import q2n
from clippan_cli.metrics.reference import ergas, sam
from clippan_cli.opening.survey import survey
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.registration import measure_shift
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.wald import Reduced, reduce
from clippan_cli.scene.pair import open_pair

STEPS = 2


@dataclass
class Scene:
    """A real pair, in memory and registered."""

    name: str
    ms: Tensor
    pan: Tensor
    sampling: Sampling
    stated: Sampling
    sensor: str


def load(folder: Path) -> Scene | None:
    """Read a scene; None where pixels are missing."""
    with (
        rasterio.Env(),
        open_pair([str(folder / "ms.tif")], str(folder / "pan.tif")) as pair,
    ):
        known, sensor = survey(pair, "auto", 2), pair.sensor.title
        ms, ms_valid = pair.ms.read(pair.ms.grid.box)
        pan, pan_valid = pair.pan.read(pair.pan.grid.box)
    if ms_valid is not None or pan_valid is not None or min(ms.shape[1:]) < 96:
        return None
    return Scene(folder.name, torch.from_numpy(ms), torch.from_numpy(pan[0]), known.sampling, known.stated, sensor)


def whole(image: Tensor) -> Box:
    """All pixels of an image."""
    return Box.whole(image.shape)


def registered(pair: Reduced) -> Reduced:
    """The pair with its shift measured and corrected, as `clippan sharpen` does it."""
    sample = Window(Pixels(pair.ms), Pixels(pair.pan), whole(pair.ms), whole(pair.pan))
    shift = measure_shift([sample], pair.sampling).whole
    if shift is None:
        return pair
    return replace(pair, sampling=pair.sampling.shifted(((shift.row, shift.col),) * len(pair.ms)))


def reduced(scene: Scene, name: str, steps: int, slip: tuple[float, float], register: bool) -> tuple[float, ...]:
    """ERGAS, SAM and Q2n one scale down."""
    pair = reduce(scene.ms, scene.pan, scene.sampling, slip)
    sampling = registered(pair).sampling if register else pair.sampling
    out = fuse_whole(method(name), pair.ms, pair.pan, sampling, steps)
    edge = math.ceil(2 * max(sampling.ratio)) + 2
    cut = (slice(None), slice(edge, -edge), slice(edge, -edge))
    fused, truth = out[cut], pair.truth[cut]
    return float(ergas(fused, truth, sampling.ratio[0])), float(sam(fused, truth)), float(q2n(fused, truth))


def reprojected(scene: Scene, name: str, steps: int) -> float:
    """R-ERGAS at full resolution."""
    out = fuse_whole(method(name), scene.ms, scene.pan, scene.sampling, steps)
    seen = Operators(scene.sampling, whole(scene.pan), whole(scene.ms)).down(out)
    edge = (slice(None), slice(4, -4), slice(4, -4))
    return float(ergas(seen[edge], scene.ms[edge], scene.sampling.ratio[0]))


def mean(values: list[float]) -> float:
    """Geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def table_methods(scenes: list[Scene]) -> None:
    """Tables 1 and 2."""
    wins: Counter[str] = Counter()
    relative: dict[str, list[list[float]]] = {f"{name} {n}": [[], [], []] for name in METHODS for n in (0, STEPS)}
    low: dict[str, list[float]] = {key: [] for key in relative}
    print(f"\n1. Reduced resolution: ERGAS / SAM° / Q2n; the second line of a scene with {STEPS} back-projections")
    print(f"{'':<18}" + "".join(f"{name:>21}" for name in METHODS))
    for scene in scenes:
        scores = {
            f"{name} {n}": reduced(scene, name, n, (0.0, 0.0), register=False) for n in (0, STEPS) for name in METHODS
        }
        best = min(scores, key=lambda key: scores[key][0])
        wins[best] += 1
        for n in (0, STEPS):
            cells = []
            for name in METHODS:
                e, s, q = scores[f"{name} {n}"]
                cells.append(f"{e:8.2f}{s:6.2f}{q:6.3f}{'*' if best == f'{name} {n}' else ' '}")
            print(f"{scene.name if n == 0 else '':<18}" + "".join(cells), flush=True)
        for key, values in scores.items():
            for part in range(3):
                relative[key][part].append(values[part] / scores[best][part])
            low[key].append(reprojected(scene, key.split()[0], int(key.split()[1])))
    print("wins (ERGAS): " + ", ".join(f"{key}: {count}" for key, count in wins.most_common()))
    print("\nGeometric means over the scenes: ERGAS, SAM and Q2n relative to the scene's winner")
    print(f"2. Full resolution: R-ERGAS in percent\n{'':<18}{'ERGAS':>8}{'SAM':>8}{'Q2n':>8}{'R-ERGAS':>10}")
    for key, parts in relative.items():
        print(f"{key:<18}" + "".join(f"{mean(part):8.3f}" for part in parts) + f"{mean(low[key]):10.3f}")


def table_registration(scenes: list[Scene]) -> None:
    """Table 3."""
    names = ("gsa", "mtf-glp-hpm-r")
    print(f"\n3. Half an MS pixel of silent shift (row), {STEPS} back-projections: ERGAS")
    print(f"{'':<18}" + "".join(f"{name + ': aligned':>24}{'shifted':>9}{'mended':>9}" for name in names))
    ratios: dict[str, list[list[float]]] = {name: [[], []] for name in names}
    for scene in scenes:
        line = f"{scene.name:<18}"
        for name in names:
            straight = reduced(scene, name, STEPS, (0.0, 0.0), register=False)[0]
            shifted = reduced(scene, name, STEPS, (0.5, 0.0), register=False)[0]
            mended = reduced(scene, name, STEPS, (0.5, 0.0), register=True)[0]
            ratios[name][0].append(shifted / straight)
            ratios[name][1].append(mended / straight)
            line += f"{straight:24.2f}{shifted:9.2f}{mended:9.2f}"
        print(line, flush=True)
    means = "".join(f"{'':>24}{mean(a):8.2f}×{mean(b):8.2f}×" for a, b in ratios.values())
    print(f"{'geometric mean':<18}{means}")


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[Scene]]:
    """Read the command line, and the scenes that it names."""
    parser.add_argument("scenes", type=Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    folders = sorted(path.parent for path in arguments.scenes.glob("**/pan.tif"))
    if arguments.names:
        folders = [arguments.scenes / name for name in arguments.names]
    scenes = [scene for scene in map(load, folders) if scene is not None]
    if not scenes:
        parser.error(f"no scene without gaps and of 96 MS pixels in {arguments.scenes}")
    return arguments, scenes


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _, scenes = parse(parser)
    table_methods(scenes)
    table_registration(scenes)


if __name__ == "__main__":
    main()
