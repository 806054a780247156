"""Every network trained alike for the same time, on real scenes that none was trained on.

    python benchmarks/backbones.py SCENES [NAME …] [--minutes M] [--seeds N] [--images DIR …]

SCENES is a folder of folders with ms.tif and pan.tif; those of four bands are taken. Each network gets the same minutes
of `clippan pretrain` on this machine, as many steps as fit into them, and the same pairs; the large ones in a slim form
(the settings are printed). Prints, for each: weights, thousands of operations for a PAN pixel, steps, and ERGAS and SAM
one scale down over the best of four classical methods: geometric mean over the scenes, the spread over the seeds, and
the worst scene.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from methods import Scene, mean, parse
from network import inputs, operations
from optics import CLASSICAL, truthful

from clippan_cli.base.listener import Deaf
from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore.model import read_model
from clippan_cli.networks.registry import NETWORKS
from clippan_cli.physics.wald import Reduced, reduce
from clippan_cli.training.options import PretrainOptions
from clippan_cli.training.pretrain import pretrain

BANDS = 4
SLIM: dict[str, dict[str, Any]] = {
    "arbrpn": {"width": 32, "cycles": 2, "blocks": 2},
    "lformer": {"width": 32},
    "pan-mamba": {"depth": 4, "crossings": 2},
}
RATES = {"injector": 4e-3, "lformer": 5e-4, "pan-mamba": 5e-4}
_RATE = 1e-3
_PROCEDURAL = 12
_TRIAL, _SIDE = 5, 192


class Stopwatch(Deaf):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def advance(self, steps: int) -> None:
        """A step more."""
        if steps:
            self.times.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Seconds of a step: the middle one, so that the first does not count."""
        return statistics.median(b - a for a, b in zip(self.times, self.times[1:], strict=False))


def options(name: str, iterations: int, seed: int, images: list[str]) -> PretrainOptions:
    """The same for all but for the rate, which is each network's own."""
    return PretrainOptions(
        images=tuple(images),
        network=name,
        settings=SLIM.get(name, {}),
        bands=None if name == "injector" else BANDS,
        iterations=iterations,
        batch=1,
        rate=RATES.get(name, _RATE),
        seed=seed,
        procedural=_PROCEDURAL,
        every=iterations,
        overwrite=True,
    )


def trained(name: str, seconds: float, seed: int, images: list[str], folder: Path) -> tuple[Learned, int]:
    """A network after so long a training, and its steps."""
    watch = Stopwatch()
    pretrain(folder / "trial", options(name, _TRIAL, seed, images), watch)
    steps = max(1, int(seconds / watch.step))
    pretrain(folder / name, options(name, steps, seed, images))
    return Learned(read_model(folder / name)), steps


def scores(fusion: Learned, pairs: list[tuple[Reduced, list[float]]]) -> tuple[float, float, float, float]:
    """Geometric means of ERGAS and SAM over the best classical, and the worst of each."""
    with torch.inference_mode():
        rows = [truthful(pair, pair.sampling, fusion)[0] for pair, _ in pairs]
    ratios = [[row[i] / best[i] for row, (_, best) in zip(rows, pairs, strict=True)] for i in (0, 1)]
    return mean(ratios[0]), mean(ratios[1]), max(ratios[0]), max(ratios[1])


def anchored(scenes: list[Scene]) -> list[tuple[Reduced, list[float]]]:
    """Each scene one scale down, and the best classical ERGAS and SAM on it."""
    pairs = []
    with torch.inference_mode():
        for scene in scenes:
            pair = reduce(scene.ms, scene.pan, scene.sampling)
            known = [truthful(pair, pair.sampling, method(name))[0] for name in CLASSICAL]
            pairs.append((pair, [min(row[i] for row in known) for i in (0, 1)]))
    return pairs


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="of training for each network and seed")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", action="append", default=[], help="folder of images to learn from")
    arguments, scenes = parse(parser)
    pairs = anchored([scene for scene in scenes if len(scene.ms) == BANDS])
    print(
        f"{arguments.minutes:g} minutes each, {len(pairs)} scenes of {BANDS} bands, {torch.get_num_threads()} threads"
    )
    print(f"{'':<12}{'weights':>10}{'kFLOP/px':>10}{'steps':>7}{'ERGAS':>15}{'SAM':>15}{'worst':>14}  settings")
    tile = inputs(_SIDE, BANDS, 4.0, torch.device("cpu"))
    for name in NETWORKS:
        rows = []
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                fusion, steps = trained(name, 60 * arguments.minutes, seed, arguments.images, Path(folder))
            rows.append(scores(fusion, pairs))
        weights = sum(weight.numel() for weight in fusion.network.parameters())
        table = torch.tensor(rows)
        spread = table.std(0) if len(rows) > 1 else torch.full((4,), float("nan"))
        e, s, worst_e, worst_s = table.mean(0).tolist()
        print(
            f"{name:<12}{weights:>10,}{operations(fusion.network, tile) / 1000:>10.0f}{steps:>7}"
            f"{e:9.3f} ±{spread[0]:.3f}{s:9.3f} ±{spread[1]:.3f}{worst_e:8.3f}{worst_s:6.3f}"
            f"  {SLIM.get(name, 'the paper')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
