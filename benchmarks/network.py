"""A network alone, without files: pixels a second, operations a pixel, and the share of what this machine can do.

    python benchmarks/network.py [--model ID|DIR] [--device cpu|cuda] [--bands C] [--ratio R] [--side N]

The peaks are measured in the same run: a product of matrices and 3 × 3 convolutions of 64 channels. On a CPU as many
tiles are in work as there are processors, each with one thread, as in `clippan sharpen`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from clippan_cli.base.machine import choose_device
from clippan_cli.base.memory import Memory
from clippan_cli.fusion.registry import DEFAULT
from clippan_cli.modelstore.model import find_model
from clippan_cli.networks.network import Context, Network, Trait

_RUNS, _SIDE = 5, 2048


def seconds(run: Callable[[], object], device: torch.device, workers: int) -> float:
    """Of one run, several at once if there are several workers: the median."""

    def once(_: int) -> None:
        with torch.inference_mode():
            run()

    times = []
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(_RUNS + 1):
            began = time.perf_counter()
            list(pool.map(once, range(workers)))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) / workers


def inputs(side: int, bands: int, ratio: float, device: torch.device) -> tuple[Tensor, Tensor, Context]:
    """A tile of noise."""
    ms_up, pan = torch.rand(1, bands, side, side, device=device), torch.rand(1, 1, side, side, device=device)
    one, alone = torch.ones(1, bands, device=device), torch.ones(1, 1, device=device)
    traits = torch.zeros(1, bands, len(Trait), device=device)
    return (
        ms_up,
        pan,
        Context(
            pan_low=pan.mean().expand_as(pan),
            mean=one / 2,
            deviation=one / 3,
            pan_mean=alone / 2,
            pan_deviation=alone / 3,
            traits=traits,
            ratio=ratio,
        ),
    )


def operations(net: Network, tile: tuple[Tensor, Tensor, Context]) -> float:
    """Of products and convolutions, for a PAN pixel."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(*tile)
    return float(counter.get_total_flops()) / tile[1].numel()


def peaks(device: torch.device, workers: int) -> dict[str, float]:
    """Operations a second that this machine reaches: matrices, and convolutions as networks have them."""
    square = torch.rand(_SIDE, _SIDE, device=device)
    image = torch.rand(1, 64, 512, 512, device=device).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(64, 64, 3, padding=1, device=device)
    return {
        "matrices": 2 * _SIDE**3 / seconds(lambda: square @ square, device, workers),
        "convolutions": 2 * 9 * 64 * 64 * 512**2 / seconds(lambda: layer(image), device, workers),
    }


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--ratio", type=float, default=4.0)
    parser.add_argument("--side", type=int, default=1024)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    workers = 1 if device.type == "cuda" else os.cpu_count() or 1
    if device.type == "cpu":
        torch.set_num_threads(1)
        Memory(8 << 30)
    net = find_model(arguments.model).load().to(device).eval()
    tile = inputs(arguments.side, arguments.bands, arguments.ratio, device)
    each, took = operations(net, tile), seconds(lambda: net(*tile), device, workers)
    speed = tile[1].numel() / took
    print(f"{arguments.model} on {device}, {workers} tiles of {arguments.side} px at once, {arguments.bands} bands")
    print(f"{speed / 1e6:.2f} M PAN pixels/s, {each / 1e3:.1f} k operations a pixel, {speed * each / 1e9:.0f} GFLOP/s")
    for name, peak in peaks(device, workers).items():
        print(f"{speed * each / peak:.0%} of what {name} reach ({peak / 1e9:.0f} GFLOP/s)")


if __name__ == "__main__":
    main()
