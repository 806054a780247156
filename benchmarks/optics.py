"""Models and classical methods against the truth, through optics that none of them is told.

    python benchmarks/optics.py SCENES [NAME …] [--model ID|DIR …] [--stated-optics] [--more NAME …]

SCENES is a folder of folders with ms.tif and pan.tif. One scale down the truth is the measured MS. It is degraded by
true gains that are off what is stated, PAN by another gain of its own, or left with a shift; noise is as the scene has
it; all is rounded as the scene is. Methods are told what is stated, and measure what they can, as `clippan sharpen`
does (--stated-optics: they believe what is stated). Everything ends with two back-projections. Prints five tables:

1. ERGAS / SAM of each model over the best of GSA, BDSD-PC, MTF-GLP-FS and MTF-GLP-HPM-R in the same cell;
2. every method over that best: geometric means over scenes and cells, worst cell, largest step between neighbouring
   gains; and ERGAS over that of interpolation;
3. the models by sensor;
4. the gain that was measured and the one that was believed, beside the true one;
5. full resolution, by sensor: HQNR, D_ρ and R-ERGAS; and the same one scale down, beside those of the truth.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
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
from clippan_cli.physics.optics import Optics, believe, measure_optics
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.wald import Reduced, reduce

CLASSICAL = ("gsa", "bdsd-pc", "mtf-glp-fs", "mtf-glp-hpm-r")
GAINS = (-0.10, -0.05, 0.0, 0.05, 0.10)


@dataclass(frozen=True)
class Cell:
    """How the truth departs from what is stated: of MS's gains, of PAN's gain, and a shift in MS pixels."""

    gain: float = 0.0
    pan: float = 0.0
    shift: float = 0.0

    @property
    def name(self) -> str:
        """Its name in tables."""
        if self.pan:
            return f"PAN {self.pan:+.2f}"
        return f"shift {self.shift:+.1f}" if self.shift else f"{self.gain:+.2f}"


CELLS = (*(Cell(gain) for gain in GAINS), Cell(pan=-0.05), Cell(pan=0.05), Cell(shift=-0.1), Cell(shift=0.1))
Score = tuple[float, float]
Key = tuple[str, Cell]


def degraded(scene: Scene, cell: Cell) -> Reduced:
    """A pair one scale down, which says of itself what is stated of the scene."""
    stated = scene.stated
    true = replace(
        stated,
        gains=tuple(min(max(gain + cell.gain, 0.02), 0.9) for gain in stated.gains),
        pan_gain=stated.pan_gain + cell.pan,
    )
    pair = reduce(scene.ms, scene.pan, true, (cell.shift, cell.shift))
    sampling = replace(pair.sampling, gains=stated.gains, pan_gain=stated.pan_gain)
    draw = torch.Generator().manual_seed(0)
    ms, pan = as_measured(pair.ms, scene.ms, draw), as_measured(pair.pan[None], scene.pan[None], draw)[0]
    return Reduced(ms, pan, pair.truth, sampling)


def as_measured(x: Tensor, like: Tensor, draw: torch.Generator) -> Tensor:
    """Add the noise of another image of the same scene, band by band, and round as that one is rounded."""
    noisy = x + noise(like)[:, None, None] * torch.randn(x.shape, generator=draw)
    return noisy.round() if bool((like == like.round()).all()) else noisy


def noise(x: Tensor) -> Tensor:
    """The deviation of the noise of each band: that of the quietest twentieth of blocks of 16² pixels."""
    taps = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]).to(x) / 6
    rough = F.conv2d(x[:, None], taps[None, None]).square()
    return F.avg_pool2d(rough, 16).flatten(1).quantile(0.05, dim=1).sqrt()


def known(pair: Reduced, blind: bool) -> tuple[Sampling, Optics | None]:
    """What methods know of a pair, as `clippan sharpen` would find out."""
    sample = Window(Pixels(pair.ms), Pixels(pair.pan), whole(pair.ms), whole(pair.pan))
    seen = measure_optics([sample], pair.sampling, 2) if blind else None
    return believe(pair.sampling, seen), seen


def truthful(pair: Reduced, sampling: Sampling, fusion: Method) -> tuple[Score, Tensor]:
    """ERGAS and SAM one scale down of a method that believes a sampling, and what it makes of the pair."""
    fused = fuse_whole(fusion, pair.ms, pair.pan, sampling, 0 if fusion.name == "exp" else STEPS)
    ours, truth = inner(pair, fused), inner(pair, pair.truth)
    return (float(ergas(ours, truth, sampling.ratio[0])), float(sam(ours, truth))), fused


def seeming(fused: Tensor, ms: Tensor, pan: Tensor, sampling: Sampling) -> tuple[float, float, float]:
    """HQNR, D_ρ and R-ERGAS of an image: what can be said of it without the truth."""
    operators = Operators(sampling, whole(pan), whole(ms))
    seen, up = operators.down(fused), operators.up(ms)
    edge = (slice(None), slice(4, -4), slice(4, -4))
    spectral = d_lambda_k(operators.up(seen), up)
    spatial = d_s(fused, up, pan, operators.low_pass(pan))
    reprojected = ergas(seen[edge], ms[edge], sampling.ratio[0])
    return float(qnr(spectral, spatial)), float(d_rho(fused, pan)), float(reprojected)


def inner(pair: Reduced, image: Tensor) -> Tensor:
    """An image on PAN's grid one scale down, without its edges."""
    edge = math.ceil(2 * max(pair.sampling.ratio)) + 2
    return image[..., edge:-edge, edge:-edge]


