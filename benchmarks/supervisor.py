"""What a supervisor recognises on scenes that it has never seen, and whether it tells a better fusion from a worse one.

    python benchmarks/supervisor.py SCENES [NAME …] [--supervisor ID|DIR …] [--random]

SCENES is a folder of folders with ms.tif and pan.tif. One scale down the truth is the measured MS, seen through the
optics that are believed. Each scene is fused by every method and by the default model, and the truth and these fusions
are spoilt in every way by three amounts. Prints for each scene, and as means over scenes:

* the share of MS, PAN, HRMS (truth, model, best formula) and clearly distorted images whose nearest text is their own;
* of two fusions whose ERGAS differs by a tenth or more, how often the better one has the higher score; and of those of
  which one is over-sharpened;
* the rank correlation of the score with -ERGAS over all fusions of the scene.

--random judges an untrained CLIP of the same form beside it: the control.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from methods import STEPS, parse, whole
from optics import CLASSICAL, Cell, degraded, known
from torch import Tensor

from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.reference import ergas
from clippan_cli.modelstore.model import find_model
from clippan_cli.modelstore.supervisor import find_supervisor, load_supervisor
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.wald import Reduced
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Differences
from clippan_cli.supervision.supervisor import DISTORTED, HRMS, MS, PAN, Supervisor
from clippan_cli.training.data.damages import WAYS, Fusion
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.surveyed_scenes import stretch
from clippan_cli.training.options import SUPERVISOR

SIDE = 192
SHARES = (0.25, 0.5, 1.0)
APART = 1.1


@dataclass(frozen=True)
class Seen:
    """A fusion: its score, its ERGAS, and what was done to it."""

    score: float
    ergas: float
    way: str


def fusions(pair: Reduced, methods: dict[str, Method]) -> Iterator[tuple[str, str, Tensor]]:
    """Every fusion of a pair: its kind, what was done to it, and the image."""
    sampling, _ = known(pair, blind=True)
    operators = Operators(sampling, whole(pair.pan), whole(pair.ms))
    ms_up = operators.up(pair.ms)
    made = {name: fuse_whole(each, pair.ms, pair.pan, sampling, STEPS) for name, each in methods.items()}
    yield "ms", "interpolated", ms_up
    good = {"truth": pair.truth, DEFAULT: made[DEFAULT], "mtf-glp-hpm-r": made["mtf-glp-hpm-r"]}
    for name, image in {**made, "truth": pair.truth}.items():
        yield ("hrms" if name in good else "fusion"), name, image
    deviation = pair.truth.std((1, 2), keepdim=True)
    for (name, image), (way, (least, most, apply)), share in itertools.product(good.items(), WAYS.items(), SHARES):
        base = Fusion(image=image, ms_up=ms_up, pan=pair.pan, deviation=deviation, ratio=max(sampling.ratio))
        amount = max(least, share * most)
        yield ("distorted" if share > SHARES[0] else "fusion"), way, apply(base, amount, Draw(len(name)))


def judge(pair: Reduced, methods: dict[str, Method], supervisor: Supervisor) -> tuple[dict[str, float], list[Seen]]:
    """How often each kind is recognised, and all fusions of a scene with their scores."""
    low, high = stretch([Window(Pixels(pair.ms), Pixels(pair.pan), whole(pair.ms), whole(pair.pan))])
    span = (high - low)[:, None, None]
    inner = whole(pair.pan).grown(-int(2 * max(pair.sampling.ratio))).middle(SIDE)
    pan = ((inner.cut(pair.pan, whole(pair.pan)) - low[-1]) / span[-1])[None, None]

    def bands(image: Tensor) -> Tensor:
        return ((inner.cut(image, whole(pair.pan)) - low[:-1, None, None]) / span[:-1])[None]

    texts, seen = supervisor.texts(), list[Seen]()
    right: dict[str, list[float]] = {kind: [] for kind in ("ms", "pan", "hrms", "distorted")}
    kinds = {"ms": MS, "pan": PAN, "hrms": HRMS, "distorted": DISTORTED}
    ms = None
    for kind, way, image in fusions(pair, methods):
        shown = bands(image)
        ms = shown if ms is None else ms
        image_parts, ms_parts, pan_parts = (supervisor.parts(x) for x in (shown, ms, pan))
        if kind in kinds:
            nearest = (supervisor.see_bands(image_parts, ms_parts, pan_parts, "hrms") @ texts.T).argmax(1)
            right[kind].append(float((nearest == kinds[kind]).float().mean()))
        error = float(ergas(image, pair.truth, max(pair.sampling.ratio)))
        seen.append(Seen(float(supervisor.score(shown, ms, pan)), error, way))
        if kind == "ms":
            grey = supervisor.see_pan(pan_parts, ms_parts)
            right["pan"].append(float(((grey @ texts.T).argmax(1) == PAN).float().mean()))
    return {kind: statistics.mean(values) for kind, values in right.items()}, seen


def pairs(seen: list[Seen], way: str | None = None) -> float:
    """How often the better of two fusions that differ clearly has the higher score."""
    found = [
        (one.score > other.score) == (one.ergas < other.ergas)
        for one, other in itertools.combinations(seen, 2)
        if max(one.ergas, other.ergas) > APART * min(one.ergas, other.ergas)
        and (way is None or way in (one.way, other.way))
    ]
    return statistics.mean(found)


def spearman(seen: list[Seen]) -> float:
    """The rank correlation of the score with -ERGAS."""
    ranks = [
        torch.tensor(values).argsort().argsort().float()
        for values in ([each.score for each in seen], [-each.ergas for each in seen])
    ]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def untrained(like: Supervisor) -> Supervisor:
    """A supervisor of the same form that has learned nothing."""
    encoder = Encoder("untrained", config=like.encoder.config)
    encoder.see_as(like.encoder.mean.flatten().tolist(), like.encoder.deviation.flatten().tolist())
    return Supervisor(encoder, Differences(), like.prompts)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--supervisor", action="append", help="id or folder, the default one if none is given")
    parser.add_argument("--random", action="store_true", help="judge an untrained one too")
    arguments, scenes = parse(parser)
    watching = {name: load_supervisor(find_supervisor(name)) for name in arguments.supervisor or [SUPERVISOR]}
    if arguments.random:
        watching["untrained"] = untrained(next(iter(watching.values())))
    methods: dict[str, Method] = {name: method(name) for name in (*CLASSICAL, "brovey")}
    methods[DEFAULT] = Learned(find_model(DEFAULT))
    with torch.inference_mode():
        for name, supervisor in watching.items():
            print(f"\n{name}\n{'':<18}{'MS':>8}{'PAN':>8}{'HRMS':>8}{'bad':>8}{'pairs':>8}{'sharp':>8}{'rank':>8}")
            table = []
            for scene in scenes:
                right, seen = judge(degraded(scene, Cell()), methods, supervisor)
                row = [*right.values(), pairs(seen), pairs(seen, "over-sharpened"), spearman(seen)]
                table.append(row)
                print(f"{scene.name:<18}" + "".join(f"{value:8.2f}" for value in row), flush=True)
            means = [statistics.mean(column) for column in zip(*table, strict=True)]
            print(f"{'mean':<18}" + "".join(f"{value:8.2f}" for value in means))


if __name__ == "__main__":
    main()
