"""What a step of stage II costs, and how much of it is CLIP's.

    python benchmarks/training.py SCENES SUPERVISOR [--init ID|DIR] [--backbone NAME] [--batch N] [--device D]

SCENES is a folder of scenes, SUPERVISOR the id of one that ships, or what `clippan adapt` made. Prints seconds of a
step, with CLIP and without: reading and assembling tiles, the network and the losses forward, the backward pass; the
share of all that is CLIP's; and the peak of the memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from typing import Any

import torch

from clippan_cli.base.listener import Deaf
from clippan_cli.base.machine import choose_device
from clippan_cli.base.memory import Memory
from clippan_cli.fusion.registry import DEFAULT
from clippan_cli.modelstore.model import find_model
from clippan_cli.modelstore.supervisor import find_supervisor, load_supervisor
from clippan_cli.networks.registry import network
from clippan_cli.opening.options import SceneOptions
from clippan_cli.training.data.surveyed_scenes import SIDE, survey_scenes
from clippan_cli.training.data.tile_reader import TileStream
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.objectives.stage_two import LOSSES, PAPER, FullResolution
from clippan_cli.training.options import TrainOptions
from clippan_cli.training.train import stage_two_methods

_WARM = 2


class Stopwatch:
    """Seconds by what was done, the device waited for."""

    def __init__(self, device: torch.device) -> None:
        self._device, self.seconds = device, defaultdict[str, float](float)

    def start(self) -> float:
        """Now."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def stop(self, what: str, since: float) -> None:
        """Book what has passed."""
        self.seconds[what] += self.start() - since


def steps(task: FullResolution, net: torch.nn.Module, count: int, batch: int, device: torch.device) -> dict[str, float]:
    """Mean seconds of the parts of a step."""
    watch = Stopwatch(device)
    for i in range(count + _WARM):
        if i == _WARM:
            watch.seconds.clear()
        since = watch.start()
        tiles = task.draw(i, batch)
        watch.stop("tiles", since)
        since = watch.start()
        terms = task.losses(net, tiles)
        watch.stop("forward", since)
        since = watch.start()
        torch.autograd.backward(torch.stack([LOSSES[name] * term for name, term in terms.items()]).sum())
        watch.stop("backward", since)
        net.zero_grad()
    return {name: value / count for name, value in watch.seconds.items()}


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes")
    parser.add_argument("supervisor")
    parser.add_argument("--init", default=DEFAULT)
    parser.add_argument("--backbone", default=None)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    Memory(8 << 30).__enter__()
    supervisor = load_supervisor(find_supervisor(arguments.supervisor)).move_to(device)
    plain = {**LOSSES, "truth": 0.0, "teacher": 0.0}
    methods = stage_two_methods(TrainOptions(), {"teacher": 0.0}, device)
    sites = survey_scenes([arguments.scenes], SIDE, methods, SceneOptions(), Deaf())
    net: Any = find_model(arguments.init).load()
    if arguments.backbone:
        net = network(arguments.backbone, len(sites[0].wavelengths))
    net = net.train().to(device).to(memory_format=torch.channels_last)
    tiles = f"{arguments.batch} tiles of {sites[0].tile.pan} px"
    print(f"{len(sites)} scenes, {tiles}, CLIP {supervisor.encoder.name}, {device}")
    print(f"{'':<18}{'tiles':>9}{'forward':>9}{'backward':>9}{'all':>9}  seconds a step")
    totals = {}
    for name, watched in (("without CLIP", None), ("with CLIP", supervisor)):
        stream = TileStream(
            sites=sites,
            batch=arguments.batch,
            seed=0,
            workers=arguments.jobs,
            group=Group(device=device),
            hears=Deaf(),
        )
        weights = {**plain, "language": PAPER["language"] if watched else 0.0}
        task = FullResolution(
            stream=stream,
            lessons=[],
            held=[],
            truth=None,
            supervisor=watched,
            weights=weights,
            options=TrainOptions(),
            start=net,
        )
        found = steps(task, net, arguments.steps, arguments.batch, device)
        totals[name] = sum(found.values())
        cells = "".join(f"{found[part]:9.3f}" for part in ("tiles", "forward", "backward"))
        print(f"{name:<18}{cells}{totals[name]:9.3f}", flush=True)
    print(f"share of CLIP: {1 - totals['without CLIP'] / totals['with CLIP']:.0%}")
    if device.type == "cuda":
        print(f"peak of the device: {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB")
    print(f"peak of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