def full(scene: Scene, fusion: Method) -> tuple[float, float, float]:
    """HQNR, D_ρ and R-ERGAS at full resolution."""
    steps = 0 if fusion.name == "exp" else STEPS
    out = fuse_whole(fusion, scene.ms, scene.pan, scene.sampling, steps)
    return seeming(out, scene.ms, scene.pan, scene.sampling)


class Results:
    """All scores one scale down.

    Args:
        scenes: The scenes.
        methods: The methods by their names, the classical ones and interpolation among them.
        models: The names of those that are judged.
        blind: Whether they measure the optics.
    """

    def __init__(self, scenes: list[Scene], methods: dict[str, Method], models: list[str], blind: bool) -> None:
        self.scenes, self.models = scenes, models
        self.scores: dict[str, dict[Key, Score]] = defaultdict(dict)
        self.seeming: dict[str, dict[str, tuple[float, ...]]] = defaultdict(dict)
        self.optics: dict[Key, tuple[Optics | None, Sampling]] = {}
        for scene in scenes:
            for cell in CELLS:
                pair = degraded(scene, cell)
                sampling, seen = known(pair, blind)
                self.optics[scene.name, cell] = seen, sampling
                for name, fusion in methods.items():
                    self.scores[name][scene.name, cell], fused = truthful(pair, sampling, fusion)
                    if cell == Cell():
                        self.seeming[name][scene.name] = seeming(fused, pair.ms, pair.pan, sampling)
                if cell == Cell():
                    self.seeming["the truth"][scene.name] = seeming(pair.truth, pair.ms, pair.pan, sampling)
            self._print_scene(scene)

    def over_best(self, name: str, key: Key) -> Score:
        """ERGAS and SAM over the best classical method's, index by index."""
        best = [min(self.scores[each][key][part] for each in CLASSICAL) for part in (0, 1)]
        return self.scores[name][key][0] / best[0], self.scores[name][key][1] / best[1]

    def over_exp(self, name: str, key: Key) -> float:
        """ERGAS over interpolation's."""
        return self.scores[name][key][0] / self.scores["exp"][key][0]

    def step(self, name: str, scene: str) -> float:
        """The largest difference between neighbouring gains, of the ERGAS over the best."""
        line = [self.over_best(name, (scene, Cell(gain)))[0] for gain in GAINS]
        return max(abs(one - other) for one, other in pairwise(line))

    def print_head(self) -> None:
        """The head of table 1."""
        print("1. One scale down: ERGAS / SAM over the best classical method of the cell")
        print(f"{'':<18}{'':<14}" + "".join(f"{cell.name:>11}" for cell in CELLS) + f"{'step':>7}")

    def _print_scene(self, scene: Scene) -> None:
        if scene is self.scenes[0]:
            self.print_head()
        for name in self.models:
            cells = [self.over_best(name, (scene.name, cell)) for cell in CELLS]
            line = "".join(f"{e:6.2f}/{s:4.2f}" for e, s in cells)
            print(f"{scene.name:<18}{name:<14}{line}{self.step(name, scene.name):7.3f}", flush=True)

    def print_methods(self) -> None:
        """Table 2."""
        print(f"\n2. Over the best classical of the cell, {len(self.scenes)} scenes × {len(CELLS)} cells")
        print(f"{'':<18}{'ERGAS':>8}{'SAM':>8}{'at 0':>8}{'SAM':>8}{'worst':>8}{'step':>8}{'over EXP':>10}")
        for name in self.scores:
            keys = list(self.scores[name])
            over = [self.over_best(name, key) for key in keys]
            told = [self.over_best(name, key) for key in keys if key[1] == Cell()]
            parts = (
                mean([e for e, _ in over]),
                mean([s for _, s in over]),
                mean([e for e, _ in told]),
                mean([s for _, s in told]),
                max(e for e, _ in over),
                max(self.step(name, scene.name) for scene in self.scenes),
            )
            exp = mean([self.over_exp(name, key) for key in keys])
            print(f"{name:<18}" + "".join(f"{part:8.3f}" for part in parts) + f"{exp:10.3f}")

    def print_sensors(self) -> None:
        """Table 3."""
        print(f"\n3. By sensor, all cells: ERGAS / SAM over the best classical; ERGAS over EXP\n{'':<34}", end="")
        print("".join(f"{name:>22}" for name in self.models))
        for sensor in sorted({scene.sensor for scene in self.scenes}):
            members = [scene.name for scene in self.scenes if scene.sensor == sensor]
            line = ""
            for name in self.models:
                keys = [key for key in self.scores[name] if key[0] in members]
                over = [self.over_best(name, key) for key in keys]
                exp = mean([self.over_exp(name, key) for key in keys])
                line += f"{mean([e for e, _ in over]):9.3f} /{mean([s for _, s in over]):5.3f}{exp:6.3f}"
            print(f"{sensor:<24}{len(members):3d} scenes {line}")

    def print_optics(self) -> None:
        """Table 4."""
        print(f"\n4. MTF gain: true, measured ± its error, believed\n{'':<18}", end="")
        print("".join(f"{Cell(gain).name:>24}" for gain in GAINS))
        errors, inside = [], 0
        for scene in self.scenes:
            line = ""
            for gain in GAINS:
                seen, sampling = self.optics[scene.name, Cell(gain)]
                true = statistics.mean(scene.stated.gains) + gain
                believed = statistics.mean(sampling.gains)
                text = "none" if seen is None else f"{seen.gain:.2f}±{seen.gain * seen.total_error(sampling):.2f}"
                line += f"{true:10.2f} {text} {believed:.2f}"
                if seen is not None:
                    errors.append(abs(seen.gain - true))
                    inside += errors[-1] <= seen.gain * seen.total_error(sampling)
            print(f"{scene.name:<18}{line}")
        if errors:
            print(
                f"measured: median error {statistics.median(errors):.3f}, {inside / len(errors):.0%} within one error"
            )


