"""What language is worth as a teacher: stage II with it, without it, and with what may be all that there is to it.

    python benchmarks/language.py SCENES [NAME …] [--backbone NAME …] [--seeds N] [--iterations N] [--weight W]
                                  [--out CSV]

SCENES is a folder of folders with ms.tif and pan.tif. On the left half of each scene a network is trained at full
resolution, without a truth (the losses spectral and structure), from the default model, anchored to it, and from
nothing for each --backbone; the last net is kept, whatever an index says of it. Five trainings share seed and steps:

* none: no language;
* language: the supervisor that ships;
* noise text: the same, its text for HRMS replaced by one that means nothing;
* untrained: a CLIP of the same form that has learned nothing;
* PAN gain: in the place of language, a loss that asks for more of PAN's detail in all bands, with a gradient as long.

On the right half, one scale down and at full resolution, it prints each index over that without language: the geometric
mean over scenes and seeds, and in brackets by how many standard errors of the paired differences that lies below 1.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from unittest.mock import patch

import torch
from methods import Scene, load
from one_shot import split
from optics import Cell, degraded, full, known, truthful
from rasterio.errors import NotGeoreferencedWarning
from supervisor import untrained
from torch import Tensor

from clippan_cli.base.listener import Deaf
from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.registry import ANCHORS, method
from clippan_cli.modelstore.model import find_model
from clippan_cli.modelstore.supervisor import find_supervisor, load_supervisor
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.pairs import Stretched
from clippan_cli.training.data.surveyed_scenes import SIDE, survey_scenes
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.objectives import stage_two
from clippan_cli.training.objectives.without_truth import free_of_pan_gain
from clippan_cli.training.options import SUPERVISOR, TrainOptions
from clippan_cli.training.train import Ground, train_on

ARMS = ("none", "language", "noise text", "untrained", "PAN gain")
INDICES = ("ERGAS", "SAM", "1 - HQNR", "D_rho", "R-ERGAS")


@dataclass(frozen=True)
class Run:
    """One training: where it began, the arm, the scene, the seed."""

    start: str
    arm: str
    scene: str
    seed: int


def more_of_pan(loss: Callable[[Tensor], Tensor], out: Tensor, tiles: Stretched) -> Tensor:
    """Ask for more of PAN's detail, as strongly as language asks for whatever it asks for."""
    image = out.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(image), image)
    detail = (tiles.pan - tiles.context.pan_low) * tiles.context.deviation[..., None, None]
    wanted = -detail * gradient.norm() / detail.norm().clamp(min=1e-12)
    asked: Tensor = (wanted * (out - image.detach())).sum()
    return asked


def watchers(like: Supervisor) -> dict[str, Supervisor | None]:
    """The supervisor of each arm."""
    noise = Supervisor(like.encoder, like.projector, read_prompts("noise"))
    return {
        "none": None,
        "language": like,
        "noise text": noise.eval(),
        "untrained": untrained(like).eval(),
        "PAN gain": like,
    }


def trained(run: Run, place: Path, ground: Ground, iterations: int, weight: float) -> Learned:
    """A model, trained as its arm says."""
    language = 0.0 if run.arm == "none" else weight
    losses = {"truth": 0.0, "spectral": 1.0, "structure": 0.2, "teacher": 0.0, "language": language}
    options = TrainOptions(
        backbone=None if run.start == "prior" else run.start,
        losses=losses,
        supervisor="none" if run.arm == "none" else None,
        iterations=iterations,
        every=iterations,
        seed=run.seed,
        device="cpu",
        jobs=0,
        overwrite=True,
    )
    folder = place / f"{run.start}-{run.arm}-{run.scene}-{run.seed}"
    teaching = more_of_pan if run.arm == "PAN gain" else free_of_pan_gain
    with (
        patch.object(stage_two, "free_of_pan_gain", teaching),
        patch.object(stage_two.FullResolution, "ranks", new=False),
    ):
        return Learned(find_model(train_on(ground, folder, options, Group(), Deaf(), stop=Event()).output))


def judged(model: Learned, scene: Scene) -> tuple[float, ...]:
    """The indices of a model on a scene that it has not seen: one scale down, and at full resolution."""
    with torch.inference_mode():
        pair = degraded(scene, Cell())
        sampling, _ = known(pair, blind=True)
        (error, angle), _ = truthful(pair, sampling, model)
        hqnr, rho, reprojected = full(scene, model)
    return error, angle, 1 - hqnr, rho, reprojected


def runs(starts: list[str], names: list[str], seeds: int) -> Iterator[Run]:
    """All trainings, scene by scene, so that early results mean something."""
    for seed in range(seeds):
        for name in names:
            for start in starts:
                for arm in ARMS:
                    yield Run(start, arm, name, seed)


def summarise(found: dict[Run, tuple[float, ...]], starts: list[str]) -> None:
    """Print the table."""
    print(f"\n{'':<26}" + "".join(f"{index:>18}" for index in INDICES))
    for start in starts:
        for arm in ARMS[1:]:
            line = ""
            for k in range(len(INDICES)):
                apart = [
                    math.log(value[k] / found[Run(start, "none", run.scene, run.seed)][k])
                    for run, value in found.items()
                    if (run.start, run.arm) == (start, arm)
                ]
                error = statistics.stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
                mean = statistics.fmean(apart)
                line += f"{math.exp(mean):10.4f} ({-mean / error:+5.1f})" if error else f"{math.exp(mean):18.4f}"
            print(f"{start:<14}{arm:<12}{line}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--backbone", action="append", help="a network to train from nothing")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--weight", type=float, default=0.05)
    parser.add_argument("--out", type=Path, help="a table of all runs, written as they end")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    names = arguments.names or sorted(path.parent.name for path in arguments.scenes.glob("*/ms.tif"))
    starts = ["prior", *(arguments.backbone or [])]
    watching = watchers(load_supervisor(find_supervisor(SUPERVISOR)))
    found: dict[Run, tuple[float, ...]] = {}
    with tempfile.TemporaryDirectory() as home:
        place = Path(home)
        halves = {name: split(arguments.scenes / name, place / name) for name in names}
        methods = {name: method(name) for name in ANCHORS}
        sites = {
            name: survey_scenes([str(left)], SIDE, methods, SceneOptions(), Deaf())
            for name, (left, _) in halves.items()
        }
        for run in runs(starts, names, arguments.seeds):
            scene = load(halves[run.scene][1])
            assert scene is not None
            ground = Ground(sites[run.scene], watching[run.arm])
            model = trained(run, place, ground, arguments.iterations, arguments.weight)
            found[run] = judged(model, scene)
            print(
                f"{run.start:<14}{run.arm:<12}{run.scene:<18}{run.seed:3d}"
                + "".join(f"{value:10.4f}" for value in found[run]),
                flush=True,
            )
            if arguments.out is not None:
                with arguments.out.open("a", newline="") as file:
                    csv.writer(file).writerow([run.start, run.arm, run.scene, run.seed, *found[run]])
    summarise(found, starts)


if __name__ == "__main__":
    main()
