"""The training loop: steps, running mean, checkpoints, log, and the model at the end."""

from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import nn

from clippan_cli import __version__
from clippan_cli.errors import Interrupted, ModelError, OutputError, ResourceError, UsageError
from clippan_cli.networks.model import RECORD, Model, find_model, read_model, save_model
from clippan_cli.networks.network import Network
from clippan_cli.tiling.memory import Memory
from clippan_cli.tiling.options import Listener
from clippan_cli.training.card import training_card
from clippan_cli.training.curves import draw_curves
from clippan_cli.training.losses import back_projected, supervised
from clippan_cli.training.samples import Batch, margin
from clippan_cli.training.state import check_key, load_state, save_state

LOG, CURVES, STATE = "training.csv", "training.png", "training.safetensors"

_COLUMNS = ("iteration", "seconds", "rate", "error", "angle", "gradient", "validation_error", "validation_angle")
_BETAS, _DECAY = (0.9, 0.98), 1e-4
_WARM_UP, _LOWEST_RATE = 200, 0.01
_GRADIENT = 1.0
_EMA = 0.999
_VALIDATION, _VALIDATION_SEED = 12, 1 << 40
_MEMORY = 8 << 30


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Args:
        iterations: Steps of the optimiser.
        batch: Pairs in a step.
        rate: Highest learning rate.
        angle: Weight of the spectral angle.
        consistency: Back-projections inside the graph.
        every: Steps between checkpoints and validations.
    """

    iterations: int
    batch: int
    rate: float
    angle: float
    consistency: int
    every: int


class Loop:
    """One training.

    Args:
        folder: Of the model.
        net: On its device already; those of its weights that need a gradient are trained.
        name: Of its architecture.
        settings: What it was made with.
        draw: Makes the sample of a number: so many pairs.
        schedule: How long and how fast.
        key: What a resumed training must have in common with the first.
        hears: Hears of progress.
        stop: Set it to stop after the step in work.
    """

    def __init__(
        self,
        folder: Path,
        net: Network,
        name: str,
        settings: Mapping[str, Any],
        draw: Callable[[int, int], Batch],
        schedule: Schedule,
        key: Mapping[str, Any],
        hears: Listener,
        stop: Event,
    ) -> None:
        self._folder, self._net, self._name, self._settings = folder, net, name, settings
        self._draw, self._schedule, self._key, self._hears, self._stop = draw, schedule, dict(key), hears, stop
        Memory(_MEMORY)
        self._device = next(net.parameters()).device
        self._mean = copy.deepcopy(net)
        self._weights = [weight for weight in net.parameters() if weight.requires_grad]
        self._optimiser = torch.optim.AdamW(self._weights, schedule.rate, _BETAS, weight_decay=_DECAY)
        self._batch = schedule.batch

    def run(self, resume: bool, recipe: Mapping[str, Any], ratios: tuple[float, float], lessons: str) -> dict[str, Any]:
        """Train and write the model.

        Args:
            resume: Whether to continue where a former run stopped, if one did.
            recipe: What to say of the training in the model's record.
            ratios: Smallest and largest ratio that the model is for.
            lessons: What it learns from, in words, for its card.

        Returns:
            The model's record.
        """
        if resume and (former := self._former()) is not None:
            return former
        total, every = self._schedule.iterations, self._schedule.every
        first = self._begin(resume)
        began = time.perf_counter()
        self._hears.begin("training", total)
        self._hears.advance(first)
        self._validation = [self._draw(_VALIDATION_SEED + i, 1) for i in range(_VALIDATION)]
        recent: list[tuple[float, float, float]] = []
        for done in range(first + 1, total + 1):
            recent.append(self._step(done - 1))
            self._hears.advance(1)
            if done % every == 0 or done == total:
                means = [sum(part) / len(recent) for part in zip(*recent, strict=True)]
                self._note(done, time.perf_counter() - began, means)
                self._save(done)
                recent.clear()
            if self._stop.is_set() and done < total:
                self._save(done)
                raise Interrupted(f"stopped after {done} of {total} iterations", "continue with --resume")
        return self._finish(time.perf_counter() - began, recipe, ratios, lessons)

    def _former(self) -> dict[str, Any] | None:
        """The record of a training that had finished, if it was this one."""
        if not (self._folder / RECORD).is_file() or (self._folder / STATE).is_file():
            return None
        model = read_model(self._folder)
        check_key(model.document.get("training", {}), self._key, self._folder)
        self._hears.say(f"{self._folder} is complete already")
        return {"output": str(self._folder), **model.document}

    def _begin(self, resume: bool) -> int:
        """The first iteration: 0, or where a former run stopped."""
        state = self._folder / STATE
        if resume and state.is_file():
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

    def _step(self, iteration: int) -> tuple[float, float, float]:
        """One step of the optimiser; losses and gradient norm."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(iteration)
        while (found := self._gradient(iteration)) is None:
            self._halve()
        error, angle = found
        norm = float(nn.utils.clip_grad_norm_(self._weights, _GRADIENT))
        if not math.isfinite(norm):
            raise ModelError(
                f"the loss is not finite at iteration {iteration + 1}",
                "start again with a lower --rate and --overwrite",
            )
        self._optimiser.step()
        decay = min(_EMA, (iteration + 1) / (iteration + 20))
        with torch.no_grad():
            for mean, weight in zip(self._mean.parameters(), self._net.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
        return error, angle, norm

    def _gradient(self, iteration: int) -> tuple[float, float] | None:
        """Losses of a sample, their gradient left in the weights; None where the memory did not suffice."""
        self._optimiser.zero_grad(set_to_none=True)
        try:
            error, angle = self._losses(self._net, self._draw(iteration, self._batch))
            torch.autograd.backward(error + self._schedule.angle * angle)
            return float(error.detach()), float(angle.detach())
        except torch.OutOfMemoryError:
            # Handled by the caller: as long as the exception lives, so does the graph.
            return None

    def _rate(self, iteration: int) -> float:
        """Linear up, cosine down."""
        warm = min(1.0, (iteration + 1) / min(_WARM_UP, self._schedule.iterations))
        cosine = 0.5 * (1 + math.cos(math.pi * iteration / self._schedule.iterations))
        return self._schedule.rate * warm * (_LOWEST_RATE + (1 - _LOWEST_RATE) * cosine)

    def _halve(self) -> None:
        if self._batch == 1:
            raise ResourceError(f"{self._device} has not enough memory for a single pair", "--device cpu")
        self._batch //= 2
        torch.cuda.empty_cache()
        self._hears.warn(f"{self._device} is out of memory: going on with {self._batch} pairs in a step")

    def _losses(self, net: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            out = net(batch.ms_up, batch.pan, batch.context)
        return self._judged(out.float(), batch)

    def _judged(self, out: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        out = back_projected(out, batch, self._schedule.consistency)
        return supervised(out, batch, margin(batch.context.ratio))

    def _note(self, done: int, seconds: float, means: Sequence[float]) -> None:
        """A line in the log, and the picture."""
        with torch.no_grad():
            ours = [self._losses(self._mean, batch) for batch in self._validation]
            plain = [self._judged(batch.ms_up, batch) for batch in self._validation]
        relative = [
            math.exp(sum(float(a[i] - b[i]) for a, b in zip(ours, plain, strict=True)) / len(ours)) for i in (0, 1)
        ]
        row = [done, f"{seconds:.1f}", f"{self._rate(done - 1):.3e}", *(f"{x:.5f}" for x in (*means, *relative))]
        with (self._folder / LOG).open("a", newline="") as file:
            csv.writer(file).writerow(row)
        draw_curves(self._folder / LOG, self._folder / CURVES)
        self._hears.say(
            f"{done}: loss {means[0]:.4f}, angle {means[1]:.4f}; beside interpolation, "
            f"error {relative[0]:.3f}, angle {relative[1]:.3f}"
        )

    def _save(self, done: int) -> None:
        save_state(self._folder / STATE, done, self._net, self._mean, self._optimiser, self._key)

    def _finish(
        self, seconds: float, recipe: Mapping[str, Any], ratios: tuple[float, float], lessons: str
    ) -> dict[str, Any]:
        said = {
            **recipe,
            "version": __version__,
            "torch": str(torch.__version__),
            "device": str(self._device),
            "minutes": round(seconds / 60, 1),
        }
        model = save_model(
            self._folder,
            self._mean,
            name=self._name,
            settings=self._settings,
            ratios=ratios,
            record={"training": said},
            card=training_card(self._folder.resolve().name, self._mean, said, lessons),
        )
        (self._folder / STATE).unlink(missing_ok=True)
        return {"output": str(self._folder), **model.document}


def check_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse a folder that a model cannot be written into.

    Raises:
        OutputError: It holds something already, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file", "give the name of a folder")
    if (folder / RECORD).exists() and not (overwrite or resume):
        raise OutputError(f"{folder} holds a model", "choose another -o, or replace it with --overwrite")
    if (folder / STATE).exists() and not (overwrite or resume):
        raise OutputError(
            f"{folder} holds a training that was stopped", "continue with --resume, or start again with --overwrite"
        )
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise OutputError(f"the folder {place} is not writable", "choose another -o")


def begin_from(name: str, folder: Path) -> Model:
    """The model that a training goes on from.

    Raises:
        UsageError: There is none, or it is the one to be written.
        ModelError: Its record cannot be used.
    """
    model = find_model(name)
    if model.folder.resolve() == folder.resolve():
        raise UsageError(f"{folder} cannot go on from itself", "choose another -o")
    return model


def _trim(log: Path, done: int) -> None:
    """Drop what a killed run logged after its last checkpoint."""
    if not log.is_file():
        return
    with log.open(newline="") as file:
        rows = [row for row in csv.reader(file) if not row[0].isdigit() or int(row[0]) <= done]
    with log.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