def table_full(results: Results, methods: dict[str, Method]) -> None:
    """Table 5."""
    print("\n5. Full resolution, and the same indices one scale down, where the truth has them too")
    print(f"{'':<42}" + 2 * f"{'HQNR':>8}{'D_rho':>8}{'R-ERGAS':>9}")
    rows = {(name, scene.name): full(scene, fusion) for name, fusion in methods.items() for scene in results.scenes}
    groups = sorted({scene.sensor for scene in results.scenes})
    for group in [*groups, "all"]:
        members = [scene.name for scene in results.scenes if group in (scene.sensor, "all")]
        for name in [*methods, "the truth"]:
            above = _means([rows[name, scene] for scene in members]) if name in methods else ""
            below = _means([results.seeming[name][scene] for scene in members])
            print(f"{group:<24}{name:<18}{above:<25}{below}")


def _means(rows: list[tuple[float, ...]]) -> str:
    columns = zip(*rows, strict=True)
    return "".join(f"{statistics.mean(column):{width}.3f}" for column, width in zip(columns, (8, 8, 9), strict=True))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="id or folder, the default model if none is given")
    parser.add_argument("--more", action="append", default=[], help="another method to judge")
    parser.add_argument("--stated-optics", action="store_true", help="methods believe the stated optics alone")
    arguments, scenes = parse(parser)
    found = [find_model(name) for name in arguments.model or [DEFAULT]]
    models: dict[str, Method] = {model.id: Learned(model) for model in found}
    methods = {**models, **{name: method(name) for name in (*CLASSICAL, *arguments.more, "exp")}}
    with torch.inference_mode():
        results = Results(scenes, methods, [*models, *arguments.more], not arguments.stated_optics)
        results.print_methods()
        results.print_sensors()
        results.print_optics()
        table_full(results, methods)


if __name__ == "__main__":
    main()
