"""What a model learns from one half of a scene, and what that is worth on the other half and one scale up.

    python benchmarks/one_shot.py SCENES [NAME …] [--model ID|DIR …] [--weights refine|full|freeze|train …]
                                  [--iterations N]

SCENES is a folder of folders with ms.tif and pan.tif. The model is tuned on the left half of each scene, as `clippan
tune` does it or, for `train`, as `clippan train` does it with all its defaults. For each model and way to tune it
prints ERGAS / SAM after tuning over those before:

* on the right half, one scale down, where the truth is the measured MS, through the stated gains and through gains .10
  off on both sides, which nothing is told of;
* one scale up: the whole scene, one scale down through the optics that are believed, is what the model is tuned on; so
  it learns two scales down, and is judged one scale down. This is what `clippan sharpen --tune` relies on, one scale
  further up, where no truth is known.

Below stand geometric means, the worst, and how many scenes gain at least 5 % of ERGAS, and lose more than 1 %.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import rasterio
import torch
from methods import load, mean
from optics import Cell, Score, degraded, known, truthful
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window
from torch import Tensor

from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.registry import DEFAULT
from clippan_cli.modelstore.model import find_model
from clippan_cli.opening.options import SceneOptions
from clippan_cli.physics.wald import Reduced
from clippan_cli.training.options import TrainOptions, TuneOptions
from clippan_cli.training.train import train
from clippan_cli.training.tune import tune

Options = TuneOptions | TrainOptions
CELLS = (Cell(), Cell(gain=-0.1), Cell(gain=0.1))
LEAST = 64
COLUMNS = (*(f"right {cell.name}" for cell in CELLS), "scale up")


def split(folder: Path, place: Path) -> tuple[Path, Path]:
    """Write the left and the right half of a scene."""
    halves = place / "left" / folder.name, place / "right" / folder.name
    with rasterio.open(folder / "ms.tif") as ms, rasterio.open(folder / "pan.tif") as pan:
        ratio = pan.width / ms.width
        for half, start, stop in zip(halves, (0, ms.width // 2), (ms.width // 2, ms.width), strict=True):
            half.mkdir(parents=True)
            for raster, factor in ((ms, 1.0), (pan, ratio)):
                window = Window(round(start * factor), 0, round((stop - start) * factor), raster.height)
                # Of four bands of 8 bits GDAL would call the last one alpha.
                profile = {**raster.profile, "photometric": "MINISBLACK", "alpha": "NO"}
                profile |= {"width": window.width, "transform": raster.window_transform(window)}
                name = "ms.tif" if raster is ms else "pan.tif"
                with rasterio.open(half / name, "w", **profile) as file:
                    file.write(raster.read(window=window))
                    file.descriptions = raster.descriptions
    return halves


def lay_out(pair: Reduced, place: Path) -> Path:
    """Write a pair one scale down."""
    place.mkdir(parents=True)
    for name, image, ratio in (("ms.tif", pair.ms, pair.sampling.ratio), ("pan.tif", pair.pan[None], (1.0, 1.0))):
        transform = rasterio.Affine(ratio[1], 0, 0, 0, -ratio[0], 0)
        write(place / name, image, transform)
    return place


def write(path: Path, image: Tensor, transform: rasterio.Affine) -> None:
    """Write pixels as 32-bit floats."""
    count, height, width = image.shape
    shape = {"count": count, "height": height, "width": width}
    with rasterio.open(path, "w", "GTiff", dtype="float32", crs="EPSG:32631", transform=transform, **shape) as file:
        file.write(image.numpy())


def gain(pair: Reduced, before: Learned, after: Learned) -> Score:
    """ERGAS and SAM after tuning over those before."""
    with torch.inference_mode():
        sampling, _ = known(pair, blind=True)
        (first, _), (second, _) = truthful(pair, sampling, before), truthful(pair, sampling, after)
    return second[0] / first[0], second[1] / first[1]


def tuned(scene: Path, folder: Path, options: Options) -> Learned:
    """A model, tuned on a scene."""
    if isinstance(options, TrainOptions):
        return Learned(find_model(train([str(scene)], folder, options).output))
    return Learned(find_model(tune([str(scene)], folder, options).output))


def judge(folder: Path, options: Options) -> tuple[list[Score | None], float]:
    """What tuning on a scene brings in each column, None where it is too small; and how many seconds it takes."""
    before = Learned(find_model(options.init))
    found: list[Score | None] = [None] * len(COLUMNS)
    seconds = math.nan
    with tempfile.TemporaryDirectory() as place:
        left, right = split(folder, Path(place))
        other, scene = load(right), load(folder)
        assert scene is not None
        if other is not None:
            began = time.perf_counter()
            after = tuned(left, Path(place, "half"), options)
            seconds = time.perf_counter() - began
            found[:-1] = [gain(degraded(other, cell), before, after) for cell in CELLS]
        believed = replace(scene.stated, gains=scene.sampling.gains)
        pair = degraded(replace(scene, stated=believed), Cell())
        if min(pair.ms.shape[1:]) >= LEAST:
            stated = SceneOptions(mtf_gain=statistics.mean(believed.gains))
            small = lay_out(pair, Path(place, "small", folder.name))
            found[-1] = gain(pair, before, tuned(small, Path(place, "up"), replace(options, scene=stated)))
    return found, seconds


def line(scores: list[Score | None]) -> str:
    """A line of the table."""
    return "".join(f"{'–':>16}" if score is None else f"{score[0]:10.3f} /{score[1]:.2f}" for score in scores)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--model", action="append", help="id or folder, the default model if none is given")
    parser.add_argument("--weights", action="append", help="refine, full, freeze or train; refine if none is given")
    parser.add_argument("--iterations", type=int, default=300, help="the steps of full and freeze")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    names = arguments.names or sorted(path.parent.name for path in arguments.scenes.glob("*/ms.tif"))
    names = [name for name in names if load(arguments.scenes / name)]
    for model in arguments.model or [DEFAULT]:
        for weights in arguments.weights or ["refine"]:
            print(f"\n{model}, {weights}: ERGAS / SAM after tuning over before")
            print(f"{'':<18}" + "".join(f"{column:>16}" for column in COLUMNS) + f"{'seconds':>9}")
            options: Options = TuneOptions(init=model, weights=weights, iterations=arguments.iterations, device="cpu")
            if weights == "train":
                options = TrainOptions(init=model, device="cpu", jobs=0)
            table = []
            for name in names:
                scores, seconds = judge(arguments.scenes / name, options)
                table.append(scores)
                print(f"{name:<18}{line(scores)}{seconds:9.1f}", flush=True)
            summarise(table)


def summarise(table: list[list[Score | None]]) -> None:
    """The lines below a table."""
    columns = [[score for score in column if score] for column in zip(*table, strict=True)]
    print(f"{'mean':<18}" + line([(mean([e for e, _ in c]), mean([s for _, s in c])) if c else None for c in columns]))
    print(f"{'worst':<18}" + line([(max(e for e, _ in c), max(s for _, s in c)) if c else None for c in columns]))
    print(f"{'gain 5 %':<18}" + "".join(f"{f'{sum(e <= 0.95 for e, _ in c)} of {len(c)}':>16}" for c in columns))
    print(f"{'lose 1 %':<18}" + "".join(f"{f'{sum(e > 1.01 for e, _ in c)} of {len(c)}':>16}" for c in columns))


if __name__ == "__main__":
    main()
