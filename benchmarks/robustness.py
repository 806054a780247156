"""How methods stand what happens to pairs: noise, haze, misregistration, compression, wrong optics.

    python benchmarks/robustness.py SCENES [NAME …] [--model ID|DIR …]

SCENES is a folder of folders with ms.tif and pan.tif. Each scene is brought one scale down, where the truth is the
measured MS, as `optics.py` does it, and disturbed; methods are told nothing of it. Prints ERGAS, and then SAM, over
that of interpolation on the undisturbed pair: geometric means over the scenes. Less is better; 1 is what plain
interpolation makes of clean data. Haze is a part of the truth. Everything ends with two back-projections.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from methods import Scene, mean, parse, registered
from optics import CLASSICAL, Cell, Score, degraded, known, truthful
from rasterio.io import MemoryFile
from torch import Tensor

from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.modelstore.model import find_model
from clippan_cli.physics.wald import Reduced

TRUE = Cell()


@dataclass(frozen=True)
class Disturbance:
    """What happens to a scene before it is brought one scale down, on the way, and to the pair that comes out."""

    scene: Callable[[Scene], Scene] = lambda scene: scene
    cell: Cell = TRUE
    pair: Callable[[Reduced], Reduced] = lambda pair: pair

    def clean(self, scene: Scene) -> Reduced:
        """The pair that nothing has happened to."""
        return degraded(self.scene(scene), TRUE)

    def disturbed(self, scene: Scene) -> Reduced:
        """The pair that methods get."""
        return self.pair(degraded(self.scene(scene), self.cell))


def noisy(pair: Reduced, share: float) -> Reduced:
    """Noise of a share of each band's standard deviation, in MS and PAN."""
    draw = torch.Generator().manual_seed(1)
    ms, pan = (
        x + share * x.std((-2, -1), keepdim=True) * torch.randn(x.shape, generator=draw) for x in (pair.ms, pair.pan)
    )
    return replace(pair, ms=ms, pan=pan)


def hazy(scene: Scene, share: float) -> Scene:
    """A veil of a share of the mean of the first band, less of the others; and of PAN."""
    fall = share * torch.linspace(1, 0.3, len(scene.ms))
    ms = scene.ms + (fall * scene.ms.mean((1, 2)))[:, None, None]
    return replace(scene, ms=ms, pan=scene.pan + fall.mean() * scene.pan.mean())


def compressed(pair: Reduced, percent: int) -> Reduced:
    """MS and PAN compressed by JPEG 2000 to a share of their size."""
    top = 4095 / max(float(pair.ms.max()), float(pair.pan.max()))
    ms, pan = (pack(x * top, percent) / top for x in (pair.ms, pair.pan[None]))
    return replace(pair, ms=ms, pan=pan[0])


def pack(x: Tensor, percent: int) -> Tensor:
    """An image, compressed and read again, band by band."""
    planes = []
    for plane in x.round().clamp(0, 4095).numpy().astype(np.uint16):
        height, width = plane.shape
        size = {"count": 1, "height": height, "width": width, "dtype": "uint16", "quality": percent}
        with MemoryFile() as file:
            with file.open(driver="JP2OpenJPEG", reversible="NO", **size) as target:
                target.write(plane, 1)
            with file.open() as source:
                planes.append(torch.from_numpy(source.read(1).astype(np.float32)))
    return torch.stack(planes)


DISTURBANCES: Mapping[str, Disturbance] = {
    "nothing": Disturbance(),
    **{f"noise {share:.0%}": Disturbance(pair=partial(noisy, share=share)) for share in (0.02, 0.05, 0.1)},
    **{f"haze {share:.0%}": Disturbance(scene=partial(hazy, share=share)) for share in (0.3, 1.0)},
    **{f"shift {by} MS px, left in": Disturbance(cell=Cell(shift=by)) for by in (0.1, 0.25, 0.5)},
    "shift 0.5 MS px, measured": Disturbance(cell=Cell(shift=0.5), pair=registered),
    **{f"JPEG 2000, to {share} %": Disturbance(pair=partial(compressed, percent=share)) for share in (40, 20)},
    "MTF gain 0.10 less": Disturbance(cell=Cell(gain=-0.1)),
    "MTF gain 0.10 more": Disturbance(cell=Cell(gain=0.1)),
    "PAN's gain 0.05 less": Disturbance(cell=Cell(pan=-0.05)),
    "PAN's gain 0.05 more": Disturbance(cell=Cell(pan=0.05)),
}


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="id or folder, the default model if none is given")
    arguments, scenes = parse(parser)
    models = [Learned(find_model(name)) for name in arguments.model or [DEFAULT]]
    methods: dict[str, Method] = {each.name: each for each in (*models, *map(method, (*CLASSICAL, "brovey", "exp")))}
    tables: list[list[list[float]]] = [[], []]
    with torch.inference_mode():
        for disturbance in DISTURBANCES.values():
            clean = [scores_of(disturbance.clean(scene), [methods["exp"]])[0] for scene in scenes]
            disturbed = [scores_of(disturbance.disturbed(scene), methods.values()) for scene in scenes]
            for part, table in enumerate(tables):
                ratios = [[one[part] / base[part] for one in row] for row, base in zip(disturbed, clean, strict=True)]
                table.append([mean(list(column)) for column in zip(*ratios, strict=True)])
    for title, table in zip(("ERGAS", "SAM"), tables, strict=True):
        print(f"\n{title} over interpolation's on the clean pair, {len(scenes)} scenes")
        print(f"{'':<28}" + "".join(f"{name:>15}" for name in methods))
        for name, row in zip(DISTURBANCES, table, strict=True):
            print(f"{name:<28}" + "".join(f"{value:15.3f}" for value in row))


def scores_of(pair: Reduced, methods: Iterable[Method]) -> list[Score]:
    """ERGAS and SAM of methods that know what is measured of the optics of a pair."""
    sampling, _ = known(pair, blind=True)
    return [truthful(pair, sampling, fusion)[0] for fusion in methods]


if __name__ == "__main__":
    main()
