"""A prior from simulated pairs: what sharpening is, learned from any imagery (arXiv 2512.02643)."""

from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import torch

from clippan_cli import __version__
from clippan_cli.errors import Interrupted, ModelError, OutputError, ResourceError, UsageError
from clippan_cli.networks.model import RECORD, save_model
from clippan_cli.networks.registry import network
from clippan_cli.tiling.engine import choose_device
from clippan_cli.tiling.memory import Memory
from clippan_cli.tiling.options import Deaf, Listener
from clippan_cli.training.card import training_card
from clippan_cli.training.curves import draw_curves
from clippan_cli.training.draw import Draw
from clippan_cli.training.losses import back_projected, supervised
from clippan_cli.training.samples import RATIOS, Batch, Group, Source, make_batch, margin
from clippan_cli.training.sources import image_sources, pair_sources, procedural_sources
from clippan_cli.training.state import load_state, save_state

LOG, CURVES, STATE = "training.csv", "training.png", "training.safetensors"

_SHARES = {"images": 0.5, "scenes": 0.2, "procedural": 0.3}
_PROCEDURAL = 48
_BETAS, _DECAY = (0.9, 0.98), 1e-4
_WARM_UP, _LOWEST_RATE = 200, 0.01
_GRADIENT = 1.0
_EMA = 0.999
_VALIDATION, _VALIDATION_SEED = 12, 1 << 40


