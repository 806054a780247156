"""Models beside the best classical methods, on real scenes that they were not trained on.

    python benchmarks/zero_shot.py SCENES [NAME …] [--model ID|DIR …]

SCENES is a folder of folders with ms.tif and pan.tif. Everything ends with two back-projections. Prints three tables:

1. reduced resolution (Wald's protocol at the true phase): ERGAS and SAM of each model over the best of GSA, BDSD-PC,
   MTF-GLP-FS and MTF-GLP-HPM-R on that scene, index by index; geometric means;
2. reduced resolution: D_ρ of the truth beside that of every product: how much of PAN the truth really has;
3. full resolution: HQNR, D_ρ, R-ERGAS of each model, of those methods, and of interpolation.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence

import torch
from methods import STEPS, Scene, mean, parse, whole
from torch import Tensor

from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.local import d_rho
from clippan_cli.metrics.qnr import d_lambda_k, d_s, qnr
from clippan_cli.metrics.reference import ergas, sam
from clippan_cli.modelstore.model import find_model
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.wald import Reduced, reduce

CLASSICAL = ("gsa", "bdsd-pc", "mtf-glp-fs", "mtf-glp-hpm-r")


def truthful(pair: Reduced, fusion: Method) -> tuple[float, float, float]:
    """ERGAS, SAM and D_ρ one scale down."""
    fused, truth = inner(pair, fuse_whole(fusion, pair.ms, pair.pan, pair.sampling, STEPS)), inner(pair, pair.truth)
    structure = d_rho(fused, inner(pair, pair.pan))
    return float(ergas(fused, truth, pair.sampling.ratio[0])), float(sam(fused, truth)), float(structure)


def inner(pair: Reduced, image: Tensor) -> Tensor:
    """An image on PAN's grid one scale down, without its edges."""
    edge = math.ceil(2 * max(pair.sampling.ratio)) + 2
    return image[..., edge:-edge, edge:-edge]


def blind(scene: Scene, fusion: Method) -> tuple[float, float, float]:
    """HQNR, D_ρ and R-ERGAS at full resolution."""
    steps = 0 if fusion.name == "exp" else STEPS
    out = fuse_whole(fusion, scene.ms, scene.pan, scene.sampling, steps)
    operators = Operators(scene.sampling, whole(scene.pan), whole(scene.ms))
    seen, up = operators.down(out), operators.up(scene.ms)
    edge = (slice(None), slice(4, -4), slice(4, -4))
    spectral = d_lambda_k(operators.up(seen), up)
    spatial = d_s(out, up, scene.pan, operators.low_pass(scene.pan))
    reprojected = ergas(seen[edge], scene.ms[edge], scene.sampling.ratio[0])
    return float(qnr(spectral, spatial)), float(d_rho(out, scene.pan)), float(reprojected)


def table_reduced(scenes: list[Scene], models: dict[str, Method]) -> None:
    """Tables 1 and 2."""
    print(f"\n1. Reduced resolution, {STEPS} back-projections: best classical ERGAS / SAM°, then model over best")
    print(f"{'':<20}{'ERGAS':>8}{'':>16}{'SAM':>8}{'':>16}" + "".join(f"{name:>20}" for name in models))
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    structure: dict[str, list[tuple[float]]] = {name: [] for name in (*models, *CLASSICAL, "the truth")}
    for scene in scenes:
        pair = reduce(scene.ms, scene.pan, scene.sampling)
        known = {name: truthful(pair, method(name)) for name in CLASSICAL}
        best = [min(known, key=lambda name: known[name][part]) for part in (0, 1)]
        line = "".join(f"{known[best[part]][part]:8.3f} {best[part]:<15}" for part in (0, 1))
        for name, fusion in models.items():
            e, s, d = truthful(pair, fusion)
            structure[name].append((d,))
            ratios[name].append((e / known[best[0]][0], s / known[best[1]][1]))
            line += f"{ratios[name][-1][0]:12.3f} {ratios[name][-1][1]:6.3f}"
        for name in CLASSICAL:
            structure[name].append((known[name][2],))
        structure["the truth"].append((float(d_rho(inner(pair, pair.truth), inner(pair, pair.pan))),))
        print(f"{scene.name:<20}{line}", flush=True)
    for what, reduce_ in (("geometric mean", mean), ("worst", max)):
        line = "".join(
            f"{reduce_([r[0] for r in rows]):12.3f} {reduce_([r[1] for r in rows]):6.3f}" for rows in ratios.values()
        )
        print(f"{what:<20}{'':>48}{line}")
    print(f"\n2. Reduced resolution: how far from PAN the truth is\n{'':<20}{'D_rho':>16}")
    _print_means(structure)


def table_full(scenes: list[Scene], models: dict[str, Method]) -> None:
    """Table 3."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for scene in scenes:
        for name, fusion in [*models.items(), *((name, method(name)) for name in (*CLASSICAL, "exp"))]:
            rows.setdefault(name, []).append(blind(scene, fusion))
    print(f"\n3. Full resolution: means over {len(scenes)} scenes; standard error of the mean")
    print(f"{'':<20}{'HQNR':>16}{'D_rho':>16}{'R-ERGAS':>16}")
    _print_means(rows)


def _print_means(rows: Mapping[str, Sequence[tuple[float, ...]]]) -> None:
    for name, values in rows.items():
        table = torch.tensor(values)
        cells = zip(table.mean(0).tolist(), _error(table).tolist(), strict=True)
        print(f"{name:<20}" + "".join(f"{value:10.4f} ±{error:.3f}" for value, error in cells))


def _error(table: Tensor) -> Tensor:
    return table.std(0) / len(table) ** 0.5 if len(table) > 1 else torch.zeros(table.shape[1])


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="id or folder, the default model if none is given")
    arguments, scenes = parse(parser)
    found = [find_model(name) for name in arguments.model or [DEFAULT]]
    models: dict[str, Method] = {model.id: Learned(model) for model in found}
    with torch.inference_mode():
        table_reduced(scenes, models)
        table_full(scenes, models)


if __name__ == "__main__":
    main()