@dataclass(frozen=True)
class PretrainOptions:
    """How to train a prior.

    Args:
        images: Folders with images, MS or RGB.
        scenes: Folders with real pairs.
        network: Name of the architecture.
        settings: What to make it with.
        bands: MS bands; None for any number, if the architecture can.
        iterations: Steps of the optimiser.
        batch: Pairs in a step.
        rate: Highest learning rate.
        angle: Weight of the spectral angle.
        consistency: Back-projections inside the graph.
        seed: Of everything random.
        procedural: How many images to make from nothing; they are a part of the mixture in any case.
        every: Steps between checkpoints and validations.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        overwrite: Whether an existing model may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    images: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    network: str = "injector"
    settings: Mapping[str, Any] = field(default_factory=dict)
    bands: int | None = None
    iterations: int = 12_000
    batch: int = 4
    rate: float = 4e-3
    angle: float = 1.0
    consistency: int = 2
    seed: int = 0
    procedural: int = _PROCEDURAL
    every: int = 500
    device: str = "auto"
    overwrite: bool = False
    resume: bool = False


def pretrain(
    output: str | Path,
    options: PretrainOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> dict[str, Any]:
    """Train a network on simulated pairs, and on real ones one scale down.

    Args:
        output: The folder of the model; its name becomes the id.
        options: How.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The model's record.

    Raises:
        InputError: There is nothing to learn from.
        ModelError: A checkpoint does not fit.
        OutputError: The model cannot be written.
        Interrupted: ``stop`` was set.
    """
    options, folder = options or PretrainOptions(), Path(output)
    _check(folder, options)
    return _Training(folder, options, listener or Deaf(), stop or Event()).run()


class _Training:
    def __init__(self, folder: Path, options: PretrainOptions, hears: Listener, stop: Event) -> None:
        self._folder, self._options, self._hears, self._stop = folder, options, hears, stop
        self._device = choose_device(options.device)
        self._memory = Memory(8 << 30)
        torch.manual_seed(options.seed)
        self._net = network(options.network, options.bands or 1, **options.settings).to(self._device)
        if options.bands is None and not self._net.any_bands:
            raise UsageError(f"{options.network} serves one number of bands only", "say which: --bands 4")
        self._mean = copy.deepcopy(self._net)
        self._optimiser = torch.optim.AdamW(self._net.parameters(), options.rate, _BETAS, weight_decay=_DECAY)
        self._batch = options.batch
        self._key = _key(options)

    def run(self) -> dict[str, Any]:
        self._groups = self._gather()
        first = self._begin()
        began = time.perf_counter()
        self._hears.begin("training", self._options.iterations)
        self._hears.advance(first)
        self._validation = [self._draw(_VALIDATION_SEED + i, self._batch) for i in range(_VALIDATION)]
        sums = [0.0, 0.0, 0.0]
        for iteration in range(first, self._options.iterations):
            for index, value in enumerate(self._step(iteration)):
                sums[index] += value
            self._hears.advance(1)
            done = iteration + 1
            if done % self._options.every == 0 or done == self._options.iterations:
                seconds = time.perf_counter() - began
                self._note(done, seconds, [value / (done % self._options.every or self._options.every) for value in sums])
                sums = [0.0, 0.0, 0.0]
                self._save(done)
            if self._stop.is_set() and done < self._options.iterations:
                self._save(done)
                raise Interrupted(
                    f"stopped after {done} of {self._options.iterations} iterations", "continue with --resume"
                )
        return self._finish(time.perf_counter() - began)

    def _gather(self) -> list[Group]:
        """The mixture, on the device."""
        options, hears = self._options, self._hears
        found: dict[str, Sequence[Source]] = {}
        if options.images:
            found["images"] = image_sources(options.images, options.seed, hears)
        if options.scenes:
            found["scenes"] = pair_sources(options.scenes, hears)
        if options.procedural:
            found["procedural"] = procedural_sources(options.procedural, options.seed)
        hears.say("learning from " + ", ".join(f"{len(sources)} {name}" for name, sources in found.items()))
        self._counts = {name: len(sources) for name, sources in found.items()}
        total = sum(_SHARES[name] for name in found)
        return [(_SHARES[name] / total, [_to(s, self._device) for s in sources]) for name, sources in found.items()]

    def _begin(self) -> int:
        """The first iteration: 0, or where a former run stopped."""
        state = self._folder / STATE
        if self._options.resume and state.is_file():
            first = load_state(state, self._net, self._mean, self._optimiser, self._key)
            self._hears.say(f"resuming after {first} iterations")
            _trim(self._folder / LOG, first)
            return first
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in (RECORD, STATE):
                (self._folder / name).unlink(missing_ok=True)
            with (self._folder / LOG).open("w", newline="") as file:
                csv.writer(file).writerow(_COLUMNS)
        except OSError as error:
            raise OutputError(f"cannot write into {self._folder}: {error.strerror}", "choose another -o") from error
        return 0

    def _draw(self, number: int, size: int) -> Batch:
        """Sample number ``number``: the seed and the number make it, whatever came before."""
        return make_batch(self._groups, size, Draw(self._options.seed * 1_000_003 + number), self._options.bands)

    def _step(self, iteration: int) -> tuple[float, float, float]:
        """One step of the optimiser; losses and gradient norm."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._options.rate * _schedule(iteration, self._options.iterations)
        while True:
            try:
                batch = self._draw(iteration, self._batch)
                error, angle = self._losses(self._net, batch)
                self._optimiser.zero_grad(set_to_none=True)
                (error + self._options.angle * angle).backward()  # type: ignore[no-untyped-call]
                break
            except torch.OutOfMemoryError as failure:
                self._halve(failure)
        norm = float(torch.nn.utils.clip_grad_norm_(self._net.parameters(), _GRADIENT))
        if not math.isfinite(norm):
            raise ModelError(
                f"the loss is not finite at iteration {iteration + 1}",
                f"lower --rate; the last good checkpoint is in {self._folder}, --resume continues from it",
            )
        self._optimiser.step()
        decay = min(_EMA, (iteration + 1) / (iteration + 20))
        with torch.no_grad():
            for mean, weight in zip(self._mean.parameters(), self._net.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
        return float(error.detach()), float(angle.detach()), norm

    def _halve(self, failure: Exception) -> None:
        if self._batch == 1:
            raise ResourceError(f"{self._device} has not enough memory for a single pair", "--device cpu") from failure
        self._batch //= 2
        torch.cuda.empty_cache()
        self._hears.warn(f"{self._device} is out of memory: going on with {self._batch} pairs in a step")

    def _losses(self, net: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            out = net(batch.ms_up, batch.pan, batch.context)
        out = back_projected(out.float(), batch, self._options.consistency)
        return supervised(out, batch, margin(batch.context.ratio))

    def _note(self, done: int, seconds: float, means: Sequence[float]) -> None:
        """A line in the log, and the picture."""
        with torch.no_grad():
            values = [self._losses(self._mean, batch) for batch in self._validation]
            plain = [supervised(back_projected(b.ms_up, b, self._options.consistency), b, margin(b.context.ratio))
                     for b in self._validation]
        ours, theirs = ([float(sum(v[i] for v in table)) / len(table) for i in (0, 1)] for table in (values, plain))
        relative = [math.exp(a - b) for a, b in zip(ours, theirs, strict=True)]
        rate = self._options.rate * _schedule(done - 1, self._options.iterations)
        row = [done, f"{seconds:.1f}", f"{rate:.3e}", *(f"{value:.5f}" for value in (*means, *relative))]
        with (self._folder / LOG).open("a", newline="") as file:
            csv.writer(file).writerow(row)
        draw_curves(self._folder / LOG, self._folder / CURVES)
        self._hears.say(
            f"{done}: loss {means[0]:.4f}, angle {means[1]:.4f}; beside interpolation, "
            f"error {relative[0]:.3f}, angle {relative[1]:.3f}"
        )

    def _save(self, done: int) -> None:
        save_state(self._folder / STATE, done, self._net, self._mean, self._optimiser, self._key)

    def _finish(self, seconds: float) -> dict[str, Any]:
        options = self._options
        recipe = {
            "command": _command(self._folder, options),
            "version": __version__,
            "torch": str(torch.__version__),
            "device": str(self._device),
            "minutes": round(seconds / 60, 1),
            "sources": self._counts,
            **{name: value for name, value in asdict(options).items() if name not in ("overwrite", "resume", "device")},
        }
        model = save_model(
            self._folder,
            self._mean,
            name=options.network,
            settings=options.settings,
            ratios=(min(RATIOS), 8.0),
            record={"training": recipe},
            card=training_card(self._folder.resolve().name, self._mean, recipe),
        )
        (self._folder / STATE).unlink(missing_ok=True)
        return {"output": str(self._folder), **model.document}


_COLUMNS = ("iteration", "seconds", "rate", "error", "angle", "gradient", "validation_error", "validation_angle")


def _check(folder: Path, options: PretrainOptions) -> None:
    if (folder / RECORD).exists() and not (options.overwrite or options.resume):
        raise OutputError(f"{folder} holds a model", "choose another -o, or replace it with --overwrite")
    if (folder / STATE).exists() and not (options.overwrite or options.resume):
        raise OutputError(
            f"{folder} holds a training that was stopped", "continue with --resume, or start again with --overwrite"
        )
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file", "give the name of a folder")
    if not (options.images or options.scenes or options.procedural):
        raise UsageError("nothing to learn from", "--images DIR, --scenes DIR, or --procedural N")
    parent = folder.resolve().parent
    if not os.access(parent if parent.exists() else parent.parent, os.W_OK):
        raise OutputError(f"the folder {parent} is not writable", "choose another -o")


def _key(options: PretrainOptions) -> dict[str, Any]:
    """What a resumed training must have in common with the first; paths may have moved."""
    plain = asdict(replace(options, images=(), scenes=(), overwrite=False, resume=False, device="", every=0))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _schedule(iteration: int, total: int) -> float:
    """Linear up, cosine down."""
    warm = min(1.0, (iteration + 1) / _WARM_UP)
    cosine = 0.5 * (1 + math.cos(math.pi * iteration / total))
    return warm * (_LOWEST_RATE + (1 - _LOWEST_RATE) * cosine)


def _trim(log: Path, done: int) -> None:
    """Drop what a killed run logged after its last checkpoint."""
    if not log.is_file():
        return
    with log.open(newline="") as file:
        rows = [row for row in csv.reader(file) if not row[0].isdigit() or int(row[0]) <= done]
    with log.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _to(source: Source, device: torch.device) -> Source:
    moved = {name: getattr(source, name) for name in ("bands", "pan", "valid")}
    return replace(source, **{name: None if value is None else value.to(device) for name, value in moved.items()})


def _command(folder: Path, options: PretrainOptions) -> str:
    """What to type to train it again."""
    words = ["clippan", "pretrain", "-o", folder.resolve().name]
    words += [word for path in options.images for word in ("--images", Path(path).name)]
    words += [word for path in options.scenes for word in ("--scenes", Path(path).name)]
    standard = PretrainOptions()
    for name in ("network", "bands", "iterations", "batch", "rate", "angle", "consistency", "seed", "procedural"):
        if getattr(options, name) != getattr(standard, name):
            words += [f"--{name}", str(getattr(options, name))]
    words += [word for name, value in options.settings.items() for word in ("--set", f"{name}={value}")]
    return " ".join(words)
